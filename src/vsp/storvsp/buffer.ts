/** The pages of guest memory that a request names, checked to be RAM. */
import { type GpaPiece, gpaPieces } from '../../vmbus/gpa-direct.ts';
import type { VmbusMemory } from '../../vmbus/ports.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import type { Packet } from '../../vmbus/ring.ts';
import { MAXIMUM_TRANSFER } from './protocol.ts';

export type BufferMemory = Pick<VmbusMemory, 'read' | 'write' | 'isRam'>;

export class GuestBuffer {
  readonly #memory: BufferMemory;
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
    const buffer = new GuestBuffer(memory, given.pieces, Math.min(wanted, given.length));
    return buffer.#isRam() ? buffer : undefined;
  }

  #isRam(): boolean {
    return this.#pieces.every(({ gpa, length }) => this.#memory.isRam(gpa, length));
  }

  /** Copies the guest's data out, at most `most` bytes. */
  take(most: number): Uint8Array {
    const data = new Uint8Array(Math.min(most, this.length));
    let at = 0;
    for (const piece of this.#pieces) {
      const count = Math.min(piece.length, data.length - at);
      if (count <= 0) break;
      data.set(this.#memory.read(piece.gpa, count), at);
      at += count;
    }
    return data;
  }

  /** Copies data in; how many bytes had room, or undefined when the pages are RAM no more. */
  put(data: Uint8Array): number | undefined {
    if (!this.#isRam()) return undefined;
    const length = Math.min(data.length, this.length);
    let at = 0;
    for (const piece of this.#pieces) {
      const count = Math.min(piece.length, length - at);
      if (count <= 0) break;
      this.#memory.write(piece.gpa, data.subarray(at, at + count));
      at += count;
    }
    return length;
  }
}
