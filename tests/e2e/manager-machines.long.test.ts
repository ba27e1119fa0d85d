/**
 * Machines and what they are made of, in the browser: from an image, forked, exported, imported, cloned; settings, disks with
 * progress, switches with ports and forwards, tokens, several machines at once, the keyboard alone.
 */
import { appendFileSync, existsSync, readFileSync, renameSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VmInfo } from '../../src/client/index.ts';
import { Bench, withoutTools } from '../../src/storage/ext4/image.fixture.ts';
import { hypervGuest } from '../boot/guest.fixture.ts';
import { ManagerHost, whyNoManager } from './manager.fixture.ts';
import { ManagerPage, PROMPT, tellWhenFailed } from './manager.page.ts';

const debian = await hypervGuest();
const reason = typeof debian === 'string' ? debian : (whyNoManager() ?? withoutTools);
const MEBIBYTE = 2 ** 20;

describe.skipIf(reason !== undefined)(`machines in the browser${reason ? `: skipped, ${reason}` : ''}`, () => {
  if (typeof debian === 'string' || reason !== undefined) return;
  const bench = new Bench();
  const image = join(bench.folder, 'debian.img');
  let host: ManagerHost;
  let page: Page;
  let manager: ManagerPage;

  beforeAll(async () => {
    // A disk that boots: Debian's kernel, with an initial RAM disk that is a system of its own.
    bench.file('boot/vmlinuz-6.1', readFileSync(debian.kernel));
    bench.file('boot/initrd.img-6.1', readFileSync(debian.initrd));
    bench.file('etc/os-release', 'ID=debian\n');
    bench.make('128M', '-t', 'ext4');
    // What a file is, its name must say, or the user.
    renameSync(bench.image, image);
    host = await ManagerHost.start();
    page = await host.page('administrator', { viewport: { width: 1280, height: 900 } });
    manager = new ManagerPage(page);
  });
  tellWhenFailed(() => page);
  afterAll(async () => {
    await host[Symbol.asyncDispose]();
    bench[Symbol.dispose]();
  });

  const info = async (name: string): Promise<VmInfo> => (await host.client.get(name)).info;
  const row = (text: string): Locator => page.locator('tr', { hasText: text });
  const settled = async (name: string): Promise<void> => {
    await expect.poll(async () => (await info(name)).job, { timeout: 60_000 }).toBeNull();
  };
  const turnOff = async (): Promise<void> => {
    await manager.more('Turn off');
    await manager.confirm('Turn off');
    await manager.state('Off').waitFor();
  };

  it('a disk is made, converted with progress, compacted and deleted', async () => {
    await manager.go('Disks');
    await manager.button('New disk').click();
    const { diskFolder } = await host.client.info();
    await manager.dialog.getByLabel('File on the host').fill(join(diskFolder, 'data.vhdx'));
    await manager.dialog.getByLabel('Size').fill('1 GiB');
    await manager.demandAccessible('new disk');
    await manager.confirm('Make it');
    await row('data.vhdx').filter({ hasText: 'VHDX, dynamic' }).filter({ hasText: '1 GiB' }).waitFor();

    // Large enough to be seen under way, and cancelled by hand: a quick host copies a gibibyte in a second.
    const large = join(host.home, 'large.img');
    const some = Buffer.alloc(400 * MEBIBYTE, 7);
    for (let i = 0; i < 4; i++) appendFileSync(large, some);
    const convert = async (to: string): Promise<void> => {
      await manager.button('Convert a disk').click();
      await manager.dialog.getByLabel('Disk', { exact: true }).fill(large);
      await manager.dialog.getByLabel('New file').fill(join(diskFolder, to));
      await manager.confirm('Convert');
    };
    await convert('cancelled.vhdx');
    const jobs = page.getByRole('list', { name: 'Under way' });
    await jobs.getByText(/^\d+ %$/).waitFor();
    await jobs.getByRole('button', { name: 'Cancel' }).click();
    await jobs.waitFor({ state: 'detached' });
    await expect.poll(() => existsSync(join(diskFolder, 'cancelled.vhdx.partial')), { timeout: 60_000 }).toBe(false);
    expect(await row('cancelled.vhdx').count()).toBe(0);
    truncateSync(large, some.length);
    await convert('large.vhdx');
    await row('large.vhdx').filter({ hasText: '400 MiB' }).waitFor();
    await page.getByRole('button', { name: 'More for large.vhdx' }).click();
    await page.getByRole('menuitem', { name: 'Compact' }).click();
    await expect
      .poll(
        async () => (await host.client.transport.call('listEvents')).some(({ kind }) => kind === 'disk.compacted'),
        {
          timeout: 60_000,
        },
      )
      .toBe(true);
    await page.getByRole('button', { name: 'More for large.vhdx' }).click();
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    await manager.confirm('Delete');
    await row('large.vhdx').waitFor({ state: 'detached' });
    expect(existsSync(join(diskFolder, 'large.vhdx'))).toBe(false);
  });

  it('a machine is made from an image, as a copy, and started', async () => {
    await manager.go('Virtual machines');
    await page.getByRole('link', { name: 'Make the first one' }).click();
    await page.getByLabel('Name').fill('web');
    await page
      .getByLabel('Disk', { exact: true })
      .selectOption({ label: 'A copy of a file, as VHDX: the file stays as it is' });
    await page.getByLabel('Disk file on the host').fill(image);
    await page.getByLabel('Memory', { exact: true }).fill('256 MiB');
    await manager.button('Create').click();
    await manager.state('Running').waitFor();
    const [disk] = (await info('web')).configuration.disks;
    expect(disk).toMatchObject({ format: 'vhdx' });
    expect(disk!.file).toMatch(/\/disks\/web\.vhdx$/);
    await manager.tab('Console');
    await manager.terminal(PROMPT).waitFor();
    await manager.serial('cat /sys/block/sda/device/vendor; echo disk-$((1+1))');
    await manager.terminal('disk-2').waitFor();
  });

  it('forks from a checkpoint, in a tree', async () => {
    await manager.serial('echo kept > /state; echo sa""ved');
    await manager.terminal('saved').waitFor();
    await manager.tab('Checkpoints');
    for (const name of ['first', 'second']) {
      await manager.button('Create checkpoint').click();
      await manager.dialog.getByLabel('Name').fill(name);
      await manager.confirm('Create');
      await page.locator('.tree-node', { hasText: name }).waitFor();
      await settled('web');
    }
    // One stands on the other.
    await page.locator('.tree > li', { hasText: 'first' }).locator('ul .tree-node', { hasText: 'second' }).waitFor();
    await page.getByRole('button', { name: 'More for first' }).click();
    await page.getByRole('menuitem', { name: 'New virtual machine from it' }).click();
    await manager.dialog.getByLabel('Name of the new machine').fill('fork');
    await manager.confirm('Make it');
    await expect
      .poll(async () => (await host.client.list()).map(({ info: { name } }) => name).sort(), { timeout: 60_000 })
      .toEqual(['fork', 'web']);
    await manager.open('fork');
    await manager.state('Running').waitFor();
    await manager.tab('Console');
    await page.getByText('connected', { exact: true }).waitFor();
    await manager.serial('echo "fork-$(cat /state)"');
    await manager.terminal('fork-kept').waitFor();
    await turnOff();
    await manager.open('web');
    await manager.tab('Checkpoints');
    await page.getByRole('button', { name: 'More for second' }).click();
    await page.getByRole('menuitem', { name: 'Rename' }).click();
    await manager.dialog.getByLabel('Name').fill('renamed');
    await manager.confirm('Rename');
    await page.getByRole('button', { name: 'More for renamed' }).click();
    await page.getByRole('menuitem', { name: 'Export' }).click();
    await manager.dialog.getByLabel('New folder on the host').fill(join(host.home, 'exported-checkpoint'));
    await manager.confirm('Export');
    await expect.poll(() => existsSync(join(host.home, 'exported-checkpoint/vm.json')), { timeout: 60_000 }).toBe(true);
    await page.getByRole('button', { name: 'More for renamed' }).click();
    await page.getByRole('menuitem', { name: 'Delete', exact: true }).click();
    await manager.confirm('Delete');
    await page.locator('.tree-node', { hasText: 'renamed' }).waitFor({ state: 'detached' });
    await settled('web');
  });

  it('settings: what must be off says so, and changes when it is', async () => {
    await manager.tab('Settings');
    const tree = page.getByRole('navigation', { name: 'Settings' });
    await tree.getByRole('button', { name: /^Memory/ }).click();
    await page.getByText('This can change while the machine is Off. It is Running.').waitFor();
    expect(await page.getByRole('textbox', { name: 'Memory' }).isDisabled()).toBe(true);
    await tree.getByRole('button', { name: /^Name/ }).click();
    await page.getByLabel('Tags').fill('edge production');
    await manager.button('Save changes').click();
    await page.locator('.toast', { hasText: 'Name: saved' }).waitFor();
    await turnOff();
    await tree.getByRole('button', { name: /^Memory/ }).click();
    await page.getByRole('textbox', { name: 'Memory' }).fill('lots');
    await manager.button('Save changes').click();
    await page.locator('.toast', { hasText: 'the memory must be a size' }).waitFor();
    await page.getByRole('textbox', { name: 'Memory' }).fill('320M');
    await manager.button('Save changes').click();
    await tree.getByText('320 MiB').waitFor();
    await tree.getByRole('button', { name: /^Processor/ }).click();
    await page.getByLabel('Most of each, in percent').fill('90');
    await manager.button('Save changes').click();
    await page.locator('.toast', { hasText: 'Processor: saved' }).waitFor();
    await tree.getByRole('button', { name: /^Bandwidth/ }).click();
    await page.getByLabel('Disks, bytes in a second').fill('50M');
    await page.getByLabel('Network, Mbit/s').fill('12.5');
    await manager.button('Save changes').click();
    await tree.getByText('limited', { exact: true }).waitFor();
    await page.getByLabel('Network, Mbit/s').fill('');
    await manager.button('Save changes').click();
    await expect.poll(async () => (await info('web')).configuration.networkMaximum).toBeNull();
    await tree.getByRole('button', { name: /^Automatic start/ }).click();
    await page.getByLabel('When the service starts').selectOption('Start');
    await manager.button('Save changes').click();
    await tree.getByText('Always start').waitFor();
    await tree.getByText(/^Disk 0: /).waitFor();
    expect((await info('web')).configuration).toMatchObject({
      memory: 320 * MEBIBYTE,
      processorMaximum: 90,
      storageMaximum: 50 * MEBIBYTE,
      tags: ['edge', 'production'],
      automaticStartAction: 'Start',
    });
  });

  it('a switch shows ports, leases and forwards, and the list shows addresses', async () => {
    await manager.go('Switches');
    await manager.button('New switch').click();
    await manager.dialog.getByLabel('Name').fill('outside');
    await manager.dialog.getByLabel('Kind').selectOption('NAT');
    await manager.confirm('Make it');
    await page.getByRole('region', { name: 'outside' }).getByText('No adapter is connected').waitFor();
    await manager.open('web');
    await manager.tab('Network');
    await manager.button('Add network adapter').click();
    await manager.dialog.getByLabel('Switch').selectOption('outside');
    const port = 20_000 + (process.pid % 20_000);
    await manager.dialog.getByLabel('Ports of the host that lead to the guest').fill('nonsense');
    await manager.confirm('Add');
    await page.locator('.toast', { hasText: 'nonsense is no port forward' }).waitFor();
    await manager.dialog.getByLabel('Ports of the host that lead to the guest').fill(`${port}:80`);
    await manager.confirm('Add');
    await row('nic0')
      .filter({ hasText: `127.0.0.1:${port} → 80` })
      .waitFor();
    // As some do with every button.
    await page.locator('.page-head').getByRole('button', { name: 'Start', exact: true }).dblclick();
    await manager.state('Running').waitFor();
    expect(await page.locator('.toast', { hasText: 'cannot start' }).count()).toBe(0);
    await manager.tab('Console');
    await manager.terminal(PROMPT).waitFor();
    await manager.serial(
      'ip link set eth0 up; udhcpc -n -q -i eth0; echo served > /index.html; httpd -h /; echo served-$((1+1))',
    );
    await manager.terminal('served-2').waitFor();
    await manager.go('Switches');
    const panel = page.getByRole('region', { name: 'outside' });
    await panel
      .getByRole('table', { name: 'Ports of outside' })
      .locator('tr', { hasText: 'web' })
      .filter({ hasText: /172\.\d+\.\d+\.\d+/ })
      .waitFor();
    await panel
      .getByRole('table', { name: 'Leases of outside' })
      .locator('tr', { hasText: 'web' })
      .filter({ hasText: /172\.\d+\.\d+\.\d+/ })
      .waitFor();
    await panel.getByText(`127.0.0.1:${port} → 80`).waitFor();
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('served\n');
    expect(await panel.getByRole('button', { name: 'Remove outside' }).count()).toBe(0);
    await panel.getByRole('button', { name: 'Change outside' }).click();
    await manager.dialog.getByLabel('Ports of the host').fill('5432 53/udp');
    await manager.confirm('Save');
    await panel.getByText('reaches ports 5432 53/udp of the host').waitFor();
    // While it runs, too.
    await manager.open('web');
    await manager.tab('Network');
    await manager.button('Add network adapter').click();
    await manager.confirm('Add');
    await row('nic1').filter({ hasText: 'not connected' }).waitFor();
    await page.getByRole('button', { name: 'Change nic1' }).click();
    await manager.dialog.getByLabel('Switch').selectOption('outside');
    await manager.dialog.getByLabel('IPv4 address').fill('anything');
    await manager.confirm('Save');
    await page.locator('.toast', { hasText: 'must be an IPv4 address' }).waitFor();
    // What was written is still there, to be mended.
    await manager.dialog.getByLabel('IPv4 address').fill('');
    await manager.dialog.getByLabel('Sends, Mbit/s').fill('10');
    await manager.dialog.getByLabel('Where it may go').fill('tcp:192.0.2.7:443');
    await manager.confirm('Save');
    await row('nic1')
      .filter({ hasText: 'outside' })
      .filter({ hasText: 'sends 10 Mbit/s at most, goes to tcp:192.0.2.7:443 only' })
      .waitFor();
    expect((await info('web')).configuration.nics[1]).toMatchObject({ sendLimit: 1e7, egress: ['tcp:192.0.2.7:443'] });
    await page.getByRole('button', { name: 'Remove nic1' }).click();
    await manager.confirm('Remove');
    await row('nic1').waitFor({ state: 'detached' });
    await manager.go('Switches');
    await manager.demandAccessible('switches');
    await manager.go('Virtual machines');
    await row('web')
      .getByText(/^172\.\d+\.\d+\.\d+$/)
      .filter({ visible: true })
      .waitFor();
    await page.getByLabel('Search').fill('172.');
    await row('fork').waitFor({ state: 'detached' });
    await page.getByLabel('Search').fill('');
  });

  it('export, import and clone', async () => {
    await manager.open('web');
    await turnOff();
    await manager.more('Export');
    const folder = join(host.home, 'exported');
    await manager.dialog.getByLabel('New folder on the host').fill(folder);
    await manager.confirm('Export');
    await expect.poll(() => existsSync(join(folder, 'vm.json')), { timeout: 60_000 }).toBe(true);
    await settled('web');
    await manager.more('Clone');
    await manager.dialog.getByLabel('Name of the new machine').fill('fork');
    await manager.confirm('Clone');
    await page.locator('.toast', { hasText: "there is a virtual machine 'fork' already" }).waitFor();
    // The question is still there, to be answered better.
    await manager.dialog.getByLabel('Name of the new machine').fill('clone');
    await manager.confirm('Clone');
    await expect.poll(async () => (await host.client.list()).length, { timeout: 60_000 }).toBe(3);
    await manager.go('Virtual machines');
    await page.getByRole('link', { name: 'New virtual machine' }).click();
    await page.getByRole('radio', { name: /^Import/ }).check();
    await page.getByLabel('Name').fill('imported');
    await page.getByLabel('Folder of the export').fill(folder);
    await manager.button('Create').click();
    await page.locator('h1', { hasText: 'imported' }).waitFor();
    expect((await info('imported')).configuration.memory).toBe(320 * MEBIBYTE);
    await page.getByRole('link', { name: 'Virtual machines' }).first().click();
    await page.getByRole('link', { name: 'New virtual machine' }).click();
    await page.getByRole('radio', { name: /^Import/ }).check();
    await page.getByLabel('Folder of the export').fill(join(host.home, 'nothing'));
    await manager.button('Create').click();
    await page.locator('.toast', { hasText: 'there is no exported virtual machine' }).waitFor();
  });

  it('a kernel with a new empty disk', async () => {
    await page.getByRole('radio', { name: /^Kernel/ }).check();
    await page.getByLabel('Name').fill('empty');
    await page.getByLabel('Kernel', { exact: true }).fill(debian.kernel);
    await page.getByLabel('Initial RAM disk').fill(debian.initrd);
    await page.getByLabel('Disk', { exact: true }).selectOption({ label: 'A new empty VHDX' });
    await page.getByLabel('Size of the new disk').fill('3G');
    await page.getByLabel('Start it').uncheck();
    await manager.button('Create').click();
    await page.locator('h1', { hasText: 'empty' }).waitFor();
    await manager.tab('Disks');
    await page.getByText('empty.vhdx').waitFor();
    await manager.button('New disk').click();
    const { diskFolder } = await host.client.info();
    await manager.dialog.getByLabel('File on the host').fill(join(diskFolder, 'second.vhdx'));
    await manager.dialog.getByLabel('Size').fill('2G');
    await manager.confirm('Make and attach');
    await row('second.vhdx').waitFor();
    await page.getByRole('button', { name: 'Detach slot 1' }).click();
    await manager.confirm('Detach');
    await row('second.vhdx').waitFor({ state: 'detached' });
    expect((await info('empty')).configuration.disks).toHaveLength(1);
  });

  it('several machines at once', async () => {
    await manager.go('Virtual machines');
    await page.getByLabel('Tag').selectOption('edge');
    await page.getByLabel('Choose web', { exact: true }).check();
    await page.getByLabel('Choose clone', { exact: true }).check();
    await page.getByText('2 chosen').waitFor();
    await page.locator('.toolbar').getByRole('button', { name: 'Start' }).click();
    for (const name of ['web', 'clone']) await page.locator(`tr[data-vm="${name}"] .state[data-look="on"]`).waitFor();
    await page.locator('.toolbar').getByRole('button', { name: 'More for 2 virtual machines' }).click();
    // What is of one machine alone is not offered.
    expect(await page.getByRole('menuitem', { name: 'Export' }).count()).toBe(0);
    await page.getByRole('menuitem', { name: 'Turn off' }).click();
    await manager.confirm('Turn off');
    for (const name of ['web', 'clone']) await page.locator(`tr[data-vm="${name}"] .state[data-look="off"]`).waitFor();
    await page.getByLabel('Tag').selectOption('');
    // The list gives way to what is typed and clicked, and follows a moment later.
    const order = (): Promise<string[]> =>
      page.evaluate<string[]>("[...document.querySelectorAll('tr[data-vm]')].map((row) => row.dataset.vm)");
    await expect.poll(order).toEqual(['clone', 'empty', 'fork', 'imported', 'web']);
    await page.getByRole('columnheader', { name: 'Name' }).getByRole('button').click();
    await expect.poll(order).toEqual(['web', 'imported', 'fork', 'empty', 'clone']);
  });

  it('tokens are made, used, and revoked', async () => {
    await manager.go('Access');
    await manager.button('New token').click();
    await manager.dialog.getByLabel('Name').fill('monitoring');
    await manager.dialog.getByLabel('Machines').selectOption({ label: 'web' });
    await manager.confirm('Make it');
    const secret = (await page
      .getByRole('status')
      .filter({ hasText: 'The secret of monitoring' })
      .locator('code')
      .textContent())!;
    const ask = async (path: string) =>
      await fetch(`${host.url}/api/v1${path}`, { headers: { authorization: `Bearer ${secret}` } });
    expect(((await (await ask('/vms')).json()) as { name: string }[]).map(({ name }) => name)).toEqual(['web']);
    expect((await ask('/tokens')).status).toBe(403);
    await page.getByRole('button', { name: 'Revoke monitoring' }).click();
    await manager.confirm('Revoke');
    await row('monitoring').waitFor({ state: 'detached' });
    expect((await ask('/vms')).status).toBe(401);
  });

  it('by keyboard alone', async () => {
    await manager.go('Virtual machines');
    await page.getByLabel('Search').focus();
    const focused = (): Promise<string> =>
      page.evaluate<string>("document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent");
    const tabTo = async (label: string): Promise<void> => {
      for (let i = 0; i < 40 && (await focused()) !== label; i++) await page.keyboard.press('Tab');
      expect(await focused()).toBe(label);
    };
    await page.keyboard.type('empty');
    await row('web').waitFor({ state: 'detached' });
    await tabTo('More for empty');
    await page.keyboard.press('Enter');
    await page.getByRole('menuitem', { name: 'Clone' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('menuitem', { name: 'Clone' }).waitFor({ state: 'detached' });
    // The focus is where it was.
    expect(await focused()).toBe('More for empty');
    await page.keyboard.press('Enter');
    await page.keyboard.type('del');
    await page.keyboard.press('Enter');
    await manager.dialog.getByText('Delete empty?').waitFor();
    await tabTo('Delete');
    await page.keyboard.press('Enter');
    await expect
      .poll(async () => (await host.client.list()).map(({ info: { name } }) => name), { timeout: 60_000 })
      .not.toContain('empty');
  });

  it('nothing went wrong in the page', () => {
    expect(manager.problems).toEqual([]);
  });
});
