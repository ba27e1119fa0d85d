/** The lines by which a guest tells what it is doing; the host times them, so that guest clocks do not matter. */

export const SHELL = 'BENCH-SHELL';
export const BEGIN = 'BENCH-BEGIN';
export const END = 'BENCH-END';
export const FAILED = 'BENCH-FAILED';

/** What the host knows when a line arrives. */
export interface Mark {
  /** Seconds since the machine was started. */
  readonly seconds: number;
  /** Instructions retired, where the machine counts them. */
  readonly instructions: number | undefined;
}

export interface Measurement {
  readonly seconds: number;
  readonly instructions: number | undefined;
  /** Of the workload's output. */
  readonly checksum: string;
}

/** Collects markers out of a machine's console. */
export class MarkerReader {
  /** Time from the start to the shell. */
  shell: Mark | undefined;
  readonly measurements = new Map<string, Measurement>();
  readonly failures: string[] = [];
  /** The console's end, for when things go wrong. */
  readonly lastLines: string[] = [];
  /** Lines that begin with FIO. */
  readonly lines: string[] = [];
  #text = '';
  #begun: { readonly name: string; readonly mark: Mark } | undefined;

  /** The workload that runs, or ran last. */
  get begun(): string | undefined {
    return this.#begun?.name;
  }

  feed(text: string, mark: Mark): void {
    this.#text += text;
    for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
      const line = this.#text.slice(0, end).trim();
      this.#text = this.#text.slice(end + 1);
      this.#line(line, mark);
    }
  }

  #line(line: string, mark: Mark): void {
    if (line.startsWith('FIO ')) this.lines.push(line);
    this.lastLines.push(line);
    if (this.lastLines.length > 12) this.lastLines.shift();
    // The kernel may have begun a line of its own before the marker.
    const [, kind, name = '', rest = ''] = /(BENCH-[A-Z]+)(?: (\S+))?(?: (.*))?$/.exec(line) ?? [];
    switch (kind) {
      case SHELL:
        this.shell = mark;
        break;
      case BEGIN:
        this.#begun = { name, mark };
        break;
      case FAILED:
        this.failures.push(`${name}: ${rest}: ${this.lastLines.slice(0, -1).join(' | ')}`);
        break;
      case END: {
        if (this.#begun?.name !== name) break;
        const before = this.#begun.mark;
        this.measurements.set(name, {
          seconds: mark.seconds - before.seconds,
          instructions:
            mark.instructions === undefined || before.instructions === undefined
              ? undefined
              : mark.instructions - before.instructions,
          checksum: rest,
        });
        break;
      }
      default:
    }
  }
}
