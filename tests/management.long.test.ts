/**
 * The management half with real guests, through the command: Debian's kernel and busybox, VHDX disks with ext4, everything that a VM
 * goes through; at the end nothing is left behind.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host, type Vm } from '../src/client/index.ts';
import type { Stream } from '../src/client/stream.ts';
import { Transport } from '../src/client/transport.ts';
import { nodeCodecs } from '../src/host/node/codecs.ts';
import { type CommandResult, findCommand, runCommand } from '../src/host/node/command.ts';
import { nodeDiskFiles } from '../src/host/node/disk-files.ts';
import { checkDisk, convertDisk } from '../src/storage/index.ts';
import { hypervGuest } from './boot/guest.fixture.ts';

const HV = fileURLToPath(new URL('../bin/hv', import.meta.url));
const debian = await hypervGuest();
const missing = ['mke2fs', 'fsck.ext4'].filter((name) => findCommand(name) === undefined);
const reason = typeof debian === 'string' ? debian : missing.length > 0 ? `${missing.join(', ')} not found` : undefined;
const home = mkdtempSync(join(tmpdir(), 'vir-'));
const host = { files: nodeDiskFiles, codecs: nodeCodecs };

process.env.VIRIDIAN_HOME = home;
const service = new Host(new Transport({ socket: join(home, 'run/vmms.sock') }));

/** Runs the command; what it says is part of the failure. */
async function hv(...args: string[]): Promise<string> {
  const result: CommandResult = await runCommand(HV, args);
  if (result.code !== 0) throw new Error(`hv ${args.join(' ')}: ${result.code} ${result.stderr}`);
  return result.stdout;
}

/** A guest's console, driven like a person would. */
class Console {
  readonly #stream: Stream;
  #shown = '';
  #ended = false;
  #wake = (): void => {};

  constructor(stream: Stream) {
    this.#stream = stream;
    void (async () => {
      for await (const bytes of stream) {
        this.#shown += bytes.toString('latin1');
        this.#wake();
      }
      this.#ended = true;
      this.#wake();
    })();
  }

  static async of(name: string, history = true): Promise<Console> {
    return new Console(await (await service.get(name)).console({ history }));
  }

  async until(text: string): Promise<string> {
    for (;;) {
      const at = this.#shown.indexOf(text);
      if (at >= 0) {
        const shown = this.#shown.slice(0, at);
        this.#shown = this.#shown.slice(at + text.length);
        return shown;
      }
      if (this.#ended) throw new Error(`the console ended without '${text}': ${this.#shown.slice(-500)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** A shell command's output. */
  async run(line: string): Promise<string> {
    this.#stream.write(`echo "<""BEGIN>"; ${line}; echo "<""END>"\n`);
    await this.until('<BEGIN>\r\n');
    return (await this.until('<END>')).replaceAll('\r\n', '\n').trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream[Symbol.asyncDispose]();
  }
}

const MOUNT = 'while [ ! -b /dev/sda ]; do usleep 20000; done; mkdir -p /m; mount -t ext4 /dev/sda /m';

describe.skipIf(reason !== undefined)(`the story${reason ? `: skipped, ${reason}` : ''}`, () => {
  if (typeof debian === 'string') return;
  const file = (name: string): string => join(home, name);

  beforeAll(async () => {
    mkdirSync(file('tree'));
    writeFileSync(file('tree/hello'), 'from the host\n');
    execFileSync(findCommand('mke2fs')!, ['-q', '-t', 'ext4', '-F', '-d', file('tree'), file('image.raw'), '64M']);
    for (const name of ['one', 'two', 'extra'])
      await convertDisk(host, {
        from: { path: file('image.raw'), format: 'raw' },
        to: { path: file(`${name}.vhdx`), format: 'vhdx', blockSize: 2 ** 20 },
      });
  });
  afterAll(async () => {
    await runCommand(HV, ['service', 'stop']);
    rmSync(home, { recursive: true, force: true });
  });

  const newVm = (name: string): Promise<string> =>
    hv(
      ...['vm', 'new', name, '--memory', '256M', '--kernel', debian.kernel, '--initrd', debian.initrd],
      ...['--append', 'console=ttyS0 quiet', '--disk', file(`${name}.vhdx`)],
    );

  it('two VMs are made and started, and answer on their consoles', async () => {
    await Promise.all([newVm('one'), newVm('two')]);
    await hv('start', 'one', 'two');
    for (const name of ['one', 'two']) {
      await using console = await Console.of(name);
      await console.until('root@viridian:/root# ');
      expect(await console.run(`${MOUNT}; cat /m/hello`)).toBe('from the host');
    }
    expect(await hv('ls', '--state', 'running', '-q')).toBe('one\ntwo\n');
  });

  it('a checkpoint takes a change back', async () => {
    await using console = await Console.of('one', false);
    await console.run('echo kept > /m/file; echo kept > /file; sync');
    const made = JSON.parse(await hv('checkpoint', 'create', 'one', 'clean', '--json')) as { pause: number };
    expect(made.pause).toBeGreaterThan(0);
    expect(await console.run('echo changed > /m/file; echo changed > /file; sync; cat /m/file /file')).toBe(
      'changed\nchanged',
    );
    await hv('checkpoint', 'apply', 'one', 'clean', '--yes');
    await using after = await Console.of('one', false);
    expect(await after.run('cat /m/file /file')).toBe('kept\nkept');
    expect(await hv('checkpoint', 'ls', 'one')).toMatch(/clean \*/);
  });

  it('is forked twice, each with a life of its own', async () => {
    for (const name of ['fork1', 'fork2']) await hv('vm', 'fork', 'one', 'clean', name);
    for (const name of ['fork1', 'fork2']) {
      await using console = await Console.of(name, false);
      expect(await console.run(`cat /m/file; echo ${name} > /m/file; sync; cat /m/file`)).toBe(`kept\n${name}`);
    }
    await using console = await Console.of('one', false);
    expect(await console.run('cat /m/file')).toBe('kept');
    await hv('stop', 'fork1', 'fork2', '--turn-off');
    await hv('vm', 'rm', 'fork1', 'fork2', '--yes');
  });

  it('a disk is added and removed while the guest runs', async () => {
    await using console = await Console.of('two', false);
    await hv('disk', 'add', 'two', file('extra.vhdx'));
    expect(
      await console.run(
        'while [ ! -b /dev/sdb ]; do usleep 20000; done; mkdir -p /x; mount -t ext4 /dev/sdb /x && cat /x/hello; umount /x',
      ),
    ).toBe('from the host');
    await hv('disk', 'rm', 'two', '1');
    expect(await console.run('while [ -b /dev/sdb ]; do usleep 20000; done; echo gone')).toBe('gone');
  });

  it('is paused, resumed, saved, and goes on after the service was ended', async () => {
    await using console = await Console.of('one', false);
    await hv('vm', 'pause', 'one');
    await hv('vm', 'resume', 'one');
    await console.run('echo memory > /in-memory');
    await hv('vm', 'save', 'one');
    await hv('service', 'stop');
    const before = (await service.get('two').catch(() => undefined))?.info;
    expect(before).toBeUndefined();
    // The command starts another one, which finds what goes on.
    expect(JSON.parse(await hv('vm', 'show', 'two', '--json'))).toMatchObject({ state: 'Running' });
    await hv('start', 'one');
    await using after = await Console.of('one', false);
    expect(await after.run('cat /in-memory /m/file')).toBe('memory\nkept');
  });

  it('a worker that is killed while the guest writes leaves a sound disk', async () => {
    await using console = await Console.of('two', false);
    await console.run('(while :; do dd if=/dev/urandom of=/m/noise bs=64k count=100 2>/dev/null; sync; done) & true');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const vm: Vm = await service.get('two');
    process.kill(vm.info.worker!.pid, 'SIGKILL');
    for (let i = 0; (await vm.refresh()).state !== 'Off' && i < 200; i++)
      await new Promise((resolve) => setTimeout(resolve, 50));
    expect(vm.info.lastExit).toMatchObject({ kind: 'killed' });
    expect((await checkDisk(host, file('two.vhdx'), 'vhdx')).findings.filter(({ kind }) => kind === 'error')).toEqual(
      [],
    );
    await convertDisk(host, {
      from: { path: file('two.vhdx'), format: 'vhdx' },
      to: { path: file('two.raw'), format: 'raw' },
    });
    // The journal is replayed first; then free counts that it does not hold may be put right (1), and nothing worse.
    expect(spawnSync(findCommand('fsck.ext4')!, ['-fy', file('two.raw')]).status).toBeLessThanOrEqual(1);
    expect(spawnSync(findCommand('fsck.ext4')!, ['-fn', file('two.raw')]).status).toBe(0);
  });

  it('is exported, imported under another name, and all of it is removed without a trace', async () => {
    await hv('stop', 'one', '--turn-off');
    await hv('vm', 'export', 'one', file('exported'));
    await hv('vm', 'import', file('exported'), '--name', 'imported');
    await hv('start', 'imported');
    {
      await using console = await Console.of('imported');
      await console.until('root@viridian:/root# ');
      expect(await console.run(`${MOUNT}; cat /m/file`)).toBe('kept');
    }
    await hv('stop', 'imported');
    expect(await hv('checkpoint', 'ls', 'one', '-q')).toBe('clean\n');
    await hv('checkpoint', 'rm', 'one', 'clean', '--yes');
    await hv('vm', 'rm', 'one', 'two', 'imported', '--yes');
    expect(await hv('ls', '-q')).toBe('');
    expect(readdirSync(join(home, 'data/vms'))).toEqual([]);
    expect(existsSync(join(home, 'run/w')) ? readdirSync(join(home, 'run/w')) : []).toEqual([]);
    expect((await checkDisk(host, file('one.vhdx'), 'vhdx')).findings.filter(({ kind }) => kind === 'error')).toEqual(
      [],
    );
    const processes = readdirSync('/proc').filter((name) => {
      if (!/^\d+$/.test(name)) return false;
      try {
        return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(join(home, 'run/w'));
      } catch {
        return false;
      }
    });
    expect(processes).toEqual([]);
  });
});
