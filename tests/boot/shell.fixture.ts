/** For tests: a partition in this process whose console is a shell. */
import type { Partition, PartitionOptions } from '../../src/contracts/partition.ts';
import { createPartition } from '../../src/vmwp/index.ts';

export const PROMPT = 'root@viridian:/root# ';

export class Shell {
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
  static async start(options: PartitionOptions): Promise<Shell> {
    const shell = new Shell(await createPartition(options));
    shell.partition.start();
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
  async command(line: string): Promise<string> {
    const n = ++this.#count;
    await this.partition.console.write(new TextEncoder().encode(`echo "<""BEGIN${n}>"; ${line}; echo "<""END${n}>"\n`));
    await this.until(`<BEGIN${n}>\r\n`);
    return (await this.until(`<END${n}>`)).replaceAll('\r\n', '\n');
  }
}

export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 50));
}
