/** Programs and files in a guest, by the command. Its agent runs on this machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { findCommand } from '../../../host/node/command.ts';
import { testHost } from '../../../vmms/testing.fixture.ts';
import { operandOf } from './copy.ts';

const HV = fileURLToPath(new URL('../../../../bin/hv', import.meta.url));
const missing = findCommand('perl') === undefined ? ': skipped, there is no perl' : '';

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

describe.skipIf(missing !== '')(`programs and files in a guest${missing}`, { timeout: 300_000 }, async () => {
  // The worker that only pretends runs programs, which a worker may not.
  vi.stubEnv('VIRIDIAN_ISOLATION', 'off');
  const test = await testHost();
  const start = (command: string, args: readonly string[]): ChildProcess =>
    spawn(command, args, { env: { ...process.env, VIRIDIAN_HOST: test.options.socket }, cwd: test.folder });
  const run = async (command: string, args: readonly string[], input = ''): Promise<Outcome> => {
    const child = start(command, args);
    child.stdin!.on('error', () => undefined);
    child.stdin!.end(input);
    let [stdout, stderr] = ['', ''];
    child.stdout!.setEncoding('utf8').on('data', (text: string) => void (stdout += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => void (stderr += text));
    return await new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })));
  };
  const hv = (...args: string[]): Promise<Outcome> => run(HV, args);
  const at = (...names: string[]): string => join(test.folder, ...names);

  beforeAll(async () => {
    await (await test.vm('web')).start();
    await (await test.vm('bare', { boot: { kernel: at('kernel'), append: 'FAKE_NO_AGENT' } })).start();
    await test.vm('off');
  });

  it('exec passes on streams, arguments, environment, folder and the exit code', async () => {
    const script = 'echo "$1|$NAME|$PWD"; cat; echo bad >&2; exit 9';
    expect(
      await run(HV, ['exec', '-e', 'NAME=x=y', '-w', '/usr', 'web', 'sh', '-c', script, 'sh', '--json'], 'input'),
    ).toEqual({ code: 9, stdout: '--json|x=y|/usr\ninput', stderr: 'bad\n' });
    expect(await hv('exec', '-n', 'web', '--', 'head', '-c', '300000', '/dev/zero')).toMatchObject({
      code: 0,
      stdout: '\0'.repeat(300_000),
    });
    expect(await hv('exec', 'web', '/no/such')).toMatchObject({
      code: 127,
      stderr: '/no/such: No such file or directory\n',
    });
  });

  it('exec passes signals on', async () => {
    const child = start(HV, [
      'exec',
      'web',
      'sh',
      '-c',
      'trap "echo ended; exit 5" TERM; echo ready; sleep 1000 & wait',
    ]);
    let shown = '';
    child.stdout!.on('data', (text: Buffer) => {
      shown += text.toString();
      if (shown === 'ready\n') child.kill('SIGTERM');
    });
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(5);
    expect(shown).toBe('ready\nended\n');
  });

  const script = findCommand('script');
  it.skipIf(script === undefined)('exec has a terminal where hv has one', async () => {
    const command = `stty rows 33 cols 99; '${HV}' exec web sh -c 'tty; stty size; exit 4'`;
    const { code, stdout } = await run('script', ['-qec', command, '/dev/null'], '');
    expect(stdout).toMatch(/\/dev\/pts\/\d+\r+\n33 99\r+\n/);
    expect(code).toBe(4);
    expect(await hv('exec', '--tty', 'web', 'true')).toMatchObject({
      code: 2,
      stderr: 'hv: --tty needs a terminal on stdin, for the keys\n',
    });
  });

  it('says in one line why nothing can be run', async () => {
    expect(await hv('exec', 'off', 'true')).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('off') as string,
    });
    const none = await hv('exec', '--timeout', '1', 'bare', 'true');
    expect(none).toMatchObject({ code: 6, stdout: '' });
    expect(none.stderr).toMatch(/^hv: bare: no agent answers in the guest\. .*hv image create debian.*\n$/);
    expect(await hv('nc', '--timeout', '1', 'bare', '22')).toEqual({
      code: 6,
      stdout: '',
      stderr: 'hv: nothing in bare accepts connections to port 22 of its sockets\n',
    });
  });

  it('cp copies a file in and out, whole and as it was', async () => {
    const bytes = randomBytes(1_000_000);
    writeFileSync(at('a file'), bytes);
    chmodSync(at('a file'), 0o741);
    expect(await hv('cp', 'a file', `web:${at('in/b')}`)).toEqual({
      code: 3,
      stdout: '',
      stderr: `hv: ${at('in')}: no such folder: give --folders to make it\n`,
    });
    expect(await hv('cp', '--folders', 'a file', `web:${at('in/b')}`)).toEqual({
      code: 0,
      stdout: '',
      stderr: `hv: done: copy a file to ${at('in/b')} of web\n`,
    });
    expect(readFileSync(at('in/b')).equals(bytes)).toBe(true);
    expect(statSync(at('in/b')).mode & 0o7777).toBe(0o741);
    expect(Math.floor(statSync(at('in/b')).mtimeMs / 1000)).toBe(Math.floor(statSync(at('a file')).mtimeMs / 1000));
    expect(await hv('cp', 'a file', `web:${at('in/b')}`)).toEqual({
      code: 4,
      stdout: '',
      stderr: `hv: ${at('in/b')}: is there already: give --overwrite to replace it\n`,
    });
    mkdirSync(at('out'));
    expect(await hv('cp', `web:${at('in/b')}`, 'out')).toEqual({
      code: 0,
      stdout: '',
      stderr: expect.stringMatching(/^hv: done: copy .*\n$/) as string,
    });
    expect(readFileSync(at('out/b')).equals(bytes)).toBe(true);
    expect(statSync(at('out/b')).mode & 0o7777).toBe(0o741);
    expect(await hv('cp', `web:${at('in/b')}`, 'out/b')).toMatchObject({ code: 4 });
    expect(await hv('cp', `web:${at('none')}`, 'out')).toMatchObject({
      code: 3,
      stderr: `hv: ${at('none')}: no such file or folder in the guest\n`,
    });
    expect(existsSync(at('out/none'))).toBe(false);
  });

  it('cp copies folders in and out', async () => {
    mkdirSync(at('tree/sub/empty'), { recursive: true });
    writeFileSync(at('tree/sub/x'), 'x');
    chmodSync(at('tree/sub/x'), 0o600);
    symlinkSync('sub/x', at('tree/link'));
    mkdirSync(at('guest'));
    expect(await hv('cp', 'tree', `web:${at('guest')}`)).toMatchObject({
      code: 0,
      stderr: 'hv: tree: 2 files, 1 bytes\n',
    });
    expect(readFileSync(at('guest/tree/link'), 'utf8')).toBe('x');
    expect(await hv('cp', 'tree', `web:${at('guest')}`)).toMatchObject({ code: 4 });
    expect(await hv('cp', '--overwrite', 'tree', `web:${at('guest')}`)).toMatchObject({ code: 0 });
    expect(await hv('cp', `web:${at('guest/tree')}`, 'back')).toMatchObject({ code: 0 });
    expect(statSync(at('back/sub/x')).mode & 0o7777).toBe(0o600);
    expect(statSync(at('back/sub/empty')).isDirectory()).toBe(true);
    expect(readFileSync(at('back/link'), 'utf8')).toBe('x');
  });

  it.each([
    [['a', 'b'], 'one side is a guest (VM:/PATH), the other is this host'],
    [['web:/a', 'web:/b'], 'one side is a guest (VM:/PATH), the other is this host'],
    [['web:/a'], 'give what to copy, and where to: hv cp FILE VM:/PATH'],
    [['./a:b', 'web:/a', './c'], 'one side is a guest (VM:/PATH), the other is this host'],
  ])('cp %j: what is what is said', async (args, message) => {
    expect(await hv('cp', ...args)).toEqual({ code: 2, stdout: '', stderr: `hv: ${message}\n` });
  });

  it('a colon makes a guest of what has no slash before it', () => {
    expect(operandOf('web:')).toEqual({ vm: 'web', path: '.' });
    expect(operandOf('./a:b')).toEqual({ vm: undefined, path: './a:b' });
  });
});
