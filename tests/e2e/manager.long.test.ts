/** The Manager as a person uses it: Chromium against a real management service, with a real guest. */
import { join } from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VmInfo } from '../../src/client/index.ts';
import { hypervGuest } from '../boot/guest.fixture.ts';
import { ManagerHost, whyNoManager } from './manager.fixture.ts';
import { ManagerPage, PROMPT, tellWhenFailed } from './manager.page.ts';

const debian = await hypervGuest();
const reason = typeof debian === 'string' ? debian : whyNoManager();
const MEBIBYTE = 2 ** 20;

describe.skipIf(reason !== undefined)(`the Manager${reason ? `: skipped, ${reason}` : ''}`, () => {
  if (typeof debian === 'string') return;
  let host: ManagerHost;
  let manager: ManagerPage;
  let page: Page;

  beforeAll(async () => {
    host = await ManagerHost.start();
    page = await host.page('administrator', { viewport: { width: 1280, height: 900 } });
    manager = new ManagerPage(page);
  });
  tellWhenFailed(() => page);
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
  });

  const state = (name: string): Locator => manager.state(name);
  const terminal = (text: string): Locator => manager.terminal(text);
  const tab = (name: string): Promise<void> => manager.tab(name);
  const serial = (line: string): Promise<void> => manager.serial(line);
  const confirm = (name: string): Promise<void> => manager.confirm(name);
  const info = async (name: string): Promise<VmInfo> => (await host.client.get(name)).info;

  it('signs in with a token, and says when there is none such', async () => {
    const secret = await host.hv('token', 'create', 'look', '--role', 'viewer', '-q');
    const context = await (await host.browser()).newContext();
    const other = await context.newPage();
    await other.goto(host.url);
    await other.getByLabel('Token').fill('vir_nonsense');
    await other.getByRole('button', { name: 'Sign in' }).click();
    await other.getByRole('alert').filter({ hasText: 'this token is not known' }).waitFor();
    await new ManagerPage(other).demandAccessible('sign-in');
    await other.getByLabel('Token').fill(secret);
    await other.getByRole('button', { name: 'Sign in' }).click();
    await other.getByText('look, viewer').waitFor();
    await other.getByText('No virtual machines', { exact: true }).waitFor();
    await context.close();
  });

  it('a link that has been used says so', async () => {
    const link = await host.hv('manager', '--print', '--role', 'viewer');
    const contexts = [await (await host.browser()).newContext(), await (await host.browser()).newContext()];
    const [first, second] = [await contexts[0]!.newPage(), await contexts[1]!.newPage()];
    await first.goto(link);
    await first.getByText('local, viewer').waitFor();
    // The code does not stay in the address, where others could read it.
    expect(first.url()).toBe(`${host.url}/`);
    await second.goto(link);
    await second
      .getByRole('alert')
      .filter({ hasText: 'The link did not sign you in: this token is not known' })
      .waitFor();
    // Another one, where the page is already.
    await second.goto(await host.hv('manager', '--print', '--role', 'viewer'));
    await second.getByText('local, viewer').waitFor();
    expect(second.url()).toBe(`${host.url}/`);
    for (const each of contexts) await each.close();
  });

  it('makes a VM and starts it', async () => {
    await page.getByRole('link', { name: 'Make the first one' }).click();
    await page.getByRole('radio', { name: /^Kernel/ }).check();
    await page.getByLabel('Name').fill('web');
    await page.getByLabel('Kernel', { exact: true }).fill(debian.kernel);
    await page.getByLabel('Initial RAM disk').fill(debian.initrd);
    await page.getByLabel('Command line').fill('console=tty0 console=ttyS0 quiet');
    await page.getByLabel('Memory', { exact: true }).fill('256M');
    await manager.demandAccessible('new');
    await page.getByRole('button', { name: 'Create' }).click();
    await state('Running').waitFor();
    expect((await info('web')).configuration.memory).toBe(256 * MEBIBYTE);
  });

  it('the serial console takes what is typed, and echoes within 100 ms', async () => {
    await tab('Console');
    await terminal(PROMPT).waitFor();
    await serial('echo one-$((20+3))');
    await terminal('one-23').waitFor();
    const times: number[] = [];
    for (let i = 0; i < 10; i++) {
      // From the keystroke to the character in the terminal's rows.
      times.push(
        await page.evaluate<number>(`new Promise((resolve) => {
          const rows = document.querySelector('.xterm-rows');
          const area = document.querySelector('.xterm-helper-textarea');
          const start = performance.now();
          const before = rows.textContent;
          const observer = new MutationObserver(() => {
            if (rows.textContent === before) return;
            observer.disconnect();
            resolve(performance.now() - start);
          });
          observer.observe(rows, { childList: true, subtree: true, characterData: true });
          area.dispatchEvent(new KeyboardEvent('keydown', { key: 'x', code: 'KeyX', keyCode: 88, bubbles: true }));
          area.dispatchEvent(new KeyboardEvent('keypress', { key: 'x', code: 'KeyX', charCode: 120, keyCode: 120, bubbles: true }));
        })`),
      );
      await page.waitForTimeout(50);
    }
    const median = times.toSorted((a, b) => a - b)[5]!;
    console.log(`console echo: median ${median.toFixed(1)} ms of ${times.map((time) => time.toFixed(0)).join(' ')}`);
    expect(median).toBeLessThan(100);
    await page.keyboard.press('Control+U');
    await manager.demandAccessible('console');
  });

  it("a guest's text is text", async () => {
    await serial(String.raw`printf '\033]0;<img src=x onerror=window.hacked=1>\007<b onclick=1>bold</b>\n'`);
    await terminal('<b onclick=1>bold</b>').waitFor();
    expect(await page.evaluate('window.hacked')).toBeUndefined();
    expect(await page.locator('.terminal-box b').count()).toBe(0);
  });

  it('the screen shows what the guest draws, and takes keys', async () => {
    // A shell on the first virtual terminal, beside the one on the serial console.
    await serial('setsid sh -c "exec sh </dev/tty1 >/dev/tty1 2>&1" &');
    await serial('printf "\\033[7m%4000s\\033[0m\\n" > /dev/tty1; echo drawn-$((1+1))');
    await terminal('drawn-2').waitFor();
    await page.getByRole('button', { name: 'Screen', exact: true }).click();
    const canvas = page.getByRole('application');
    await canvas.waitFor();
    await page.getByText('connected', { exact: true }).waitFor();
    const bright = async (): Promise<number> =>
      await page.evaluate<number>(`(() => {
        const canvas = document.querySelector('canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let count = 0;
        for (let i = 0; i < data.length; i += 4) if (data[i] > 100) count++;
        return count / (data.length / 4);
      })()`);
    await expect.poll(bright, { timeout: 30_000 }).toBeGreaterThan(0.1);
    await canvas.click();
    // As a person does it: the guest sees Shift, and makes the letter.
    await page.keyboard.type('clear; echo typed ');
    await page.keyboard.press('Shift+Period');
    await page.keyboard.type(' /typed\n');
    await expect.poll(bright, { timeout: 30_000 }).toBeLessThan(0.05);
    await page.getByRole('button', { name: 'Type text' }).click();
    await page.getByRole('dialog').getByLabel('Text').fill('echo pasted >> /typed\n');
    await confirm('Type');
    await page.getByRole('button', { name: 'Serial console' }).click();
    await terminal(PROMPT).waitFor();
    await expect
      .poll(
        async () => {
          await serial('cat /typed | tr "\\n" -');
          return await terminal('typed-pasted-').count();
        },
        { timeout: 60_000, interval: 2000 },
      )
      .toBe(1);
  });

  it('its page shows the screen, small, which leads to the console', async () => {
    await tab('Summary');
    const preview = page.getByRole('link', { name: 'Console of web' });
    await preview.locator('img').waitFor();
    const width = (): Promise<number> => page.evaluate<number>("document.querySelector('.preview img').naturalWidth");
    await expect.poll(width).toBeGreaterThan(100);
    await preview.click();
    await terminal(PROMPT).waitFor();
    expect(await page.title()).toBe('web - Viridian');
  });

  it('a checkpoint takes a change back', async () => {
    await serial('echo kept > /state; echo sa""ved');
    await terminal('saved').waitFor();
    await tab('Checkpoints');
    await page.getByRole('button', { name: 'Create checkpoint' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('clean');
    await manager.demandAccessible('dialog');
    await confirm('Create');
    // The machine goes on from it.
    await page.locator('.tree > li', { hasText: 'clean' }).locator('ul .tree-node', { hasText: 'Now' }).waitFor();
    await tab('Console');
    await serial('echo changed > /state; echo cha""nged');
    await terminal('changed').waitFor();
    await tab('Checkpoints');
    await page.getByRole('button', { name: 'Apply clean' }).click();
    await confirm('Apply');
    await page.locator('.toast[data-kind="error"]').waitFor({ state: 'detached' });
    await expect.poll(async () => (await info('web')).job, { timeout: 60_000 }).toBeNull();
    await state('Running').waitFor();
    await tab('Console');
    await page.getByText('connected', { exact: true }).waitFor();
    await serial('echo "it-is-$(cat /state)"');
    await terminal('it-is-kept').waitFor();
  });

  it('a disk is attached to a guest that runs', async () => {
    const file = join(host.home, 'extra.vhdx');
    await host.hv('vhd', 'create', file, '--size', '64M');
    await tab('Disks');
    await page.getByRole('button', { name: 'Attach disk' }).click();
    await page.getByRole('dialog').getByLabel('File on the host').fill(file);
    await confirm('Attach');
    await page.locator('td', { hasText: 'extra.vhdx' }).waitFor();
    await tab('Console');
    await serial('while ! grep -q sda /proc/partitions; do sleep 1; done; grep -c sda /proc/partitions; echo di""sk');
    await terminal('disk').waitFor();
  });

  it('a worker that is killed, and a service that comes again, under the page', async () => {
    const { worker } = await info('web');
    process.kill(worker!.pid, 'SIGKILL');
    await state('Off').waitFor();
    await tab('Summary');
    await page
      .getByText(/killed|worker/i)
      .first()
      .waitFor();
    await page.locator('.page-head').getByRole('button', { name: 'Start', exact: true }).click();
    await state('Running').waitFor();
    await host.stopService();
    await page.getByRole('alert').filter({ hasText: 'The service does not answer' }).waitFor();
    await manager.demandAccessible('offline');
    await host.startService();
    await page.locator('.connection[data-state="live"]').waitFor();
    await page.getByRole('alert').waitFor({ state: 'detached' });
    expect((await info('web')).state).toBe('Running');
    await tab('Console');
    await terminal(PROMPT).waitFor();
  });

  it('roles see no more than they may', async () => {
    const viewer = await host.page('viewer');
    await viewer.getByRole('link', { name: 'web', exact: true }).click();
    await viewer.locator('.tabs').waitFor();
    expect(await viewer.locator('.tabs').getByRole('link').allTextContents()).toEqual([
      ...['Summary', 'Checkpoints', 'Disks', 'Network', 'Memory', 'Integration', 'Events'],
    ]);
    for (const name of ['Checkpoints', 'Disks', 'Network', 'Summary']) {
      await viewer.locator('.tabs').getByRole('link', { name }).click();
      expect(await viewer.locator('main').getByRole('button').count()).toBe(0);
    }
    expect(await viewer.getByRole('link', { name: 'Access' }).count()).toBe(0);
    await viewer.context().close();
    const operator = await host.page('operator');
    await operator.getByRole('link', { name: 'web', exact: true }).click();
    await operator.locator('.tabs').getByRole('link', { name: 'Console' }).waitFor();
    expect(await operator.locator('.tabs').getByRole('link', { name: 'Settings' }).count()).toBe(0);
    expect(await operator.getByRole('link', { name: 'New virtual machine' }).count()).toBe(0);
    await operator.context().close();
  });

  it('no page has a serious finding of axe, in light and dark, wide and narrow', async () => {
    const { id } = await info('web');
    const tabs = [
      'summary',
      'checkpoints',
      'disks',
      'network',
      'memory',
      'integration',
      'settings',
      'events',
      'inspect',
    ];
    const paths = [
      '',
      'new',
      'disks',
      'switches',
      'events',
      'host',
      'access',
      ...tabs.map((each) => `vms/${id}/${each}`),
    ];
    for (const [colorScheme, width] of [
      ['light', 1280],
      ['dark', 360],
    ] as const) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 860 });
      for (const path of paths) {
        await page.goto(`${host.url}/${path}`);
        await page.locator('.connection[data-state="live"]').waitFor();
        await page.locator('h1').waitFor();
        await page.waitForTimeout(300);
        await manager.demandAccessible(`${path} ${colorScheme} ${width}`);
        expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), path).toBeLessThanOrEqual(0);
      }
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  it('turns it off and deletes it', async () => {
    await page.goto(`${host.url}/vms/${(await info('web')).id}`);
    await manager.more('Turn off');
    await confirm('Turn off');
    await state('Off').waitFor();
    await manager.more('Delete');
    await confirm('Delete');
    await page.getByText('This virtual machine is not there').waitFor();
    expect(await host.client.list()).toEqual([]);
  });

  it('a list of 200 VMs is there within a second, and its first load is small', async () => {
    for (let i = 0; i < 200; i++)
      await host.client.create({ name: `vm-${i}`, boot: { kernel: debian.kernel }, tags: [`rack-${i % 7}`] });
    const sizes: number[] = [];
    page.on('response', (response) => {
      if (/\.(js|css|svg|html)$|\/$/.test(new URL(response.url()).pathname))
        // As they come over the wire.
        void response
          .request()
          .sizes()
          .then(({ responseBodySize }) => sizes.push(responseBodySize));
    });
    // As somebody who comes for the first time: nothing is kept of before.
    const session = await page.context().newCDPSession(page);
    await session.send('Network.clearBrowserCache');
    await page.goto(`${host.url}/`);
    await page.locator('tr[data-vm="vm-199"]').waitFor();
    const ready = await page.evaluate<number>('performance.now()');
    // Interactive: what is typed filters it.
    const start = performance.now();
    await page.getByLabel('Search').fill('vm-17');
    await page.locator('tr[data-vm="vm-18"]').waitFor({ state: 'detached' });
    const typed = performance.now() - start;
    expect(await page.locator('tr[data-vm]').count()).toBe(11);
    const size = sizes.reduce((sum, each) => sum + each, 0);
    console.log(
      `200 VMs: shown after ${ready.toFixed(0)} ms, filtered in ${typed.toFixed(0)} ms; first load ${size} bytes, packed`,
    );
    expect(ready + typed).toBeLessThan(1000);
    expect(size).toBeGreaterThan(50_000);
    expect(size).toBeLessThan(300_000);
    await page.getByLabel('Search').fill('');
    await page.locator('tr[data-vm="vm-18"]').waitFor();
    await page.getByLabel('Choose all').check();
    await page.getByText('200 chosen').waitFor();
  });

  it('nothing went wrong in the page', () => {
    expect(manager.problems).toEqual([]);
  });
});
