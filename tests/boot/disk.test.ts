/** What is wrong with `--disk` and `--dvd` is said in one line, before anything boots. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { createDisk } from '../../src/storage/index.ts';
import { Guest } from './guest.fixture.ts';

const MIB = 2 ** 20;
const host = { files: nodeDiskFiles, codecs: nodeCodecs };
const folder = mkdtempSync(join(tmpdir(), 'viridian-disk-'));
const path = (name: string): string => join(folder, name);

describe('a disk that cannot be', { timeout: 180_000 }, () => {
  beforeAll(async () => {
    await createDisk(host, path('same.vhdx'), { format: 'vhdx', size: 8 * MIB });
    writeFileSync(path('other.img'), 'KDMV'.padEnd(4096));
    writeFileSync(path('some.iso'), new Uint8Array(4096));
    mkdirSync(path('below'));
    await createDisk(host, path('below/child.vhdx'), {
      format: 'vhdx',
      parent: path('same.vhdx'),
      allowParent: [path('same.vhdx')],
    });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each<[string, readonly string[], number, RegExp]>([
    ['a missing file', ['--disk', path('none.vhdx')], 3, /none\.vhdx: no such file/],
    ['a format of others', ['--disk', path('other.img')], 7, /VMDK files are not supported/],
    ['one file twice', ['--disk', path('same.vhdx'), '--disk', path('same.vhdx')], 4, /in use by another/],
    ['no such option', ['--disk', `${path('same.vhdx')},cache=none`], 2, /'cache=none' is none of format=FORMAT/],
    ['discarded and saved', ['--disk', path('same.vhdx'), '--discard', '--save', path('state')], 2, /--save cannot/],
    ['a parent elsewhere', ['--disk', path('below/child.vhdx')], 5, /lies outside the disk's folder/],
    [
      'a LUN that is taken',
      ['--dvd', `${path('some.iso')},lun=2`, '--dvd', ',lun=2'],
      4,
      /controller 0, LUN 2 is taken/,
    ],
    [
      'no such controller',
      ['--disk', `${path('same.vhdx')},controller=4`],
      2,
      /controller must be .* from 0 to 3, not 4/,
    ],
    ['a disk as a DVD', ['--dvd', path('same.vhdx')], 7, /it is a vhdx disk, not a DVD image: attach it as a disk/],
  ])('%s is refused with one line', async (_what, args, code, line) => {
    const outcome = await new Guest('--kernel', path('none'), ...args).exit;
    expect(outcome).toMatchObject({ code, stdout: '' });
    expect(outcome.stderr).toMatch(line);
    expect(outcome.stderr).toMatch(/^hv: [^\n]+\n$/);
  });
});
