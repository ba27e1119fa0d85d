/**
 * Guest physical address descriptor lists: buffers that the guest shares, as ranges of page numbers. The list comes in one
 * message and as many more as it needs; a range is {u32 byte count, u32 byte offset, u64 page number...}.
 */
import { ChannelStatus, PAGE_SIZE } from './protocol.ts';
import { viewOf } from './ring.ts';

export interface GpadlRange {
  readonly byteCount: number;
  /** Of the first byte in the first page. */
  readonly byteOffset: number;
  readonly pages: Uint32Array;
}

export interface Gpadl {
  readonly id: number;
  readonly relid: number;
  readonly ranges: readonly GpadlRange[];
}

export interface GpadlLimits {
  /** Whether a page number names RAM. */
  isRam(page: number): boolean;
  /** Pages that all lists together may name. */
  readonly maximumPages: number;
}

/** Lists that are still arriving, each of at most 64 KiB. */
const MAXIMUM_PENDING = 64;
const MAXIMUM_COUNT = 8192;
const WORD = 8;

interface Pending {
  readonly relid: number;
  readonly rangeCount: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  filled: number;
}

/** A finished list's status, or undefined while more of it is to come. */
type Progress = { readonly relid: number; readonly status: number } | undefined;

export class GpadlTable {
  readonly #limits: GpadlLimits;
  readonly #lists = new Map<number, Gpadl>();
  readonly #pending = new Map<number, Pending>();
  #pages = 0;

  constructor(limits: GpadlLimits) {
    this.#limits = limits;
  }

  get(id: number): Gpadl | undefined {
    return this.#lists.get(id);
  }

  get count(): number {
    return this.#lists.size;
  }

  get pages(): number {
    return this.#pages;
  }

  all(): IterableIterator<Gpadl> {
    return this.#lists.values();
  }

  /** The first message of a list; `bytes` is as much of it as the message holds. */
  begin(id: number, relid: number, rangeBytes: number, rangeCount: number, bytes: Uint8Array): Progress {
    const failed = (status: number): Progress => ({ relid, status });
    if (id === 0 || rangeCount === 0 || rangeBytes % WORD !== 0 || rangeBytes < 2 * WORD * rangeCount)
      return failed(ChannelStatus.INVALID_PARAMETER);
    if (this.#lists.has(id) || this.#pending.has(id)) return failed(ChannelStatus.INVALID_PARAMETER);
    if (this.#pending.size >= MAXIMUM_PENDING || this.#lists.size >= MAXIMUM_COUNT)
      return failed(ChannelStatus.INSUFFICIENT_RESOURCES);
    this.#pending.set(id, { relid, rangeCount, bytes: new Uint8Array(rangeBytes), filled: 0 });
    return this.#take(id, bytes);
  }

  /** A further message. `unknown` when no such list is arriving. */
  continue(id: number, bytes: Uint8Array): Progress | 'unknown' {
    return this.#pending.has(id) ? this.#take(id, bytes) : 'unknown';
  }

  #take(id: number, bytes: Uint8Array): Progress {
    const pending = this.#pending.get(id) as Pending;
    const { relid } = pending;
    // Messages end where their page numbers end; more than was announced is dropped.
    const part = bytes.subarray(0, Math.min(bytes.length & -WORD, pending.bytes.length - pending.filled));
    pending.bytes.set(part, pending.filled);
    pending.filled += part.length;
    if (pending.filled < pending.bytes.length) return undefined;
    this.#pending.delete(id);
    const ranges = this.#parse(pending);
    if (typeof ranges === 'number') return { relid, status: ranges };
    this.#add({ id, relid, ranges });
    return { relid, status: ChannelStatus.SUCCESS };
  }

  #parse({ bytes, rangeCount }: Pending): GpadlRange[] | number {
    const view = viewOf(bytes);
    const ranges: GpadlRange[] = [];
    let at = 0;
    let total = this.#pages;
    for (let n = 0; n < rangeCount; n++) {
      if (at + 2 * WORD > bytes.length) return ChannelStatus.INVALID_PARAMETER;
      const byteCount = view.getUint32(at, true);
      const byteOffset = view.getUint32(at + 4, true);
      const count = Math.ceil((byteOffset + byteCount) / PAGE_SIZE);
      at += WORD;
      if (byteCount === 0 || byteOffset >= PAGE_SIZE || at + count * WORD > bytes.length)
        return ChannelStatus.INVALID_PARAMETER;
      total += count;
      if (total > this.#limits.maximumPages) return ChannelStatus.INSUFFICIENT_RESOURCES;
      const pages = new Uint32Array(count);
      for (let i = 0; i < count; i++, at += WORD) {
        const page = view.getBigUint64(at, true);
        if (page > 0xffff_ffffn || !this.#limits.isRam(Number(page))) return ChannelStatus.INVALID_PARAMETER;
        pages[i] = Number(page);
      }
      ranges.push({ byteCount, byteOffset, pages });
    }
    return at === bytes.length ? ranges : ChannelStatus.INVALID_PARAMETER;
  }

  /** Puts a finished list in. */
  #add(gpadl: Gpadl): void {
    this.#lists.set(gpadl.id, gpadl);
    this.#pages += pageCount(gpadl);
  }

  /** Puts a finished list of a saved state in; false when it is none that a guest could have given. */
  restore(gpadl: Gpadl): boolean {
    const { id, ranges } = gpadl;
    const limits = this.#limits;
    if (id === 0 || this.#lists.has(id) || this.#lists.size >= MAXIMUM_COUNT) return false;
    if (this.#pages + pageCount(gpadl) > limits.maximumPages) return false;
    if (!ranges.every(({ byteCount, pages }) => byteCount > 0 && pages.every((page) => limits.isRam(page))))
      return false;
    this.#add(gpadl);
    return true;
  }

  /** Forgets a list. */
  remove(id: number): Gpadl | undefined {
    const gpadl = this.#lists.get(id);
    if (!gpadl) return undefined;
    this.#lists.delete(id);
    this.#pages -= pageCount(gpadl);
    return gpadl;
  }

  /** Forgets all lists of a channel, unfinished ones too. */
  removeChannel(relid: number): void {
    for (const { id } of [...this.#lists.values()].filter((g) => g.relid === relid)) this.remove(id);
    for (const [id, pending] of this.#pending) if (pending.relid === relid) this.#pending.delete(id);
  }

  clear(): void {
    this.#lists.clear();
    this.#pending.clear();
    this.#pages = 0;
  }

  /** Unfinished lists, for a saved state. */
  pending(): {
    readonly id: number;
    readonly relid: number;
    readonly rangeCount: number;
    readonly size: number;
    readonly bytes: Uint8Array;
  }[] {
    return [...this.#pending].map(([id, p]) => ({
      id,
      relid: p.relid,
      rangeCount: p.rangeCount,
      size: p.bytes.length,
      bytes: p.bytes.subarray(0, p.filled),
    }));
  }
}

function pageCount(gpadl: Gpadl): number {
  return gpadl.ranges.reduce((n, range) => n + range.pages.length, 0);
}
