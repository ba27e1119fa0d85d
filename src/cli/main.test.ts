import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EXIT } from '../contracts/exit-codes.ts';
import { runCommand } from '../host/node/command.ts';

const hv = fileURLToPath(new URL('../../bin/hv', import.meta.url));

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
  writeFileSync(join(folder, 'empty'), '');
  writeFileSync(join(folder, 'kernel'), 'not really');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('bin/hv', () => {
  it.each<[string, number, string]>([
    ['run', EXIT.usage, 'hv: nothing to run: give --kernel FILE, --disk FILE with a system on it, or --restore FILE'],
    ['run --kernel /nonexistent', EXIT.notFound, 'hv: kernel /nonexistent: no such file'],
    ['run --kernel .', EXIT.badFile, 'hv: kernel .: is a folder, not a file'],
    ['run --kernel empty', EXIT.badFile, 'hv: kernel empty: the file is empty'],
    ['run --kernel kernel --initrd nowhere', EXIT.notFound, 'hv: initrd nowhere: no such file'],
    ['run --kernel kernel --module nowhere', EXIT.notFound, 'hv: module nowhere: no such file'],
    ['run --kernel kernel --memory 1M', EXIT.usage, 'hv: memory of 1 MiB is too little: give at least 2 MiB'],
    [
      'run --kernel kernel --memory 8G',
      EXIT.usage,
      'hv: memory of 8 GiB is more than a partition can have: give at most 3 GiB',
    ],
    ['run --kernel kernel --memory lots', EXIT.usage, "hv: --memory must be a size such as 512M or 2G, not 'lots'"],
    ['run --kernel kernel --clock sundial', EXIT.usage, "hv: --clock must be 'real' or 'instructions', not 'sundial'"],
    ['run --kernel', EXIT.usage, "hv: option '--kernel <file>' argument missing"],
    ['run --kernel ', EXIT.usage, "hv: --kernel must be the name of a file, not ''"],
    ['run --frobnicate', EXIT.usage, "hv: unknown option '--frobnicate'"],
    ['run kernel', EXIT.usage, "hv: too many arguments for 'run'. Expected 0 arguments but got 1: kernel."],
    [
      'run --restore kernel --memory 1G',
      EXIT.usage,
      'hv: memory cannot be given with restore: it is part of the saved state',
    ],
    ['quickstart --kernel nowhere', EXIT.notFound, 'hv: --kernel nowhere: no such file'],
    ['fly', EXIT.usage, "hv: unknown command 'fly': 'hv --help' shows all"],
  ])('%s: exits with %i', async (args, code, line) => {
    const result = await runCommand(hv, args.split(' '), { cwd: folder });
    expect(result).toEqual({ code, stdout: '', stderr: `${line}\n` });
  });

  it('shows help, exit codes and keys', async () => {
    const { code, stdout, stderr } = await runCommand(hv, ['run', '--help']);
    expect({ code, stderr }).toEqual({ code: EXIT.ok, stderr: '' });
    for (const text of ['--kernel', '--test-device', 'Ctrl-] q', 'triple fault']) expect(stdout).toContain(text);
  });

  it('answers hv doctor, and as JSON', async () => {
    expect((await runCommand(hv, ['doctor'])).stdout).toMatch(/^ok {6} Node\.js /m);
    const { code, stdout } = await runCommand(hv, ['doctor', '--json']);
    expect(code).toBe(EXIT.ok);
    expect(JSON.parse(stdout)).toMatchObject({ able: true });
  });

  it('works through links, as npm makes them', async () => {
    symlinkSync(hv, join(folder, 'absolute'));
    symlinkSync('absolute', join(folder, 'relative'));
    const result = await runCommand(join(folder, 'relative'), ['--version']);
    expect(result.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('says what to do without a suitable Node', async () => {
    // A copy outside the checkout, with an old `node` on the PATH.
    const { mkdirSync, copyFileSync, chmodSync } = await import('node:fs');
    for (const name of ['bin', 'path']) mkdirSync(join(folder, 'copy', name), { recursive: true });
    copyFileSync(hv, join(folder, 'copy/bin/hv'));
    writeFileSync(join(folder, 'copy/path/node'), '#!/bin/sh\necho v20.20.2\n');
    chmodSync(join(folder, 'copy/path/node'), 0o755);
    const path = `${join(folder, 'copy/path')}:/usr/bin:/bin`;
    const { code, stderr } = await runCommand('/usr/bin/env', [`PATH=${path}`, join(folder, 'copy/bin/hv')]);
    expect(code).toBe(EXIT.failure);
    expect(stderr).toMatch(/^hv: no suitable Node\.js found: .*v20\.20\.2.*\n$/);
  });
});
