/**
 * A file that remembers every write, so that a power cut can be played at each point: of the writes since the last sync
 * any may be lost, any may be there, in any order, and torn at sectors of 512 bytes.
 */
import type { Extent, RandomFile } from '../host/disk-files.ts';
import type { MemoryContent } from '../host/memory-files.ts';

type Operation =
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number }
  | { readonly kind: 'resize'; readonly size: number }
  | { readonly kind: 'sync'; readonly before: number };

const SECTOR = 512;

function apply(content: MemoryContent, operation: Operation): void {
  if (operation.kind === 'write') content.write(operation.offset, operation.bytes);
  else if (operation.kind === 'zero') content.zero(operation.offset, operation.length);
  else if (operation.kind === 'resize') content.resize(operation.size);
}

export class RecordingFile implements RandomFile {
  readonly path = '/disk';
  readonly writable = true;
  readonly start: MemoryContent;
  readonly content: MemoryContent;
  readonly operations: Operation[] = [];

  constructor(start: MemoryContent) {
    this.start = start.clone();
    this.content = start;
  }

  async #do(operation: Operation): Promise<void> {
    apply(this.content, operation);
    this.operations.push(operation);
    // Others get their turn, as with a file that takes time.
    await Promise.resolve();
  }

  async size(): Promise<number> {
    return this.content.size;
  }
  async read(offset: number, into: Uint8Array): Promise<number> {
    return this.content.read(offset, into);
  }
  write(offset: number, from: Uint8Array): Promise<void> {
    return this.#do({ kind: 'write', offset, bytes: from.slice() });
  }
  zero(offset: number, length: number): Promise<void> {
    return this.#do({ kind: 'zero', offset, length });
  }
  resize(size: number): Promise<void> {
    return this.#do({ kind: 'resize', size });
  }
  async allocate(offset: number, length: number): Promise<void> {
    if (this.content.size < offset + length) await this.resize(offset + length);
  }
  async sync(): Promise<void> {
    // What was done when it began is durable when it ends: what comes between may be lost.
    const before = this.operations.length;
    await Promise.resolve();
    await Promise.resolve();
    this.operations.push({ kind: 'sync', before });
  }
  async nextData(offset: number): Promise<Extent | undefined> {
    return this.content.nextData(offset);
  }
  async close(): Promise<void> {}
}

/** Random numbers below n. */
export type Dice = (n: number) => number;

/** For each point at which the power may go: what may then be in the file. */
export function* powerCuts(
  file: RecordingFile,
  dice: Dice,
  variants: number,
): Generator<{ readonly point: number; readonly content: () => MemoryContent }> {
  const durable = file.start.clone();
  let pending: Operation[] = [];
  for (let point = 0; point <= file.operations.length; point++) {
    if (point > 0) {
      const operation = file.operations[point - 1]!;
      if (operation.kind === 'sync') {
        const first = point - 1 - pending.length;
        const done = pending.filter((_, i) => first + i < operation.before);
        for (const each of done) apply(durable, each);
        pending = pending.slice(done.length);
      }
      pending.push(operation);
    }
    const left = pending.filter((operation) => operation.kind !== 'sync');
    for (let variant = 0; variant < (left.length === 0 ? 1 : variants); variant++)
      yield { point, content: () => remains(durable, left, variant, dice) };
  }
}

/** The durable content with some of the operations, in some order. */
function remains(durable: MemoryContent, pending: readonly Operation[], variant: number, dice: Dice): MemoryContent {
  const content = durable.clone();
  // The extremes first: nothing, all, all but the last, only the last.
  let chosen = pending.filter((_, i) => {
    if (variant === 0) return false;
    if (variant === 1) return true;
    if (variant === 2) return i < pending.length - 1;
    if (variant === 3) return i === pending.length - 1;
    return dice(2) === 0;
  });
  if (variant > 1) chosen = shuffled(chosen, dice);
  for (const operation of chosen) {
    if (operation.kind !== 'write' || variant < 4 || dice(3) > 0) apply(content, operation);
    else
      for (let at = 0; at < operation.bytes.length; at += SECTOR)
        if (dice(2) === 0) content.write(operation.offset + at, operation.bytes.subarray(at, at + SECTOR));
  }
  return content;
}

function shuffled<T>(items: readonly T[], dice: Dice): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = dice(i + 1);
    [result[i], result[j]] = [result[j]!, result[i]!];
  }
  return result;
}
