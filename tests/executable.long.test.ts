/**
 * The single executable, built by its one command and used as a user would have it: a file alone in a folder, no Node and nothing of
 * this checkout around. It is the command, the service, the workers and their threads.
 */
import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCommand, runCommand } from '../src/host/node/command.ts';
import { GUEST_FSCK, Home, MOUNT, storyGuest } from './management.fixture.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'vir-executable-'));
const executable = join(folder, 'hv');
const guest = await storyGuest();
const skipped = typeof guest === 'string';
const analyze = findCommand('systemd-analyze');

beforeAll(async () => {
  const built = await runCommand(process.execPath, [join(root, 'tools/build-executable.ts'), executable], {
    cwd: root,
  });
  expect(built, built.stderr).toMatchObject({ code: 0 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** In an empty environment, from an empty folder. */
const alone = (...args: readonly string[]) =>
  runCommand('/usr/bin/env', ['-i', `HOME=${folder}`, 'PATH=/usr/bin:/bin', executable, ...args], { cwd: folder });

describe('the executable', () => {
  it('is one file, and answers as hv does', async () => {
    expect(readdirSync(folder)).toEqual(['hv']);
    expect(statSync(executable).mode & 0o111).toBe(0o111);
    expect((await alone('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await alone('doctor')).code).toBe(0);
    expect((await alone('vm', '--help')).stdout).toContain('new|create [options] [name]');
    expect(await alone('run', '--kernel', 'nowhere')).toMatchObject({
      code: 3,
      stderr: 'hv: kernel nowhere: no such file\n',
    });
  });

  it('runs a guest: hv run', async () => {
    const state = join(folder, 'state');
    copyFileSync(join(root, 'tests/fixtures/state-v1.bin'), state);
    expect(await alone('run', '--restore', state)).toEqual({ code: 43, stdout: 'counted\n', stderr: '' });
  });

  it('carries the agent and the web console', async () => {
    expect((await alone('manager', '--print')).stdout).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#code=/);
    const [url] = (await alone('manager', '--print')).stdout.split('#');
    const page = await (await fetch(url!)).text();
    expect(page).toContain('<div id="root">');
    const script = /src="(\/assets\/[^"]+\.js)"/.exec(page)![1]!;
    expect((await fetch(new URL(script, url))).status).toBe(200);
    await alone('service', 'stop');
  });

  it.skipIf(analyze === undefined)(
    `is what units of systemd start${analyze ? '' : ': skipped, systemd-analyze not found'}`,
    async () => {
      const { stdout, code } = await alone('role', 'install', '--dry-run');
      expect(code).toBe(0);
      expect(stdout).toContain(`ExecStart=${executable} service run`);
      const units = [...stdout.matchAll(/^# (\/\S+\.service)\n([\s\S]*?)\n(?=#|systemctl)/gm)];
      const files = units.map(([, path]) => join(folder, basename(path!)));
      expect(files).toHaveLength(2);
      for (const [i, [, , text]] of units.entries()) writeFileSync(files[i]!, text!);
      expect(await runCommand(analyze!, ['verify', '--man=no', ...files])).toMatchObject({ code: 0, stderr: '' });
      for (const file of files) rmSync(file);
    },
  );
});

describe.skipIf(skipped)(`the executable with VMs${skipped ? `: skipped, ${guest}` : ''}`, () => {
  if (typeof guest === 'string') return;
  const home = Home.make(executable);
  afterAll(async () => {
    await home.remove();
  });

  it('boots a kernel: hv run', async () => {
    const { kernel, initrd } = guest;
    const append = 'console=ttyS0 quiet rdinit=/bin/busybox -- uname -s';
    const { stdout } = await home.run('run', '--kernel', kernel, '--initrd', initrd, '--append', append, '--no-reboot');
    expect(stdout).toContain('Linux');
  });

  it('makes, starts, lists, saves and stops VMs; their processes are this file and nothing else', async () => {
    await home.disk('vm.vhdx');
    await home.newVm(guest, 'vm', '--processors', '2');
    await home.hv('start', 'vm');
    {
      await using console = await home.console('vm');
      await console.prompt();
      expect(await console.run(`${MOUNT}; cat /m/hello; nproc`)).toBe('from the host\n2');
      const { pid } = (await home.vm('vm')).info.worker!;
      expect(readlinkSync(`/proc/${pid}/exe`)).toBe(executable);
      const service = await home.service.transport.call('getVersion');
      expect(readlinkSync(`/proc/${service.pid}/exe`)).toBe(executable);
      await console.run('echo memory > /in-memory');
      await home.hv('checkpoint', 'create', 'vm', 'clean');
      await home.hv('vm', 'save', 'vm');
      await home.hv('service', 'stop');
      await home.hv('start', 'vm');
    }
    await using console = await home.console('vm', false);
    expect(await console.run('cat /in-memory')).toBe('memory');
    expect(await console.run(GUEST_FSCK)).toBe('0');
    expect(await home.hv('ls', '--state', 'running', '-q')).toBe('vm\n');
    await home.hv('stop', 'vm');
    expect(await home.hv('ls')).toMatch(/\nvm +Off/);
    await home.hv('vm', 'rm', 'vm', '--yes');
    await home.demandSound('vm.vhdx');
    await home.hv('service', 'stop');
    expect(home.processes()).toEqual([]);
    // Nothing was unpacked anywhere.
    expect(readdirSync(folder).filter((name) => !['hv', 'state', '.cache', '.local'].includes(name))).toEqual([]);
    expect(existsSync(join(folder, 'node_modules'))).toBe(false);
  });
});
