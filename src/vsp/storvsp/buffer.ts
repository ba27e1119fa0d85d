/** The pages of guest memory that a request names, checked to be RAM. */
import { type GpaPiece, gpaPieces } from '../../vmbus/gpa-direct.ts';
import type { VmbusMemory } from '../../vmbus/ports.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import type { Packet } from '../../vmbus/ring.ts';
import { MAXIMUM_TRANSFER } from './protocol.ts';

export interface BufferMemory extends Pick<VmbusMemory, 'read' | 'write' | 'isRam'> {
  /** The bytes themselves where they lie behind each other. They may change at any time. */
  view(gpa: number, length: number): Uint8Array | undefined;
  /** What a view was used to change, before anybody is told that it is there. */
  written(gpa: number, length: number): void;
}

export class GuestBuffer {
  readonly #memory: BufferMemory;
  /** Pieces that lie behind each other in the guest's memory are one. */
  readonly #pieces: readonly GpaPiece[];
  /** Bytes that may be moved: as many as the guest says, at most as many as its pages have. */
  readonly length: number;

  private constructor(memory: BufferMemory, pieces: readonly GpaPiece[], length: number) {
    this.#memory = memory;
    this.#pieces = pieces;
    this.length = length;
  }

  /** @param wanted what the request says. Undefined when the pages make no sense, or are not RAM. */
  static of(packet: Packet, wanted: number, memory: BufferMemory): GuestBuffer | undefined {
    if (packet.type !== PacketType.DATA_GPA_DIRECT) return new GuestBuffer(memory, [], 0);
    const given = gpaPieces(packet, MAXIMUM_TRANSFER);
    if (!given) return undefined;
    const buffer = new GuestBuffer(memory, joined(given.pieces), Math.min(wanted, given.length));
    return buffer.#isRam() ? buffer : undefined;
  }

  #isRam(): boolean {
    return this.#pieces.every(({ gpa, length }) => this.#memory.isRam(gpa, length));
  }

  /** The parts of the first `length` bytes. */
  #each(length: number, body: (gpa: number, at: number, count: number) => void): void {
    let at = 0;
    for (const piece of this.#pieces) {
      const count = Math.min(piece.length, length - at);
      if (count <= 0) break;
      body(piece.gpa, at, count);
      at += count;
    }
  }

  /** Copies the guest's data out, at most `most` bytes. */
  take(most: number): Uint8Array {
    const data = new Uint8Array(Math.min(most, this.length));
    this.#each(data.length, (gpa, at, count) => {
      data.set(this.#memory.view(gpa, count) ?? this.#memory.read(gpa, count), at);
    });
    return data;
  }

  /** Copies data in; how many bytes had room, or undefined when the pages are RAM no more. */
  put(data: Uint8Array): number | undefined {
    if (!this.#isRam()) return undefined;
    const length = Math.min(data.length, this.length);
    this.#each(length, (gpa, at, count) => {
      this.#memory.write(gpa, data.subarray(at, at + count));
    });
    return length;
  }

  /**
   * Has `fill` put `length` bytes straight into the guest's memory, at once: later, the memory may not be lent to us any more.
   * False when it cannot, or cannot be asked.
   */
  fillNow(length: number, fill: (into: readonly Uint8Array[]) => boolean): boolean {
    const views = this.#views(length);
    if (!views) return false;
    const filled = fill(views);
    // Also when it was not: part of it may have been.
    this.#each(length, (gpa, _at, count) => {
      this.#memory.written(gpa, count);
    });
    return filled;
  }

  /** Has `drain` take `length` bytes straight out of the guest's memory, at once. False when it cannot, or cannot be asked. */
  drainNow(length: number, drain: (from: readonly Uint8Array[]) => boolean): boolean {
    const views = this.#views(length);
    return views !== undefined && drain(views);
  }

  #views(length: number): Uint8Array[] | undefined {
    const views: (Uint8Array | undefined)[] = [];
    this.#each(length, (gpa, _at, count) => {
      views.push(this.#memory.view(gpa, count));
    });
    return views.every((view) => view !== undefined) ? views : undefined;
  }
}

function joined(pieces: readonly GpaPiece[]): readonly GpaPiece[] {
  // A program's buffer is scattered, as a rule.
  if (!pieces.some(({ gpa }, i) => i > 0 && pieces[i - 1]!.gpa + pieces[i - 1]!.length === gpa)) return pieces;
  const result: GpaPiece[] = [];
  for (const piece of pieces) {
    const last = result.at(-1);
    if (last && last.gpa + last.length === piece.gpa)
      result[result.length - 1] = { gpa: last.gpa, length: last.length + piece.length };
    else result.push(piece);
  }
  return result;
}
