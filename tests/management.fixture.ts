/** VMs through the command, as a user has them: a home of its own, guests with a console and e2fsck, and what is left of it all. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { Host, type Vm } from '../src/client/index.ts';
import type { Stream } from '../src/client/stream.ts';
import { Transport } from '../src/client/transport.ts';
import { type CommandResult, findCommand, runCommand } from '../src/host/node/command.ts';
import { type CpioEntry, writeCpio } from '../src/support/cpio.ts';
import { hypervGuest } from './boot/guest.fixture.ts';

const HV = fileURLToPath(new URL('../bin/hv', import.meta.url));

export interface StoryGuest {
  readonly kernel: string;
  readonly initrd: string;
}

/** Debian's kernel, busybox, the drivers for Hyper-V and this host's e2fsck; or why there is none. */
export async function storyGuest(): Promise<StoryGuest | string> {
  const missing = ['mke2fs', 'e2fsck', 'ldd'].filter((name) => findCommand(name) === undefined);
  if (missing.length > 0) return `${missing.join(', ')} not found`;
  const debian = await hypervGuest();
  if (typeof debian === 'string') return debian;
  const initrd = join(debian.folder, 'initrd-with-e2fsck');
  writeFileSync(initrd, Buffer.concat([readFileSync(debian.initrd), hostProgram('e2fsck')]));
  return { kernel: debian.kernel, initrd };
}

/** A program of this host, with its libraries, for an initial RAM disk. */
function hostProgram(name: string): Uint8Array {
  const program = findCommand(name)!;
  const libraries = execFileSync('ldd', [program], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g);
  const files = new Map([
    [`sbin/${name}`, program],
    ...[...libraries].map(([, path]) => [path!.slice(1), path!] as const),
  ]);
  const folders = new Set(
    [...files.keys()].flatMap((path) => {
      const parts = path.split('/').slice(0, -1);
      return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
    }),
  );
  const entries: CpioEntry[] = [...folders].sort().map((path) => ({ kind: 'directory', path }));
  for (const [path, from] of files) entries.push({ kind: 'file', path, data: readFileSync(from), mode: 0o755 });
  return writeCpio(entries);
}

/** Mounts the first disk at /m. */
export const MOUNT = 'while [ ! -b /dev/sda ]; do usleep 20000; done; mkdir -p /m; mount -t ext4 /dev/sda /m';
/** What e2fsck in the guest says of the first disk, which is not mounted any more: its exit code. */
export const GUEST_FSCK = 'umount /m && e2fsck -fn /dev/sda > /fsck 2>&1; echo $?';

/** A home of the command, with its service and its VMs. */
export class Home {
  readonly folder: string;
  readonly service: Host;
  readonly #hv: string;
  /** Before each command: what puts it into a namespace. */
  readonly #before: readonly string[];
  readonly #holder: number | undefined;

  private constructor(hv: string, folder: string, holder?: number) {
    this.#hv = hv;
    this.folder = folder;
    this.#holder = holder;
    this.#before = holder === undefined ? [] : ['nsenter', '--preserve-credentials', '-U', '-m', '-t', String(holder)];
    this.service = new Host(new Transport({ socket: this.seen('run/vmms.sock') }));
  }

  static make(hv: string = HV): Home {
    return new Home(hv, mkdtempSync(join(tmpdir(), 'vir-')));
  }

  /** On a file system of its own, of a size; undefined where none can be mounted. */
  static async small(size: string): Promise<Home | undefined> {
    const folder = mkdtempSync(join(tmpdir(), 'vir-'));
    const script = 'mount -t tmpfs -o size="$1" tmpfs "$2" && echo mounted && exec cat';
    const holder = spawn('unshare', ['-rm', 'sh', '-c', script, 'sh', size, folder], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const mounted = await new Promise<boolean>((resolve) => {
      holder.stdout.once('data', () => resolve(true));
      holder.once('exit', () => resolve(false));
      holder.once('error', () => resolve(false));
    });
    if (mounted) return new Home(HV, folder, holder.pid);
    rmSync(folder, { recursive: true });
    return undefined;
  }

  /** Where it is to the VMs and the command. */
  file(name: string): string {
    return join(this.folder, name);
  }
  /** Where it is to this process. */
  seen(name: string): string {
    return this.#holder === undefined ? this.file(name) : `/proc/${this.#holder}/root${this.file(name)}`;
  }

  async run(...args: readonly string[]): Promise<CommandResult> {
    // Nothing of this process's own environment, but what any user has.
    const settings = ['PATH', 'HOME', 'NODE_OPTIONS'].flatMap((name) =>
      process.env[name] === undefined ? [] : [`${name}=${process.env[name]}`],
    );
    const command = [...this.#before, '/usr/bin/env', '-i', ...settings, `VIRIDIAN_HOME=${this.folder}`, this.#hv];
    return await runCommand(findCommand(command[0]!) ?? command[0]!, [...command.slice(1), ...args]);
  }

  /** What the command shows; what it says is part of the failure. */
  async hv(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    if (code !== 0) throw new Error(`hv ${args.join(' ')}: ${code} ${stderr}`);
    return stdout;
  }

  /** A dynamic VHDX with ext4 and a file on it. */
  async disk(name: string, size = '64M'): Promise<string> {
    const raw = mkdtempSync(join(tmpdir(), 'vir-image-'));
    try {
      mkdirSync(join(raw, 'tree'));
      writeFileSync(join(raw, 'tree/hello'), 'from the host\n');
      const image = join(raw, 'image.raw');
      execFileSync(findCommand('mke2fs')!, ['-q', '-t', 'ext4', '-F', '-d', join(raw, 'tree'), image, size]);
      await this.hv('vhd', 'convert', image, this.file(name), '--block-size', '1M');
    } finally {
      rmSync(raw, { recursive: true });
    }
    return this.file(name);
  }

  /** Not waiting for a console: that is the caller's. */
  async newVm({ kernel, initrd }: StoryGuest, name: string, ...more: readonly string[]): Promise<void> {
    const boot = ['--kernel', kernel, '--initrd', initrd, '--append', 'console=ttyS0 quiet'];
    await this.hv('vm', 'new', name, '--memory', '256M', ...boot, '--disk', this.file(`${name}.vhdx`), ...more);
  }

  async vm(name: string): Promise<Vm> {
    return await this.service.get(name);
  }

  async console(name: string, history = true): Promise<Console> {
    return new Console(await (await this.vm(name)).console({ history }));
  }

  /** The file as `hv vhd check` sees it, and what is on it as e2fsck does, after the journal has been replayed. */
  async demandSound(name: string): Promise<void> {
    expect(await this.run('vhd', 'check', this.file(name))).toMatchObject({ code: 0 });
    const raw = mkdtempSync(join(tmpdir(), 'vir-image-'));
    try {
      await this.hv('vhd', 'convert', this.file(name), join(raw, 'disk.raw'));
      const fsck = (...args: string[]) => spawnSync(findCommand('e2fsck')!, [...args, join(raw, 'disk.raw')]);
      // Free counts that the journal does not hold may be put right (1), and nothing worse.
      expect(fsck('-fy').status).toBeLessThanOrEqual(1);
      expect(fsck('-fn').status).toBe(0);
    } finally {
      rmSync(raw, { recursive: true });
    }
  }

  /** Processes that have something of this home in their command line, or a file of it open. */
  processes(): string[] {
    return readdirSync('/proc').flatMap((pid) => {
      if (!/^\d+$/.test(pid)) return [];
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        const files = readdirSync(`/proc/${pid}/fd`).map((fd) => {
          try {
            return readlinkSync(`/proc/${pid}/fd/${fd}`);
          } catch {
            return '';
          }
        });
        return Number(pid) !== process.pid && [line, ...files].some((text) => text.includes(this.folder)) ? [line] : [];
      } catch {
        return [];
      }
    });
  }

  /** Everything ends, and is gone. */
  async remove(): Promise<void> {
    const names = (await this.run('ls', '-q')).stdout.split('\n').filter(Boolean);
    if (names.length > 0) await this.run('stop', ...names, '--turn-off');
    await this.run('service', 'stop');
    if (this.#holder !== undefined) process.kill(this.#holder);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A guest's console, driven like a person would. */
export class Console {
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

  /** What is shown up to a text. What was shown instead is part of the failure. */
  async until(text: string, seconds = 300): Promise<string> {
    for (const end = Date.now() + seconds * 1000; ; ) {
      const at = this.#shown.indexOf(text);
      if (at >= 0) {
        const shown = this.#shown.slice(0, at);
        this.#shown = this.#shown.slice(at + text.length);
        return shown;
      }
      if (this.#ended) throw new Error(`the console ended without '${text}': ${this.#shown.slice(-500)}`);
      if (Date.now() > end) throw new Error(`no '${text}' within ${seconds} s: ${this.#shown.slice(-500)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, end - Date.now() + 1).unref();
      });
    }
  }

  async prompt(): Promise<void> {
    await this.until('root@viridian:/root# ');
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

/** Every file below a folder. */
export function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}
