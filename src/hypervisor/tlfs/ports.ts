/** What the Hyper-V guest interface needs of the rest of the partition. */

/**
 * Guest-physical memory. Every method throws RangeError when the range is not wholly RAM.
 * `setBit` and `compareExchange32` are sequentially consistent atomics on a 4-byte aligned word.
 */
export interface TlfsMemory {
  /** Copies out. */
  read(gpa: number, length: number): Uint8Array;
  /** Copies in; invalidates code on the pages. */
  write(gpa: number, bytes: Uint8Array): void;
  /** Sets bit 0..31 of the word; whether it was set before. */
  setBit(gpa: number, bit: number): boolean;
  /** Returns the word's old value. */
  compareExchange32(gpa: number, expected: number, replacement: number): number;
}

/** The platform lock. Not reentrant. */
export interface PlatformLock {
  with<T>(body: () => T): T;
}

export interface TlfsClock {
  /** Nanoseconds since the partition was created. */
  now(): bigint;
}

/** The partition's time stamp counter, before any offset a guest gives its processor by writing IA32_TSC. */
export interface TscSource {
  tsc(): bigint;
  /** Hertz, more than 10 MHz. */
  readonly tscFrequency: number;
}

/** Where HvCallPostMessage and HvCallSignalEvent go. They give a status (`Status`), or undefined when the connection is not this port's. */
export interface ConnectionPort {
  /** Called with the platform lock held. */
  postMessage(connection: number, type: number, payload: Uint8Array): number | undefined;
  /** Called without it: whoever is told wakes up while this still runs, and would wait for the lock. */
  signalEvent(connection: number, flag: number): number | undefined;
  /** The calling processor's loop comes round. Without the lock. */
  poll?(): void;
}

export interface TlbFlush {
  /** VP indices; the caller's own may be among them. */
  readonly processors: readonly number[];
  /** CR3 of the address space, or undefined for all of them. */
  readonly addressSpace: bigint | undefined;
  readonly nonGlobalOnly: boolean;
  /** Page ranges: the linear address of the first page, with the number of further pages in bits 11:0. Undefined: everything. */
  readonly ranges: readonly bigint[] | undefined;
}

/** Completes before it returns; called without the platform lock, because it waits for other processors. */
export interface TlbFlushPort {
  flush(request: TlbFlush): void;
}

/** A guest that panics. */
export interface GuestCrash {
  /** P0..P4. */
  readonly parameters: readonly bigint[];
  /** The guest's log text, when it gave one. */
  readonly message: string | undefined;
}
export interface CrashPort {
  guestCrashed(crash: GuestCrash): void;
}

/** The operations of the test device at port 0x3000. Called with the platform lock held. */
export interface HypervTestPort {
  makeRoute(processor: number, sint: number, connection: number): void;
  removeRoute(processor: number, sint: number, connection: number): void;
  raise(processor: number, sint: number, connection: number): void;
  makeMessageConnection(processor: number, sint: number, connection: number): void;
  removeMessageConnection(processor: number, sint: number, connection: number): void;
  makeEventConnection(processor: number, sint: number, connection: number): void;
  removeEventConnection(processor: number, sint: number, connection: number): void;
}
