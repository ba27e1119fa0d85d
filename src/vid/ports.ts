/**
 * The narrow ports through which emulated devices meet the partition. A device receives the ports it needs and never
 * "the machine". Devices keep all mutable state in a `Struct` over shared memory, so any thread can run them; callers
 * hold the platform lock around every method here.
 */

/** One interrupt input (a GSI of the IO-APIC, an IRQ of the 8259s). Level semantics: idempotent for an unchanged level. */
export interface InterruptLine {
  set(level: boolean): void;
}

export interface PortRange {
  readonly first: number;
  readonly count: number;
}

/** Answers IN and OUT. Unclaimed ports read all ones; an access wider than a device knows is the device's to split. */
export interface PortDevice {
  readonly ports: readonly PortRange[];
  /** @param size 1, 2 or 4 bytes. Returns the value, unsigned. */
  readPort(port: number, size: number): number;
  writePort(port: number, size: number, value: number): void;
}

export interface MmioRange {
  /** Guest-physical address, below 2^53. */
  readonly first: number;
  readonly size: number;
}

/** Answers memory-mapped accesses of 1, 2, 4 or 8 bytes; values unsigned, 8-byte accesses split into two of 4, low first. */
export interface MmioDevice {
  readonly ranges: readonly MmioRange[];
  readMmio(gpa: number, size: number): number;
  writeMmio(gpa: number, size: number, value: number): void;
}

/** A device whose state changes with time. */
export interface TimedDevice {
  /** When poll() next has something to do, in Clock.now() nanoseconds; undefined when never. */
  nextDeadline(): bigint | undefined;
  poll(now: bigint): void;
}

/** Live state for `hv inspect`, the API and the manager. Numbers are shown as given; bigints in hexadecimal. */
export type InspectNode = { readonly [key: string]: string | number | bigint | boolean | InspectNode };
export interface Inspectable {
  inspect(): InspectNode;
}

/** Power events a device can ask of the partition. */
export interface PowerControl {
  powerOff(): void;
  reset(): void;
  /** The test device's exit: ends the run with this process exit code. */
  exit(code: number): void;
}
