/** A whole system off a disk image, on two machines: ours and QEMU's, driven through the serial console like a person would. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { convertDisk, findBootFiles, openDisk } from '../../src/storage/index.ts';
import { QEMU_CPU } from './machines.ts';

const host = { files: nodeDiskFiles, codecs: nodeCodecs };

/** What a machine shows and is told. Times are seconds since the machine was started. */
export class SystemConsole {
  readonly #send: (text: string) => void;
  readonly #started = performance.now();
  #text = '';
  #seen = 0;
  #changed = (): void => undefined;
  #ended: string | undefined;

  constructor(send: (text: string) => void) {
    this.#send = send;
  }
  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }
  get text(): string {
    return this.#text;
  }
  feed(text: string): void {
    this.#text += text;
    this.#changed();
  }
  end(why: string): void {
    this.#ended = why;
    this.#changed();
  }
  type(text: string): void {
    this.#send(text);
  }
  /** What is shown from here up to and with `wanted`. */
  async until(wanted: string): Promise<string> {
    for (;;) {
      const at = this.#text.indexOf(wanted, this.#seen);
      if (at >= 0) {
        const shown = this.#text.slice(this.#seen, at + wanted.length);
        this.#seen = at + wanted.length;
        return shown;
      }
      if (this.#ended !== undefined)
        throw new Error(
          `waiting for '${wanted}', but the machine has ended (${this.#ended}): ${this.#text.slice(-2000)}`,
        );
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }
  async logIn(user: string, password: string): Promise<void> {
    this.type(`${user}\n`);
    await this.until('Password: ');
    this.type(`${password}\n`);
    await this.until(`${user}@`);
    // Neither colours nor a pager, nor lines that wrap.
    await this.command(
      'export TERM=dumb SYSTEMD_COLORS=0 SYSTEMD_PAGER= PAGER=cat; stty cols 500; bind "set enable-bracketed-paste off" 2>/dev/null',
    );
  }
  /** Runs a shell command; what it shows. */
  async command(line: string): Promise<string> {
    this.type(`echo "<""BEGIN>"; ${line}; echo "<""END>"\n`);
    await this.until('<BEGIN>\r\n');
    return (await this.until('<END>')).slice(0, -'<END>'.length).replaceAll('\r\n', '\n');
  }
}

export interface System extends AsyncDisposable {
  readonly console: SystemConsole;
  /** Resolves when the machine has powered off; rejects when it ended otherwise. */
  readonly poweredOff: Promise<void>;
  /** Seconds of processor time that the machine has taken so far, all threads: what to look at on a busy host. */
  processorSeconds(): number;
}

/** Of Linux's clock in /proc: a hundredth of a second. */
const TICKS = 100;

function processorSecondsOf(pid: number): number {
  // The second field is a name in brackets, which may have spaces; user and system time are the 14th and 15th.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

export interface SystemOptions {
  /** A VHDX, which stays as it is. */
  readonly image: string;
  /** MiB. */
  readonly memory: number;
  /** Added to the kernel's command line. */
  readonly append?: string;
}

/** QEMU reads neither our VHDX's newest features nor ext4: it is given the same disk raw, and the same kernel as files. */
export async function qemuFiles(
  image: string,
  folder: string,
): Promise<{ disk: string; args: string[]; append: string }> {
  const raw = join(folder, 'qemu.raw');
  await convertDisk(host, {
    from: { path: image, format: 'vhdx' },
    to: { path: raw, format: 'raw', type: 'dynamic', replace: true },
  });
  const disk = await openDisk(host, image, { format: 'vhdx' });
  try {
    const { kernel, initrd, rootParameters, parameters } = await findBootFiles(disk, image);
    const files = [join(folder, 'kernel'), join(folder, 'initrd')] as const;
    writeFileSync(files[0], kernel.bytes);
    writeFileSync(files[1], initrd?.bytes ?? new Uint8Array(0));
    return {
      disk: raw,
      args: ['-kernel', files[0], '-initrd', files[1]],
      append: `${rootParameters} console=ttyS0 ${parameters}`,
    };
  } finally {
    await disk.close();
  }
}

export function startQemu(
  files: Awaited<ReturnType<typeof qemuFiles>>,
  { memory, append = '' }: SystemOptions,
): System {
  return startProcess('QEMU', 'qemu-system-x86_64', [
    ...['-accel', 'tcg', '-cpu', QEMU_CPU, '-m', String(memory), '-smp', '1', '-nodefaults', '-no-reboot'],
    ...['-display', 'none', '-serial', 'stdio', ...files.args, '-append', `${files.append} ${append}`.trimEnd()],
    ...['-drive', `if=virtio,format=raw,file=${files.disk},snapshot=on`, '-device', 'virtio-rng-pci'],
  ]);
}

/** `hv run`, as it ships: its start is in the time, as QEMU's is. dist/ has to be there. */
export function startCommand({ image, memory, append }: SystemOptions): System {
  const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
  const disk = ['--disk', image, '--discard', '--memory', `${memory}M`];
  const more = append === undefined ? [] : ['--append', append];
  return startProcess('hv', process.execPath, ['--no-warnings', main, 'run', ...disk, ...more]);
}

/** A machine whose console is a program's standard input and output, and which ends with 0 when it is powered off. */
function startProcess(name: string, command: string, args: readonly string[]): System {
  const child: ChildProcess = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const console = new SystemConsole((text) => child.stdin?.write(text));
  child.stdout?.setEncoding('latin1').on('data', (text: string) => {
    console.feed(text);
  });
  let complaint = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const poweredOff = new Promise<void>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      console.end(`${code} ${complaint}`);
      if (code === 0) resolve();
      else reject(new Error(`${name} ended with ${code}: ${complaint}`));
    });
  });
  poweredOff.catch(() => undefined);
  return {
    console,
    poweredOff,
    processorSeconds: () => processorSecondsOf(child.pid!),
    [Symbol.asyncDispose]: async () => {
      child.kill();
      await poweredOff.catch(() => undefined);
    },
  };
}
