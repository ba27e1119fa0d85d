import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CommandResult, runCommand } from '../src/host/node/command.ts';
import { debianGuest } from '../tests/boot/guest.fixture.ts';

const debian = await debianGuest();

/** What `npm pack` makes, installed by hand into an empty folder: a test must not need the registry. */
const root = fileURLToPath(new URL('../', import.meta.url));
let folder = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-package-'));
  const packed = await runCommand('npm', ['pack', '--silent', '--pack-destination', folder], { cwd: root });
  expect(packed, packed.stderr).toMatchObject({ code: 0 });
  const archive = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
  const modules = join(folder, 'node_modules');
  mkdirSync(join(modules, '.bin'), { recursive: true });
  await runCommand('tar', ['-xzf', join(folder, archive), '-C', modules, '--transform=s/^package/viridian/']);
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name !== 'viridian' && !name.startsWith('.'))
      symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  symlinkSync('../viridian/bin/hv', join(modules, '.bin/hv'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const hv = (...args: string[]): Promise<CommandResult> =>
  runCommand(join(folder, 'node_modules/.bin/hv'), args, { cwd: folder });

describe('the package', () => {
  it('ships what was built and no sources', () => {
    const files = readdirSync(join(folder, 'node_modules/viridian'), { recursive: true, encoding: 'utf8' });
    for (const name of ['bin/hv', 'dist/main.js', 'dist/index.js', 'dist/vp-thread.js', 'dist/types/vmwp/index.d.ts']) {
      expect(files).toContain(name);
    }
    expect(files.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))).toEqual([]);
  });

  it('has a working hv', async () => {
    expect((await hv('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await hv('doctor')).code).toBe(0);
    expect(await hv('run', '--kernel', 'nowhere')).toMatchObject({
      code: 3,
      stderr: 'hv: kernel nowhere: no such file\n',
    });
  });

  it('runs a guest', async () => {
    const state = join(root, 'tests/fixtures/state-v1.bin');
    expect(await hv('run', '--restore', state)).toEqual({ code: 43, stdout: 'counted\n', stderr: '' });
  });

  it('has types', async () => {
    const program = join(folder, 'use.mts');
    writeFileSync(
      program,
      "import { createPartition, type Partition } from 'viridian';\n" +
        "const partition: Partition = await createPartition({ kernel: 'vmlinuz' });\n" +
        '// @ts-expect-error: a number of bytes\n' +
        "await createPartition({ kernel: 'vmlinuz', memory: '1G' });\n" +
        'partition.start();\n',
    );
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    const options = ['--noEmit', '--strict', '--target', 'es2024', '--module', 'nodenext', '--types', 'node'];
    const lib = ['--lib', 'es2024,esnext.disposable'];
    const { code, stdout } = await runCommand(process.execPath, [tsc, '--ignoreConfig', ...options, ...lib, program], {
      cwd: folder,
    });
    expect(stdout).toBe('');
    expect(code).toBe(0);
  });

  it.skipIf(typeof debian === 'string')('is a library: docs/example.mjs boots and powers off', async () => {
    if (typeof debian === 'string') return;
    const example = join(folder, 'example.mjs');
    copyFileSync(join(root, 'docs/example.mjs'), example);
    const args = [debian.kernel, debian.initrd, 'uname -a; poweroff'];
    const { code, stdout, stderr } = await runCommand(process.execPath, [example, ...args], { cwd: folder });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/\nLinux viridian \d/);
    expect(stdout).toMatch(/\nstopped: powerOff\n$/);
    expect(code).toBe(0);
  });
});
