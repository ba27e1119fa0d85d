import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { LAUNCHER } from './launcher.ts';
import { launcherProblem, type Place, spawnSandboxed } from './sandbox.ts';

const folder = mkdtempSync(join(tmpdir(), 'vir-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const nasm = spawnSync('nasm', ['-v']).error === undefined;

describe('the launcher', () => {
  it.skipIf(!nasm)(`is what its source says (${nasm ? 'with nasm' : 'nasm is not here'})`, () => {
    const file = join(folder, 'assembled');
    execFileSync('nasm', ['-f', 'bin', '-o', file, fileURLToPath(new URL('launcher.asm', import.meta.url))]);
    expect(Buffer.compare(readFileSync(file), LAUNCHER)).toBe(0);
  });
});

/** Makes calls of the C library and tells what they gave: 0, or the error's number. */
const CALLS = `
const ffi = process.getBuiltinModule('node:ffi');
const calls = {
  unshare: ['unshare', ['i32'], [0x1000_0000]],
  setns: ['setns', ['i32', 'i32'], [0, 0]],
  ptrace: ['ptrace', ['i64', 'i64', 'i64', 'i64'], [0n, 0n, 0n, 0n]],
  mount: ['mount', ['u64', 'u64', 'u64', 'u64', 'u64'], [0n, 0n, 0n, 0n, 0n]],
  chroot: ['chroot', ['u64'], [0n]],
  bpf: ['syscall', ['i64', 'i64', 'i64', 'i64'], [321n, 0n, 0n, 0n]],
  keyctl: ['syscall', ['i64', 'i64', 'i64', 'i64'], [250n, 0n, 0n, 0n]],
  io_uring: ['syscall', ['i64', 'i64', 'i64', 'i64'], [425n, 1n, 0n, 0n]],
  kexec: ['syscall', ['i64', 'i64', 'i64', 'i64'], [246n, 0n, 0n, 0n]],
  clone3: ['syscall', ['i64', 'i64', 'i64', 'i64'], [435n, 0n, 0n, 0n]],
  execveat: ['syscall', ['i64', 'i64', 'i64', 'i64'], [322n, 0n, 0n, 0n]],
  x32: ['syscall', ['i64', 'i64', 'i64', 'i64'], [0x40000027n, 0n, 0n, 0n]],
  getpid: ['syscall', ['i64', 'i64', 'i64', 'i64'], [39n, 0n, 0n, 0n]],
};
const results = {};
for (const [name, [symbol, types, values]] of Object.entries(calls)) {
  const { functions: c } = ffi.dlopen(null, {
    [symbol]: { arguments: types, return: 'i64' },
    __errno_location: { arguments: [], return: 'pointer' },
  });
  const result = Number(BigInt.asIntN(32, BigInt(c[symbol](...values))));
  results[name] = result === -1 ? ffi.getInt32(c.__errno_location(), 0) : 0;
}
console.log(JSON.stringify(results));
`;

describe.skipIf(launcherProblem() !== undefined)(`a sandboxed program (${launcherProblem() ?? 'here'})`, () => {
  const everything: Place[] = [
    { path: '/', access: 'readFolder' },
    { path: '/usr', access: 'readFolder' },
    { path: process.execPath, access: 'execute' },
    { path: '/lib64/ld-linux-x86-64.so.2', access: 'execute' },
    { path: '/is/not/there', access: 'writeFolder' },
  ];

  async function run(name: string, source: string): Promise<{ text: string; code: number | null; active: string[] }> {
    const output = join(folder, `${name}.out`);
    const script = join(folder, `${name}.cjs`);
    writeFileSync(script, source);
    writeFileSync(output, '');
    const { openSync, closeSync } = await import('node:fs');
    const fd = openSync(output, 'a');
    const { child, rungs } = spawnSandboxed({
      folder,
      program: process.execPath,
      arguments: ['--no-warnings', script],
      places: everything,
      spawn: { output: fd, env: {} },
    });
    closeSync(fd);
    const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
    const active = (await rungs).filter((rung) => rung.active).map((rung) => rung.name);
    return { text: readFileSync(output, 'utf8'), code, active };
  }

  it('is refused the system calls that it has no business with', async ({ skip }) => {
    const { text, code, active } = await run('calls', CALLS);
    expect(code, text).toBe(0);
    if (!active.includes('seccomp')) skip('no seccomp here');
    const [EPERM, ENOSYS] = [1, 38];
    const { clone3, getpid, ...refused } = JSON.parse(text) as Record<string, number>;
    expect(clone3).toBe(ENOSYS);
    expect(getpid).toBe(0);
    expect(Object.keys(refused)).toHaveLength(11);
    for (const [name, error] of Object.entries(refused)) expect(error, name).toBe(EPERM);
  });

  it('has its threads, timers and files as any other', async () => {
    const { text, code } = await run(
      'threads',
      `const { Worker } = require('node:worker_threads');
       new Worker("require('node:worker_threads').parentPort.postMessage(WebAssembly.Memory.name)", { eval: true })
         .on('message', (name) => require('node:fs').stat('/', () => setTimeout(() => console.log(name, process.pid > 1), 1)));`,
    );
    expect([text, code]).toEqual(['Memory true\n', 0]);
  });
});
