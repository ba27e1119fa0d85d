/**
 * qcow2, read-only: cloud images come in it. The active state is what is read; snapshots inside the file are ignored.
 * QEMU's docs/interop/qcow2.txt, "L1 and L2 table entries" and "Compressed clusters descriptor".
 */
import type { RandomFile } from '../../host/disk-files.ts';
import type { HostCodecs } from '../../support/codec/codec.ts';
import { zstdFrameLength } from '../../support/codec/zstd-frame.ts';
import { allDone, BaseDisk, type Disk, DiskError, type DiskRange, readParent } from '../disk.ts';
import { type Qcow2Header, readHeader } from './header.ts';
import { L1_OFFSET_MASK, L2_COMPRESSED, L2_OFFSET_MASK, L2_ZERO } from './protocol.ts';

const CACHED_TABLE_BYTES = 8 * 2 ** 20;
const CACHED_CLUSTER_BYTES = 8 * 2 ** 20;
const SECTOR = 512;

type Mapping =
  | { readonly kind: 'parent' }
  | { readonly kind: 'zero' }
  | { readonly kind: 'data'; readonly offset: number }
  | { readonly kind: 'compressed'; readonly offset: number; readonly length: number };

export class Qcow2Disk extends BaseDisk {
  readonly format = 'qcow2';
  readonly logicalSectorSize = 512;
  readonly physicalSectorSize = 4096;
  readonly writable = false;
  readonly identifier = undefined;
  override readonly parent: Disk | undefined;
  readonly header: Qcow2Header;
  readonly size: number;
  readonly #file: RandomFile;
  readonly #fileSize: number;
  readonly #l1: DataView;
  readonly #codecs: HostCodecs;
  readonly #tables: Cache;
  readonly #clusters: Cache;

  private constructor(
    file: RandomFile,
    fileSize: number,
    header: Qcow2Header,
    l1: Uint8Array,
    codecs: HostCodecs,
    parent: Disk | undefined,
  ) {
    super();
    this.#file = file;
    this.#fileSize = fileSize;
    this.header = header;
    this.size = Math.ceil(header.size / SECTOR) * SECTOR;
    this.#l1 = new DataView(l1.buffer);
    this.#codecs = codecs;
    this.parent = parent;
    this.#tables = new Cache(Math.max(4, CACHED_TABLE_BYTES / header.clusterSize));
    this.#clusters = new Cache(Math.max(4, CACHED_CLUSTER_BYTES / header.clusterSize));
  }

  /** @param parent The backing file, opened, if the header names one. */
  static async open(file: RandomFile, codecs: HostCodecs, parent?: Disk): Promise<Qcow2Disk> {
    const header = await readHeader(file);
    if (header.backing !== undefined && parent === undefined)
      throw new DiskError('parent', `${file.path}: the backing file is not open`);
    const l1 = new Uint8Array(header.l1Entries * 8);
    await file.read(header.l1Offset, l1);
    return new Qcow2Disk(file, await file.size(), header, l1, codecs, parent);
  }

  get path(): string {
    return this.#file.path;
  }

  /** What the L2 table says of a cluster. */
  async #map(cluster: number): Promise<Mapping> {
    const { clusterSize } = this.header;
    const perTable = clusterSize / 8;
    const l1 = this.#l1.getBigUint64(Math.floor(cluster / perTable) * 8) & L1_OFFSET_MASK;
    if (l1 === 0n) return { kind: 'parent' };
    const offset = this.#place(l1, clusterSize, 'an L2 table');
    const table = await this.#tables.get(offset, () => this.#readFile(offset, clusterSize));
    const entry = new DataView(table.buffer).getBigUint64((cluster % perTable) * 8);
    if ((entry & L2_COMPRESSED) !== 0n) {
      // Of bits 0 to 61: as many as needed for the sectors beyond the first are their number, the rest is the offset.
      const bits = BigInt(62 - (Math.log2(clusterSize) - 8));
      const start = Number(entry & ((1n << bits) - 1n));
      const sectors = Number((entry & (L2_COMPRESSED - 1n)) >> bits) + 1;
      const length = Math.min(sectors * SECTOR - (start % SECTOR), this.#fileSize - start);
      if (length <= 0) throw this.#corrupt(`a compressed cluster lies outside the file (${start})`);
      return { kind: 'compressed', offset: start, length };
    }
    if ((entry & L2_ZERO) !== 0n && this.header.version >= 3) return { kind: 'zero' };
    const place = entry & L2_OFFSET_MASK;
    if (place === 0n) return { kind: 'parent' };
    return { kind: 'data', offset: this.#place(place, 1, 'a cluster') };
  }

  #place(offset: bigint, length: number, what: string): number {
    const place = Number(offset);
    if (place % this.header.clusterSize !== 0) throw this.#corrupt(`${what} is not aligned (${place})`);
    if (place + length > this.#fileSize) throw this.#corrupt(`${what} lies outside the file (${place})`);
    return place;
  }

  #corrupt(text: string): DiskError {
    return this.trouble('corrupt', `damaged qcow2: ${text}`);
  }

  async #readFile(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    await this.#file.read(offset, bytes);
    return bytes;
  }

  protected async doRead(offset: number, into: Uint8Array): Promise<void> {
    const { clusterSize } = this.header;
    const work: Promise<void>[] = [];
    for (let from = 0; from < into.length; ) {
      const at = (offset + from) % clusterSize;
      const length = Math.min(into.length - from, clusterSize - at);
      const part = into.subarray(from, from + length);
      work.push(this.#readCluster((offset + from - at) / clusterSize, at, part));
      from += length;
    }
    await allDone(work);
  }

  async #readCluster(cluster: number, at: number, into: Uint8Array): Promise<void> {
    const mapping = await this.#map(cluster);
    if (mapping.kind === 'zero') into.fill(0);
    else if (mapping.kind === 'parent') await readParent(this.parent, cluster * this.header.clusterSize + at, into);
    else if (mapping.kind === 'data') {
      // The last cluster of a file may be cut.
      const count = await this.#file.read(mapping.offset + at, into);
      into.fill(0, count);
    } else {
      const { offset, length } = mapping;
      const bytes = await this.#clusters.get(offset, () => this.#decompress(offset, length));
      into.set(bytes.subarray(at, at + into.length));
    }
  }

  async #decompress(offset: number, length: number): Promise<Uint8Array> {
    const { clusterSize, compression } = this.header;
    const packed = await this.#readFile(offset, length);
    try {
      const bytes =
        compression === 'zstd'
          ? await this.#unzstd(packed, clusterSize)
          : await this.#codecs.inflateRaw(packed, clusterSize);
      if (bytes.length !== clusterSize) throw new RangeError(`${bytes.length} bytes`);
      return bytes;
    } catch (error) {
      throw this.trouble('corrupt', `damaged qcow2: the compressed cluster at ${offset} does not unpack`, error);
    }
  }

  /** What follows in the last sector is the next cluster, which a decoder would take for more of this one. */
  async #unzstd(packed: Uint8Array, size: number): Promise<Uint8Array> {
    return this.#codecs.unzstd(packed.subarray(0, zstdFrameLength(packed)), size);
  }

  protected async *doRanges(offset: number, length: number): AsyncIterable<DiskRange> {
    const { clusterSize } = this.header;
    const end = offset + length;
    for (let at = offset; at < end; ) {
      const count = Math.min(end - at, clusterSize - (at % clusterSize));
      const { kind } = await this.#map(Math.floor(at / clusterSize));
      const state = kind === 'parent' && this.parent === undefined ? 'zero' : kind === 'compressed' ? 'data' : kind;
      yield { offset: at, length: count, state };
      at += count;
    }
  }

  // Never called: the disk is not writable.
  protected doWrite(): Promise<void> {
    return Promise.reject(this.trouble('readOnly', 'qcow2 is read-only'));
  }
  protected doZero(): Promise<void> {
    return this.doWrite();
  }
  protected doResize(): Promise<void> {
    return this.doWrite();
  }
  protected async doFlush(): Promise<void> {}

  inspect(): Record<string, unknown> {
    return { format: this.format, path: this.path, ...this.header, parent: this.parent?.inspect() };
  }

  protected doClose(): Promise<void> {
    return this.#file.close();
  }
}

/** The most recently used arrays by the file offset they come from; two who ask at the same time read once. */
class Cache {
  readonly #most: number;
  readonly #entries = new Map<number, Promise<Uint8Array>>();

  constructor(most: number) {
    this.#most = most;
  }

  get(key: number, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = read();
      // What failed is tried again next time.
      entry.catch(() => this.#entries.delete(key));
    } else this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > this.#most) this.#entries.delete(this.#entries.keys().next().value!);
    return entry;
  }
}
