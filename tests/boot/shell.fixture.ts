/** A partition of this process whose console is a shell, and initial RAM disks with fewer modules. */
import { readFileSync } from 'node:fs';
import { MODULE_ORDER } from '../../src/cli/quickstart/modules.ts';
import type { Partition, PartitionOptions } from '../../src/contracts/partition.ts';
import { writeCpio } from '../../src/support/cpio.ts';
import { createPartition } from '../../src/vmwp/index.ts';

const PROMPT = 'root@viridian:/root# ';

export class Shell implements AsyncDisposable {
  readonly partition: Partition;
  #output = '';
  #seen = 0;
  #count = 0;

  private constructor(partition: Partition) {
    this.partition = partition;
    const decoder = new TextDecoder('latin1');
    partition.console.onData((bytes) => {
      this.#output += decoder.decode(bytes);
    });
  }

  /** Resolves when the shell is there. */
  static async start(options: PartitionOptions): Promise<Shell> {
    const shell = new Shell(await createPartition(options));
    shell.partition.start();
    if (options.restore === undefined) await shell.until(PROMPT);
    return shell;
  }

  async until(text: string): Promise<string> {
    for (;;) {
      const at = this.#output.indexOf(text, this.#seen);
      if (at >= 0) {
        const shown = this.#output.slice(this.#seen, at);
        this.#seen = at + text.length;
        return shown;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Runs a command; what it shows. */
  async command(line: string): Promise<string> {
    const n = ++this.#count;
    await this.partition.console.write(new TextEncoder().encode(`echo "<""BEGIN${n}>"; ${line}; echo "<""END${n}>"\n`));
    await this.until(`<BEGIN${n}>\r\n`);
    return (await this.until(`<END${n}>`)).replaceAll('\r\n', '\n');
  }

  /** Runs a command until it shows this. */
  async eventually(line: string, wanted: string | RegExp): Promise<string> {
    for (;;) {
      const shown = await this.command(line);
      if (typeof wanted === 'string' ? shown === wanted : wanted.test(shown)) return shown;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.partition[Symbol.asyncDispose]();
  }
}

/** Modules that a test of disks does not need. */
export const NOT_FOR_DISKS = /^(hv_balloon|hyperv|hid|hv_netvsc|evdev|mousedev|serio)/;

/**
 * An initial RAM disk that loads fewer of its modules, which take time. The kernel unpacks one archive after the other: a file's
 * last version stays.
 */
export function withoutModules(initrd: string, unwanted: RegExp): Uint8Array<ArrayBuffer> {
  const archive = readFileSync(initrd);
  const order = [...archive.toString('latin1').matchAll(/lib\/modules\/(\w+)\.ko\n/g)];
  const lines = order.filter(([, name]) => !unwanted.test(name!)).map(([line]) => line);
  const data = Buffer.from(lines.join(''));
  return Buffer.concat([archive, writeCpio([{ kind: 'file', path: MODULE_ORDER, data, mode: 0o644 }])]);
}

export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50));
}
