/**
 * Pictures of every page of the Manager, light and dark, at three widths, of a service with a few real machines:
 * `node tests/e2e/photograph.ts FOLDER [TEXT...]`. TEXT: only pages whose name has one of these.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { cachedFiles } from '../../src/cli/quickstart/debian.ts';
import { buildInitramfs } from '../../src/cli/quickstart/initramfs.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { ManagerHost, whyNoManager } from './manager.fixture.ts';

const WIDTHS = [360, 768, 1440];
const heightOf = (width: number): number => (width < 500 ? 780 : 900);
const SCHEMES = ['light', 'dark'] as const;
const TABS = ['summary', 'checkpoints', 'disks', 'network', 'memory', 'integration', 'settings', 'events', 'inspect'];

const [folder, ...only] = process.argv.slice(2);
const wanted = (name: string): boolean => only.length === 0 || only.some((text) => name.includes(text));
const files = cachedFiles(cacheFolder());
const reason = folder === undefined ? 'say where to' : (whyNoManager() ?? (files ? undefined : "run 'npm start' once"));
if (reason !== undefined || files?.modules === undefined) {
  console.error(`no pictures: ${reason ?? "run 'bin/hv quickstart --drivers' once"}`);
  process.exit(1);
}
mkdirSync(folder!, { recursive: true });

const initrd = join(tmpdir(), `viridian-photograph-${process.pid}`);
writeFileSync(
  initrd,
  Buffer.concat([buildInitramfs({ busybox: readFileSync(files.busybox.path) }), readFileSync(files.modules.path)]),
);
process.once('exit', () => rmSync(initrd, { force: true }));

await using host = await ManagerHost.start();
const { client } = host;
await client.transport.call('createSwitch', { body: { name: 'outside', kind: 'NAT', notes: 'For everything' } });
const { diskFolder } = await client.info();
await host.hv('vhd', 'create', join(host.home, 'data.vhdx'), '--size', '20G');
const boot = { kernel: files.kernel.path, initrd, append: 'console=tty0 console=ttyS0 quiet' };
const web = await client.create({
  name: 'web',
  memory: 256 * 2 ** 20,
  boot,
  tags: ['production', 'edge'],
  notes: 'Serves the front page.',
  disks: [{ slot: 0, file: join(host.home, 'data.vhdx') }],
  dvds: [{ slot: 1, file: null }],
  nics: [{ id: 'nic0', switch: 'outside', forwards: [{ protocol: 'tcp', hostPort: 18_080, guestPort: 80 }] }],
});
const db = await client.create({ name: 'db', memory: 512 * 2 ** 20, boot, tags: ['production'] });
for (const [name, tags] of [
  ['build-1', ['ci']],
  ['build-2', ['ci']],
] as const)
  await client.create({ name, memory: 512 * 2 ** 20, boot, tags: [...tags] });
await web.start();
const page = await host.page('administrator', { viewport: { width: 1440, height: 900 } });
page.setDefaultTimeout(120_000);
await page.goto(`${host.url}/vms/${web.id}/console`);
await page.locator('.xterm-accessibility-tree').filter({ hasText: 'root@viridian' }).waitFor();
await page.locator('.terminal-box').click();
await page.keyboard.type(
  'clear; ip link set eth0 up; udhcpc -i eth0 -n -q; uname -a; grep -m1 "model name" /proc/cpuinfo; echo o"k"\n',
);
await page.locator('.xterm-accessibility-tree').filter({ hasText: 'ok' }).waitFor();
// Something to see on the screen, and in the graphs.
await page.keyboard.type(
  'dd if=/dev/sda of=/dev/null bs=1M count=300 2>&1 | tail -1; (dmesg | grep -iE "hyper-?v|linux version" | cut -c1-120 | head -20; uname -a) > /dev/tty1; setsid sh -c "exec sh -i </dev/tty1 >/dev/tty1 2>&1" &\n',
);
await web.checkpoint('clean');
await web.checkpoint('with updates');
await client.transport.call('createDisk', { body: { file: join(diskFolder, 'scratch.vhdx'), size: 40 * 2 ** 30 } });
await host.hv('token', 'create', 'monitoring', '--role', 'viewer');

const states: readonly (readonly [string, string, ((page: Page) => Promise<void>)?])[] = [
  ['list', ''],
  ['new', 'new'],
  ['disks', 'disks'],
  [
    'disks-new',
    'disks',
    async () => {
      await page.getByRole('button', { name: 'New disk' }).click();
    },
  ],
  ['switches', 'switches'],
  ['events', 'events'],
  ['host', 'host'],
  ['access', 'access'],
  ['none', 'nowhere'],
  ['console', `vms/${web.id}/console`],
  [
    'screen',
    `vms/${web.id}/console`,
    async () => {
      await page.getByRole('button', { name: 'Screen', exact: true }).click();
      await page.getByText('connected', { exact: true }).waitFor();
    },
  ],
  [
    'adapter',
    `vms/${web.id}/network`,
    async () => {
      await page.getByRole('button', { name: 'Change nic0' }).click();
    },
  ],
  [
    'settings-processor',
    `vms/${web.id}/settings`,
    async () => {
      await page.getByRole('button', { name: /^Processor/ }).click();
    },
  ],
  [
    'settings-off',
    `vms/${db.id}/settings`,
    async () => {
      await page.getByRole('button', { name: /^Bandwidth/ }).click();
    },
  ],
  [
    'tasks',
    '',
    async () => {
      await page.getByRole('button', { name: /^Tasks/ }).click();
    },
  ],
  [
    'menu',
    `vms/${web.id}/summary`,
    async () => {
      await page.getByRole('button', { name: 'More for web' }).click();
    },
  ],
  ...TABS.map((tab) => [tab, `vms/${web.id}/${tab}`] as const),
];
for (const [name, path, prepare] of states) {
  if (!wanted(name)) continue;
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: heightOf(width) });
      await page.goto(`${host.url}/${path}`);
      await page.locator('.connection[data-state="live"]').waitFor();
      await prepare?.(page);
      await page.waitForTimeout(1500);
      await page.screenshot({ path: join(folder!, `${name}-${colorScheme}-${width}.png`) });
    }
  }
}
if (wanted('sign-in')) {
  const other = await (await host.browser()).newPage();
  for (const colorScheme of SCHEMES) {
    await other.emulateMedia({ colorScheme });
    for (const width of WIDTHS) {
      await other.setViewportSize({ width, height: heightOf(width) });
      await other.goto(host.url);
      await other.waitForTimeout(500);
      await other.screenshot({ path: join(folder!, `sign-in-${colorScheme}-${width}.png`) });
    }
  }
}
