/** VMConnect in the browser: serial console and screen of a real guest, with keyboard, mouse, clipboard and full screen. */
import { readFileSync } from 'node:fs';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hypervGuest } from '../boot/guest.fixture.ts';
import { CHARACTERS, Font, type Picture } from '../boot/screen.fixture.ts';
import { ManagerHost, whyNoManager } from './manager.fixture.ts';
import { ManagerPage, PROMPT, tellWhenFailed } from './manager.page.ts';

const debian = await hypervGuest();
const reason = typeof debian === 'string' ? debian : whyNoManager();
const MEBIBYTE = 2 ** 20;
/** Bits of a screen's pixels as text: a megapixel crosses from the browser at once. */
const LIT = `(() => {
  const canvas = document.querySelector('canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const lit = [];
  for (let i = 0; i < data.length; i += 4) lit.push(data[i] + data[i + 1] + data[i + 2] > 0 ? 1 : 0);
  return { width: canvas.width, height: canvas.height, lit: lit.join('') };
})()`;
const LISTEN = `od -An -tu2 -v -w24`;

describe.skipIf(reason !== undefined)(`consoles in the browser${reason ? `: skipped, ${reason}` : ''}`, () => {
  if (typeof debian === 'string') return;
  let host: ManagerHost;
  let page: Page;
  let manager: ManagerPage;
  let id: string;
  /** Bytes of the messages that the screen's socket has brought. */
  const frames: number[] = [];

  beforeAll(async () => {
    host = await ManagerHost.start();
    const vm = await host.client.create({
      name: 'web',
      memory: 256 * MEBIBYTE,
      boot: { kernel: debian.kernel, initrd: debian.initrd, append: 'console=tty0 console=ttyS0 quiet' },
    });
    ({ id } = vm);
    await vm.start();
    page = await host.page('operator', { viewport: { width: 1280, height: 900 } });
    manager = new ManagerPage(page);
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write'], { origin: host.url });
    page.on('websocket', (socket) => {
      if (!socket.url().endsWith('/screen')) return;
      frames.length = 0;
      socket.on('framereceived', ({ payload }) => frames.push(payload.length));
    });
    await page.goto(`${host.url}/vms/${id}/console`);
    await manager.terminal(PROMPT).waitFor();
  });
  tellWhenFailed(() => page);
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
  });

  const canvas = (): Locator => page.getByRole('application');
  const look = async (): Promise<Picture> => {
    const { width, height, lit } = await page.evaluate<{ width: number; height: number; lit: string }>(LIT);
    return { width, height, lit: (x, y) => lit[y * width + x] === '1' };
  };
  let font: Font;
  const shown = async (): Promise<string> => font.read(await look()).join('\n');
  const showScreen = async (): Promise<void> => {
    await manager.button('Screen').click();
    await page.getByText('connected', { exact: true }).waitFor();
  };
  const showSerial = async (): Promise<void> => {
    await manager.button('Serial console').click();
    await manager.terminal(PROMPT).waitFor();
  };

  it('several people are at one serial console', async () => {
    const other = new ManagerPage(await host.page('operator'));
    await other.page.goto(`${host.url}/vms/${id}/console`);
    // What was shown before they came.
    await other.terminal(PROMPT).waitFor();
    await manager.serial('echo from-$((40+2))');
    await other.terminal('from-42').waitFor();
    await other.serial('echo back-$((40+3))');
    await manager.terminal('back-43').waitFor();
    await other.page.context().close();
  });

  it('copies and pastes, by keys and by buttons', async () => {
    await manager.serial('clear; echo copy"-"me');
    const word = page.locator('.xterm-rows > div', { hasText: /^copy-me/ }).first();
    await word.waitFor();
    // The terminal takes the mouse above its rows.
    const { x, y, height } = (await word.boundingBox())!;
    await page.mouse.dblclick(x + 20, y + height / 2);
    await page.keyboard.press('Control+Shift+C');
    const clipboard = (): Promise<string> => page.evaluate<string>('navigator.clipboard.readText()');
    await expect.poll(clipboard).toBe('copy-me');
    await page.evaluate("navigator.clipboard.writeText('echo keys-$((1+1))\\n')");
    await page.locator('.terminal-box').click();
    await page.keyboard.press('Control+Shift+V');
    await manager.terminal('keys-2').waitFor();
    await page.evaluate("navigator.clipboard.writeText('echo button-$((1+2))\\n')");
    await manager.button('Paste').click();
    await manager.terminal('button-3').waitFor();
  });

  it("the screen's text is read, and typed into", async () => {
    const octal = CHARACTERS.map((each) => `\\${each.charCodeAt(0).toString(8)}`).join('');
    await manager.serial(`printf '\\033c\\033[?25l${octal}' > /dev/tty1; echo pr"in"ted`);
    await manager.terminal('printed').waitFor();
    await showScreen();
    await expect
      .poll(
        async () => {
          try {
            font = new Font(await look());
            return true;
          } catch {
            return false;
          }
        },
        { timeout: 60_000, interval: 500 },
      )
      .toBe(true);
    await showSerial();
    await manager.serial("printf '\\033c' > /dev/tty1; (setsid sh -c 'exec sh -i < /dev/tty1 > /dev/tty1 2>&1' &)");
    await showScreen();
    await expect.poll(shown, { timeout: 60_000, interval: 500 }).toMatch(/^root@viridian:/m);
    await canvas().click();
    // Only what needs no Shift: the browser driver does not press it, a person does.
    await page.keyboard.type('echo hello, screen\n');
    await expect.poll(shown, { timeout: 60_000, interval: 500 }).toMatch(/^hello, screen$/m);
    await page.keyboard.press('Shift+KeyH');
    await expect.poll(shown, { timeout: 60_000, interval: 500 }).toMatch(/# H/);
    await page.keyboard.press('Backspace');
  });

  it('of the screen, only what has changed is sent', async () => {
    // The first picture is all of it, the terminal's first one at the least.
    await canvas().click();
    await page.keyboard.type('clear; ls -l /proc\n');
    await page.waitForTimeout(3000);
    await showSerial();
    await showScreen();
    await expect.poll(() => frames.length, { timeout: 60_000 }).toBeGreaterThan(0);
    await page.waitForTimeout(2000);
    const [whole] = frames;
    frames.length = 0;
    await canvas().click();
    await page.keyboard.type('x');
    await expect.poll(() => frames.length, { timeout: 60_000 }).toBeGreaterThan(0);
    await page.waitForTimeout(1000);
    console.log(`screen: all of it ${whole} bytes; a key's echo ${frames.join(', ')}`);
    expect(Math.max(...frames)).toBeLessThan(whole! / 4);
    await page.keyboard.press('Backspace');
  });

  it('keys that are held when the focus goes are let go', async () => {
    await canvas().click();
    await page.keyboard.type('clear\n');
    await page.keyboard.down('Shift');
    await manager.button('Exact size').focus();
    await page.keyboard.up('Shift');
    await canvas().click();
    await page.keyboard.type('echo small\n');
    await expect.poll(shown, { timeout: 60_000, interval: 500 }).toMatch(/^small$/m);
  });

  it('the clipboard is typed, and a text with what no keyboard has says so', async () => {
    await page.evaluate("navigator.clipboard.writeText('echo Typed-$((2*4))\\n')");
    await manager.button('Paste').click();
    await expect.poll(shown, { timeout: 60_000, interval: 500 }).toMatch(/^Typed-8$/m);
    await manager.button('Type text').click();
    await manager.dialog.getByLabel('Text').fill('echo umlaut ö\n');
    await manager.confirm('Type');
    await page.locator('.toast', { hasText: 'Not typed, a US keyboard does not have it: ö' }).waitFor();
    await expect.poll(shown, { timeout: 60_000, interval: 500 }).toMatch(/^umlaut$/m);
  });

  it('is scaled, or exact, and saved as a picture', async () => {
    await page.setViewportSize({ width: 900, height: 900 });
    const width = (): Promise<number> => page.evaluate<number>("document.querySelector('canvas').clientWidth");
    await expect.poll(width).toBeLessThan(900);
    await manager.button('Exact size').click();
    await expect.poll(width).toBe(1024);
    await manager.button('Fit').click();
    await page.setViewportSize({ width: 1280, height: 900 });
    const [download] = await Promise.all([page.waitForEvent('download'), manager.button('Screenshot').click()]);
    expect(download.suggestedFilename()).toBe('web.png');
    const png = readFileSync(await download.path());
    expect([png.toString('latin1', 1, 4), png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual(['PNG', 1024, 768]);
  });

  it('the mouse is the guest’s: position, buttons, wheel', async () => {
    await showSerial();
    // Its driver is ready when it is, not when there is a prompt.
    await manager.serial(
      'clear; m=; while [ -z "$m" ]; do m=$(grep -A5 \'Microsoft Vmbus HID-compliant Mouse\' /proc/bus/input/devices | sed -n \'s/.*\\(event[0-9]*\\).*/\\1/p\'); sleep 1; done; echo "mouse-$m."',
    );
    await manager.terminal('mouse-event').waitFor();
    await manager.serial(`dd if=/dev/input/$m bs=24 count=40 2>/dev/null | ${LISTEN} > /mouse & echo li"st"ening`);
    await manager.terminal('listening').waitFor();
    await showScreen();
    const box = (await canvas().boundingBox())!;
    const at = (x: number, y: number): [number, number] => [box.x + box.width * x, box.y + box.height * y];
    // The reader takes whole events, and ends after forty.
    for (let round = 0; round < 12; round++) {
      await page.mouse.move(...at(0.5, 0.25));
      await page.mouse.down();
      await page.mouse.up();
      await page.mouse.down({ button: 'right' });
      await page.mouse.up({ button: 'right' });
      await page.mouse.wheel(0, -120);
      await page.mouse.move(...at(0.1, 0.9));
    }
    await showSerial();
    // Without their times, each once: few enough that all are on the terminal together.
    await manager.serial(
      `wait; awk '{ print "", $9, $10, $11, $12 }' /mouse | sort -u > /seen; clear; cat /seen; echo do"ne"`,
    );
    await manager.terminal('done').waitFor();
    const text = await page.locator('.xterm-accessibility-tree').textContent();
    // Type, code, value: EV_ABS x and y of 32767, EV_KEY BTN_LEFT (272) and BTN_RIGHT (273), EV_REL REL_WHEEL (8).
    expect(text).toMatch(/ 1 272 1 0/);
    expect(text).toMatch(/ 1 273 1 0/);
    expect(text).toMatch(/ 2 8 1 0/);
    const x = Number(/ 3 0 (1[56]\d{3}) 0/.exec(text ?? '')?.[1]);
    const y = Number(/ 3 1 (8\d{3}) 0/.exec(text ?? '')?.[1]);
    expect(Math.abs(x - 32_767 / 2)).toBeLessThan(150);
    expect(Math.abs(y - 32_767 / 4)).toBeLessThan(150);
  });

  it('fills the screen, and is left by keys', async () => {
    await showScreen();
    await manager.button('Full screen').click();
    await page.waitForFunction("document.fullscreenElement?.className === 'screen-box'");
    // Keys go to the guest at once.
    await page.keyboard.type('clear; echo full\n');
    await expect.poll(shown, { timeout: 60_000, interval: 500 }).toMatch(/^full$/m);
    await page.keyboard.press('Control+Alt+Enter');
    await page.waitForFunction('document.fullscreenElement === null');
    await expect.poll(() => page.evaluate('document.activeElement?.tagName')).toBe('BUTTON');
  });

  it('Ctrl-Alt-Del reaches the guest', async () => {
    await manager.button('Ctrl-Alt-Del').click();
    await showSerial();
    await page.getByText('connected', { exact: true }).waitFor();
    // Its init restarts it: the files of before are gone.
    await expect
      .poll(
        async () => {
          await manager.serial('ls /seen 2>&1 | tr "\\n" -');
          return await manager.terminal('No such file or directory-').count();
        },
        { timeout: 120_000, interval: 3000 },
      )
      .toBe(1);
  });

  it('nothing went wrong in the page', () => {
    expect(manager.problems).toEqual([]);
  });
});
