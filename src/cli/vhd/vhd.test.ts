import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EXIT } from '../../contracts/exit-codes.ts';
import { runCommand } from '../../host/node/command.ts';

const hv = fileURLToPath(new URL('../../../bin/hv', import.meta.url));

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
  writeFileSync(join(folder, 'cloud.img'), 'QFI\xfb and no more', 'latin1');
  writeFileSync(join(folder, 'nothing.vhdx'), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const run = (line: string) => runCommand(hv, ['vhd', ...line.split(' ')], { cwd: folder });

describe('hv vhd', () => {
  it('takes a disk through its life', async () => {
    expect(await run('create a.vhdx --size 1G')).toEqual({
      code: EXIT.ok,
      stdout: '',
      stderr: 'hv: created a.vhdx: dynamic VHDX, 1 GiB, file 4 MiB\n',
    });
    const info = await run('info a.vhdx --json');
    expect(JSON.parse(info.stdout)).toMatchObject({
      format: 'vhdx',
      type: 'dynamic',
      size: 2 ** 30,
      logicalSectorSize: 512,
    });
    expect((await run('info a.vhdx')).stdout).toContain('size           1 GiB (1073741824 bytes)\n');
    expect((await run('check a.vhdx')).stderr).toMatch(/^hv: a\.vhdx: no errors \(/);
    expect((await run('resize a.vhdx 512M')).code).toBe(EXIT.usage);
    expect((await run('resize a.vhdx 512M --shrink')).stderr).toContain('512 MiB');
    expect((await run('resize a.vhdx 2G')).stderr).toContain('2 GiB');
    expect((await run('convert a.vhdx b.vhd')).stderr).toContain('wrote b.vhd: dynamic VHD, 2 GiB');
    expect((await run('convert b.vhd c.raw')).code).toBe(EXIT.ok);
    expect(statSync(join(folder, 'c.raw'))).toMatchObject({ size: 2 ** 31, blocks: 0 });
    expect((await run('compact a.vhdx')).code).toBe(EXIT.ok);
    expect((await run('create d.vhdx --parent a.vhdx')).stderr).toContain('differencing VHDX, 2 GiB');
    expect((await run('merge d.vhdx --delete')).stderr).toContain('merged into');
    expect(readdirSync(folder).sort()).toEqual(['a.vhdx', 'b.vhd', 'c.raw', 'cloud.img', 'nothing.vhdx']);
  });

  it('answers to the names of the cmdlets', async () => {
    const made = await runCommand(hv, ['New-VHD', 'ps.vhdx', '--size', '1G'], { cwd: folder });
    expect(made.stderr).toContain('created ps.vhdx');
    const got = await runCommand(hv, ['Get-VHD', 'ps.vhdx', '--json'], { cwd: folder });
    expect(JSON.parse(got.stdout)).toMatchObject({ size: 2 ** 30 });
  });

  it('exits with 7 for a damaged file, and says on stdout what is wrong with it', async () => {
    await run('create broken.vhdx --size 1G');
    truncateSync(join(folder, 'broken.vhdx'), 2 ** 20);
    const { code, stdout, stderr } = await run('check broken.vhdx');
    expect(code).toBe(EXIT.badFile);
    expect(stdout).toContain('error: damaged VHDX');
    expect(stderr).toContain('hv: broken.vhdx: damaged');
    expect(JSON.parse((await run('check broken.vhdx --json')).stdout)).toMatchObject({ sound: false });
  });

  it.each<[string, number, string]>([
    ['create x.vhdx', EXIT.usage, 'hv: a new disk needs a size: give --size, such as --size 20G'],
    ['create x.vhdx --size lots', EXIT.usage, "hv: --size must be a size such as 512M or 1.5G, not 'lots'"],
    ['create x.vhdx --size 1000T', EXIT.usage, 'hv: a VHDX holds at most 64T'],
    ['create x.qcow2 --size 1G', EXIT.usage, 'hv: x.qcow2: qcow2 can be read, not written; make a vhdx, vhd or raw'],
    ['create x.vhdx --size 1G --type thin', EXIT.usage, "hv: --type must be fixed, dynamic, differencing, not 'thin'"],
    ['create nothing.vhdx --size 1G', EXIT.wrongState, 'hv: nothing.vhdx: the file is there already'],
    ['create nowhere/x.vhdx --size 1G', EXIT.notFound, 'hv: nowhere/x.vhdx: no such file'],
    ['info nowhere.vhdx', EXIT.notFound, 'hv: nowhere.vhdx: no such file'],
    ['info .', EXIT.badFile, 'hv: .: is a folder, not a file'],
    ['convert disk x.vhdx', EXIT.usage, 'hv: disk: the name does not say the format: give --format'],
    ['check cloud.img', EXIT.usage, 'hv: cloud.img: named as a raw disk, but it looks like qcow2: give --format'],
    ['merge nothing.vhdx', EXIT.badFile, `hv: nothing.vhdx: damaged VHDX: the signature is missing: is it a VHDX?`],
  ])('%s: exits with %i', async (args, code, line) => {
    const result = await run(args);
    expect({ ...result, stderr: result.stderr.replaceAll(`${folder}/`, '') }).toEqual({
      code,
      stdout: '',
      stderr: `${line}\n`,
    });
  });
});
