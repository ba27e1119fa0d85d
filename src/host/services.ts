/** What a partition's worker needs of the host: threads, time, compression, digests. */
import type { HostTime } from './clock.ts';

export interface Thread<ToThread, FromThread> {
  /** @param ends ends of channels in the message, which the thread has from then on. */
  post(message: ToThread, ends?: readonly ChannelEnd[]): void;
  onMessage(callback: (message: FromThread) => void): void;
  onError(callback: (error: Error) => void): void;
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>;
  terminate(): Promise<void>;
  /** Whether the process stays while the thread runs; it does where nothing is said. */
  keepAlive(keep: boolean): void;
}

/** One end of a channel between two threads. */
export interface ChannelEnd {
  readonly kind?: 'channel end';
}
export type Channel = readonly [ChannelEnd, ChannelEnd];

export interface ThreadOptions {
  /** Ends of channels that are part of the thread's data. */
  readonly ends?: readonly ChannelEnd[];
  /** Mebibytes of its heap for what is young: for a thread that makes much and keeps little. */
  readonly youngGeneration?: number;
}

export interface Compression {
  compress(bytes: Uint8Array): Uint8Array;
  /** The same on another thread; the bytes are not to change meanwhile. */
  compressLater(bytes: Uint8Array): Promise<Uint8Array>;
  /** @throws when the bytes are damaged, or would unpack to more than `limit`. */
  decompress(bytes: Uint8Array, limit: number): Uint8Array;
}

/** A thread's module: where it is, or the text of a script. */
export type ThreadEntry = URL | { readonly source: string };

export interface HostServices {
  startThread<ToThread, FromThread>(
    entry: ThreadEntry,
    data: unknown,
    options?: ThreadOptions,
  ): Thread<ToThread, FromThread>;
  openChannel(): Channel;
  /** Monotonic nanoseconds. */
  monotonicNow(): bigint;
  /** Clocks whose monotonic time counts from `origin`. */
  hostTime(origin: bigint): HostTime;
  /** Threads that can run at the same time. */
  readonly parallelism: number;
  /** Which of the host's processors the calling thread is on; -1 where that cannot be known. */
  currentCore(): number;
  /** Calls back after whatever else waits for this thread. */
  defer(callback: () => void): void;
  /**
   * Gives the memory behind [offset, offset + length) of a buffer back to the host; it reads as zeroes from then on. False
   * where this host cannot: nothing has happened then.
   */
  discardMemory(buffer: SharedArrayBuffer, offset: number, length: number): boolean;
  /** Random bytes that nobody can foretell. */
  randomBytes(count: number): Uint8Array;
  readonly compression: Compression;
  /** CRC-32, as fast as the host can. */
  crc32(bytes: Uint8Array): number;
  /** Puts bytes away where they take no memory; the function reads them. Undefined: they could not be. */
  spill(bytes: Uint8Array): Promise<(() => Uint8Array) | undefined>;
  /** Gives freed memory back to the machine, as far as that can be done; with `garbage` also what nobody refers to. */
  trim(garbage?: boolean): void;
  /** SHA-256 of all pieces one after the other, in hexadecimal. */
  sha256(pieces: Iterable<Uint8Array>): string;
}
