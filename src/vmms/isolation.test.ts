import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Vm } from '../client/index.ts';
import { launcherProblem } from '../host/node/sandbox/sandbox.ts';
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
async function reach(path: string): Promise<Record<string, string>> {
  await using console = await vm.console({ history: false });
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

  it('goes on as it is under the next service', async () => {
    const before = (await vm.refresh()).worker;
    await test.restart();
    expect((await vm.refresh()).worker).toEqual(before);
  });
});
