import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type TestHost, testHost } from './testing.fixture.ts';

let test: TestHost;
beforeAll(async () => {
  test = await testHost();
});

const folders = (): string[] => readdirSync(join(test.folder, 'data/vms')).sort();

describe('an export', () => {
  it('is refused before anything is copied, where it cannot be', async () => {
    const vm = await test.vm('there');
    const full = join(test.folder, 'full');
    mkdirSync(full);
    writeFileSync(join(full, 'file'), '');
    await expect(vm.export(full)).rejects.toMatchObject({
      code: 'wrongState',
      message: `${full}: is there already, and is not an empty folder`,
    });
    await expect(vm.export(join(full, 'file/below'))).rejects.toMatchObject({ code: 'notFound' });
    expect(readdirSync(full)).toEqual(['file']);
    // An empty folder of the user's is as good as none, and those above are made.
    mkdirSync(join(test.folder, 'empty'));
    await vm.export(join(test.folder, 'empty'));
    await vm.export(join(test.folder, 'a/b/c'));
    expect(existsSync(join(test.folder, 'a/b/c/vm.json'))).toBe(true);
  });

  it.skipIf(!existsSync('/proc/self'))('ends where no folder can be made', async () => {
    const vm = await test.vm('nowhere');
    await expect(vm.export('/proc/viridian/x')).rejects.toMatchObject({
      code: 'denied',
      message: '/proc/viridian: no folder can be made there',
    });
  });
});

describe('an import', () => {
  it('that fails leaves no files', async () => {
    const vm = await test.vm('whole');
    const folder = join(test.folder, 'damaged');
    await vm.export(folder);
    rmSync(join(folder, 'kernel'));
    const before = folders();
    await expect(test.host.import({ folder, name: 'copy' })).rejects.toMatchObject({
      code: 'notFound',
      message: expect.stringContaining('no such file') as string,
    });
    expect(folders()).toEqual(before);
  });
});

it("what a service was cut short in leaves no folder, and nobody else's goes", async () => {
  const vm = await test.vm('on record');
  const data = join(test.folder, 'data/vms');
  for (const name of ['cut-short', 'of-a-lost-database']) mkdirSync(join(data, name));
  const { folders: making } = test.service.management.context;
  making.begin('cut-short');
  making.begin(vm.id);
  await test.restart();
  expect(folders()).not.toContain('cut-short');
  expect(folders()).toEqual(expect.arrayContaining([vm.id, 'of-a-lost-database']));
  expect(test.service.management.context.db.all('select * from making')).toEqual([]);
});
