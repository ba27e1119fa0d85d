import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Vm } from '../client/index.ts';
import { launcherProblem } from '../host/node/sandbox/sandbox.ts';
import { vmWithDisk } from './disks.fixture.ts';
import { type TestHost, testHost, until } from './testing.fixture.ts';

let test: TestHost;
let vm: Vm;
beforeAll(async () => {
  if (launcherProblem() !== undefined) return;
  test = await testHost();
  mkdirSync(join(test.folder, 'others'));
  for (const name of ['others/secret', 'disk.raw']) writeFileSync(join(test.folder, name), Buffer.alloc(512));
  vm = await test.vm('alone', { disks: [{ slot: 0, file: join(test.folder, 'disk.raw'), format: 'raw' }] });
  await vm.start();
});

/** What the worker can do with a file. */
async function reach(path: string, of = vm): Promise<Record<string, string>> {
  await using console = await of.console({ history: false });
  console.write(`!reach ${path}`);
  return JSON.parse(await until(console, '\n')) as Record<string, string>;
}

describe.skipIf(launcherProblem() !== undefined)(`a worker process (${launcherProblem() ?? 'held back'})`, () => {
  it('says what holds it back', async () => {
    const { worker } = await vm.refresh();
    expect(worker!.isolation.map(({ name }) => name)).toEqual(['no-new-privileges', 'landlock', 'seccomp']);
    for (const { active, detail } of worker!.isolation) expect(detail, String(active)).not.toBe('');
    // Every kernel since 3.17 has these two.
    expect(worker!.isolation.filter(({ name }) => name !== 'landlock').every(({ active }) => active)).toBe(true);
  });

  it('reads its disk, and nothing of others, from none of its threads', async ({ skip }) => {
    const landlock = (await vm.refresh()).worker!.isolation.find(({ name }) => name === 'landlock')!;
    if (!landlock.active) skip(`no Landlock here: ${landlock.detail}`);
    const disk = { main: 'ok', async: 'ok', thread: 'ok', write: 'ok' };
    expect(await reach(join(test.folder, 'disk.raw'))).toMatchObject({ ...disk, beside: 'EACCES', temporary: 'ok' });
    const refused = { main: 'EACCES', async: 'EACCES', thread: 'EACCES', write: 'EACCES', beside: 'EACCES' };
    expect(await reach(join(test.folder, 'others/secret'))).toMatchObject({ ...refused, list: 'EACCES' });
    expect(await reach('/etc/passwd')).toMatchObject(refused);
    expect(await reach(join(test.folder, 'data/viridian.db'))).toMatchObject(refused);
  });

  it('executes nothing, and signals nobody', async () => {
    const { execute, signal } = await reach('/etc/hostname');
    expect(execute).toBe('EPERM');
    const landlock = (await vm.refresh()).worker!.isolation.find(({ name }) => name === 'landlock')!;
    if (landlock.detail.includes('signals')) expect(signal).toBe('EPERM');
  });

  it('is held back as much when it waited before there was a VM for it', async ({ skip }) => {
    const landlock = (await vm.refresh()).worker!.isolation.find(({ name }) => name === 'landlock')!;
    if (!landlock.active) skip(`no Landlock here: ${landlock.detail}`);
    const { vm: source } = await vmWithDisk(test, 'source');
    await source.start();
    await source.checkpoint('base');
    const folder = join(test.folder, 'data/standby');
    const ready = (): boolean => existsSync(folder) && readdirSync(folder).length > 0;
    while (!ready()) await new Promise((resolve) => setTimeout(resolve, 50));
    const [id] = readdirSync(folder);
    // It must have come so far that files can be handed to it.
    const sockets = (): string[] => readdirSync(join(test.folder, 'run/w'), { recursive: true }) as string[];
    while (sockets().filter((name) => name.endsWith('files.sock')).length < 3)
      await new Promise((resolve) => setTimeout(resolve, 50));
    const fork = await source.fork('base', { name: 'fork' });
    expect(fork.id).toBe(id);
    expect((await fork.refresh()).worker!.isolation).toEqual(
      (await source.refresh()).worker!.isolation.map((rung) => ({ ...rung, detail: expect.any(String) as string })),
    );
    const [disk] = fork.info.configuration.disks;
    const fine = { main: 'ok', async: 'ok', thread: 'ok', write: 'ok', temporary: 'ok' };
    expect(await reach(disk!.file, fork)).toMatchObject(fine);
    const refused = { main: 'EACCES', async: 'EACCES', thread: 'EACCES', write: 'EACCES', beside: 'EACCES' };
    for (const path of [...disk!.allowParent!, join(test.folder, 'others/secret'), '/etc/passwd'])
      expect(await reach(path, fork)).toMatchObject(refused);
    for (const each of [fork, source]) await each.stop({ turnOff: true });
  });

  it('goes on as it is under the next service', async () => {
    const before = (await vm.refresh()).worker;
    await test.restart();
    expect((await vm.refresh()).worker).toEqual(before);
  });
});
