/**
 * Saves a partition into a file while it runs (pre-copy, as live migration does it): memory is copied round after round, each
 * time what the log says was stored to since. When little is left, or no less than the round before, the partition is paused,
 * the rest is put aside in memory, and it may run on; then that is written, and the file gets its name. Whoever is killed in between
 * leaves a file of another name.
 */
import { ViridianError } from '../contracts/errors.ts';
import type { StateSaving, StateSavingOptions, StateSavingResult } from '../contracts/partition.ts';
import type { DiskFiles, RandomFile } from '../host/disk-files.ts';
import type { HostServices } from '../host/services.ts';
import { PAGE } from '../hypervisor/memory/layout.ts';
import { allZero, type MemoryLog, PageSet } from './memory-log.ts';
import type { SavedMachine } from './saved-header.ts';
import { encodeTail, MEMORY_AT, type PackedSegment } from './state-file.ts';

/** Pages copied between two looks at what else the thread has to do. */
const CHUNK_PAGES = 64;
/** Writes under way. */
const WRITES = 4;
/** So few pages are put aside in about a millisecond. */
const LITTLE = 1024;
/** After so many rounds, or when a round leaves more than this part of the one before, another does not help. */
const MOST_ROUNDS = 8;
const WORTH_IT = 0.7;
/** Below this is progress of copying, above it of writing the rest. */
const COPIED = 0.9;

export interface SaverPorts {
  readonly host: Pick<HostServices, 'compression' | 'crc32' | 'defer'>;
  readonly files: DiskFiles;
  readonly buffer: SharedArrayBuffer;
  readonly log: MemoryLog;
  /** The boot image, compressed. */
  segments(): Promise<readonly PackedSegment[]>;
  /** Flushes what a pause would have to wait for. */
  prepare(): Promise<void>;
  /** All but memory, of a partition that stands still. @throws ViridianError `wrongState` */
  machine(): Promise<SavedMachine>;
  /** Called once, when nothing more is done. */
  ended(): void;
}

export class StateSaver implements StateSaving {
  readonly ready: Promise<void>;
  readonly #ports: SaverPorts;
  readonly #path: string;
  readonly #options: StateSavingOptions;
  readonly #pending: PageSet;
  /** What the file holds of each page: whether it is not zero, and its CRC-32 then. */
  readonly #stored: Uint8Array;
  readonly #sums: Uint32Array;
  readonly #writing = new Set<Promise<void>>();
  #failure: unknown;
  #file: RandomFile | undefined;
  #segments: readonly PackedSegment[] = [];
  #aside: Uint8Array = new Uint8Array();
  #taken: { readonly machine: SavedMachine; readonly pages: readonly number[] } | undefined;
  #finished: Promise<StateSavingResult> | undefined;
  #cancelled = false;
  #ended = false;
  #rounds = 0;
  #copied = 0;

  /** @param path where the file is when it is whole. */
  constructor(ports: SaverPorts, path: string, options: StateSavingOptions) {
    const { pages } = ports.log;
    this.#ports = ports;
    this.#path = path;
    this.#options = options;
    this.#pending = new PageSet(pages);
    this.#stored = new Uint8Array(pages);
    this.#sums = new Uint32Array(pages);
    this.ready = this.#begin();
    // Whoever does not wait for it learns of it from `finish`.
    this.ready.catch(() => {});
  }

  get #partial(): string {
    return `${this.#path}.partial`;
  }

  // ---- while it runs --------------------------------------------------------------------------------------------------------

  async #begin(): Promise<void> {
    const { files, log } = this.#ports;
    try {
      this.#file = await files.open(this.#partial, { create: 'replace', private: true });
      await this.#file.resize(MEMORY_AT + log.pages * PAGE);
      const segments = this.#ports.segments();
      segments.catch(() => {});
      this.#startOver();
      let before = Number.POSITIVE_INFINITY;
      while (this.#rounds < MOST_ROUNDS) {
        await log.settled();
        const { count } = this.#pending;
        if (this.#rounds > 0 && (count <= LITTLE || count > before * WORTH_IT)) break;
        before = count;
        await this.#round();
        // What was written so far need not be waited for later.
        await this.#written();
        if (this.#rounds === 1) await this.#file.sync();
        log.take(this.#pending);
      }
      this.#segments = await segments;
      await this.#ports.prepare();
      log.take(this.#pending);
      await log.settled();
      this.#makeRoom(Math.ceil(this.#pending.count * 1.5) + LITTLE);
    } catch (error) {
      await this.#abandon();
      throw error;
    }
  }

  /** Everything that may be something else than zeroes is to be copied. */
  #startOver(): void {
    const { log } = this.#ports;
    log.take(this.#pending);
    for (const page of log.touched) this.#pending.add(page);
  }

  async #round(): Promise<void> {
    this.#rounds++;
    const pages = [...this.#pending];
    this.#pending.clear();
    const share = COPIED / 2 ** this.#rounds;
    const from = COPIED - share * 2;
    for (let i = 0; i < pages.length; i += CHUNK_PAGES) {
      this.#check();
      const chunk = pages.slice(i, i + CHUNK_PAGES);
      const bytes = new Uint8Array(chunk.length * PAGE);
      this.#copy(chunk, bytes);
      await this.#put(chunk, bytes);
      this.#options.onProgress?.(from + (share * (i + chunk.length)) / pages.length);
      await new Promise<void>((resolve) => this.#ports.host.defer(resolve));
    }
  }

  #copy(pages: readonly number[], into: Uint8Array): void {
    const { buffer, log } = this.#ports;
    for (let i = 0; i < pages.length; ) {
      const first = pages[i] as number;
      let count = 1;
      while (pages[i + count] === first + count) count++;
      into.set(new Uint8Array(buffer, log.host(first), count * PAGE), i * PAGE);
      i += count;
    }
  }

  /** Writes copies of pages to their places. Zeroes are written only where something else was. */
  async #put(pages: readonly number[], bytes: Uint8Array): Promise<void> {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const write = pages.map((page, i) => {
      const zero = allZero(words, (i * PAGE) / 4, ((i + 1) * PAGE) / 4);
      const was = this.#stored[page] === 1;
      this.#stored[page] = zero ? 0 : 1;
      if (!zero) this.#sums[page] = this.#ports.host.crc32(bytes.subarray(i * PAGE, (i + 1) * PAGE));
      return !zero || was;
    });
    for (let i = 0; i < pages.length; ) {
      let count = 1;
      if (write[i] === true) {
        const first = pages[i] as number;
        while (write[i + count] === true && pages[i + count] === first + count) count++;
        await this.#write(MEMORY_AT + first * PAGE, bytes.subarray(i * PAGE, (i + count) * PAGE));
        this.#copied += count;
      }
      i += count;
    }
  }

  async #write(offset: number, bytes: Uint8Array): Promise<void> {
    const done = this.#file!.write(offset, bytes)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .finally(() => this.#writing.delete(done));
    this.#writing.add(done);
    if (this.#writing.size >= WRITES) await Promise.race(this.#writing);
  }

  /** Resolves when nothing is being written; rejects when something could not be. */
  async #written(): Promise<void> {
    await Promise.all(this.#writing);
    this.#check();
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#cancelled) throw new ViridianError('failure', 'saving was cancelled');
  }

  /** Memory for what is put aside, touched now: the kernel's first look at it takes longer than the copy. */
  #makeRoom(pages: number): void {
    this.#aside = new Uint8Array(Math.min(pages, this.#ports.log.pages) * PAGE);
    for (let at = 0; at < this.#aside.length; at += PAGE) this.#aside[at] = 1;
  }

  // ---- while it stands still ------------------------------------------------------------------------------------------------

  async take(): Promise<void> {
    await this.ready;
    this.#check();
    const { log } = this.#ports;
    const machine = await this.#ports.machine();
    log.take(this.#pending);
    const pages = [...this.#pending];
    if (pages.length * PAGE > this.#aside.length) this.#aside = new Uint8Array(pages.length * PAGE);
    this.#copy(pages, this.#aside);
    this.#taken = { machine, pages };
    // Processors stand still; they drop their write translations before they go on.
    await log.settled();
  }

  // ---- afterwards -----------------------------------------------------------------------------------------------------------

  finish(): Promise<StateSavingResult> {
    this.#finished ??= this.#finish().catch(async (error: unknown) => {
      await this.#abandon();
      throw error;
    });
    return this.#finished;
  }

  async #finish(): Promise<StateSavingResult> {
    const taken = this.#taken;
    if (taken === undefined) throw new ViridianError('wrongState', 'nothing was put aside to be written');
    const { machine, pages } = taken;
    for (let i = 0; i < pages.length; i += CHUNK_PAGES) {
      this.#check();
      const chunk = pages.slice(i, i + CHUNK_PAGES);
      await this.#put(chunk, this.#aside.subarray(i * PAGE, (i + chunk.length) * PAGE));
      this.#options.onProgress?.(COPIED + ((1 - COPIED) * i) / pages.length);
      await new Promise<void>((resolve) => this.#ports.host.defer(resolve));
    }
    const { prefix, tail } = encodeTail(machine, this.#segments, this.#stored, this.#sums, this.#ports.host);
    let at = MEMORY_AT + this.#stored.length * PAGE;
    for (const bytes of tail) {
      await this.#write(at, bytes);
      at += bytes.length;
    }
    await this.#written();
    const file = this.#file!;
    await file.write(0, prefix);
    await file.sync();
    await file.close();
    this.#check();
    await this.#ports.files.rename(this.#partial, this.#path);
    this.#end();
    let stored = 0;
    for (const flag of this.#stored) stored += flag;
    const besides = at - MEMORY_AT - this.#stored.length * PAGE;
    return {
      bytes: stored * PAGE + besides,
      rounds: this.#rounds,
      written: this.#copied * PAGE + besides,
      putAside: pages.length * PAGE,
    };
  }

  async cancel(): Promise<void> {
    this.#cancelled = true;
    await this.ready.catch(() => {});
    if (this.#finished === undefined) await this.#abandon();
    else await this.#finished.catch(() => {});
  }

  async #abandon(): Promise<void> {
    if (this.#ended) return;
    this.#end();
    await Promise.all(this.#writing);
    await this.#file?.close().catch(() => {});
    await this.#ports.files.remove(this.#partial).catch(() => {});
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#aside = new Uint8Array();
    this.#ports.ended();
  }
}
