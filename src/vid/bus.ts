/**
 * The port and MMIO buses: who claimed which address, and dispatch to it. An access nobody claimed reads all ones of its
 * size, as a terminated bus does, and is counted. The buses hold no guest-visible state; each thread builds its own over
 * its own device objects, so the counters are per thread.
 */
import type { MmioDevice, PortDevice } from './ports.ts';

/** A port device that decodes bytes only; the bus splits wider accesses and routes each byte by its own address. */
export interface BytePortDevice extends PortDevice {
  readonly bytesOnly: true;
}

export type AccessKind = 'port-read' | 'port-write' | 'mmio-read' | 'mmio-write';
/** Sees every access, after a read and before a write. */
export type AccessTrace = (kind: AccessKind, address: number, size: number, value: number) => void;

export interface UnclaimedCount {
  readonly reads: number;
  readonly writes: number;
}

const PORTS = 0x10000;
/** A guest can touch any address: past this many distinct ones, accesses count under UNCLAIMED_OTHER. */
const UNCLAIMED_LIMIT = 1024;
export const UNCLAIMED_OTHER = -1;

/** All ones of an access of 1, 2 or 4 bytes. */
export function allOnes(size: number): number {
  return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
}

class UnclaimedCounters {
  readonly #counts = new Map<number, { reads: number; writes: number }>();

  count(address: number, direction: 'reads' | 'writes'): void {
    let entry = this.#counts.get(address);
    if (!entry) {
      const key = this.#counts.size < UNCLAIMED_LIMIT ? address : UNCLAIMED_OTHER;
      entry = this.#counts.get(key) ?? { reads: 0, writes: 0 };
      this.#counts.set(key, entry);
    }
    entry[direction]++;
  }

  get counts(): ReadonlyMap<number, UnclaimedCount> {
    return this.#counts;
  }
}

interface PortEntry {
  readonly name: string;
  readonly device: PortDevice;
  readonly bytesOnly: boolean;
}

export class PortBus {
  /** Per port, an index into #entries plus one; 0 is unclaimed. */
  readonly #table = new Uint8Array(PORTS);
  readonly #entries: PortEntry[] = [];
  readonly #unclaimed = new UnclaimedCounters();
  trace: AccessTrace | undefined;

  /** @throws RangeError when a range leaves the port space or overlaps one that is already claimed; nothing is claimed then. */
  register(name: string, device: PortDevice | BytePortDevice): void {
    if (this.#entries.length === 0xff)
      throw new RangeError(`port bus: no room for ${name}: 255 devices are registered`);
    for (const { first, count } of device.ports) {
      if (first < 0 || count < 1 || first + count > PORTS)
        throw new RangeError(`port bus: ${name} claims ${hex(first)}+${count}, outside 0..0xffff`);
      for (let port = first; port < first + count; port++) {
        const owner = this.#entries[(this.#table[port] as number) - 1];
        if (owner) throw new RangeError(`port bus: ${name} claims port ${hex(port)}, which ${owner.name} has`);
      }
    }
    this.#entries.push({ name, device, bytesOnly: 'bytesOnly' in device });
    for (const { first, count } of device.ports) this.#table.fill(this.#entries.length, first, first + count);
  }

  /** The name under which a port is claimed. */
  owner(port: number): string | undefined {
    return this.#find(port)?.name;
  }

  /** @param size 1, 2 or 4. Returns the value, unsigned. */
  read(port: number, size: number): number {
    const value = this.#read(port, size);
    this.trace?.('port-read', port, size, value);
    return value;
  }

  write(port: number, size: number, value: number): void {
    this.trace?.('port-write', port, size, value >>> 0);
    this.#write(port, size, value >>> 0);
  }

  /** Accesses that no device claimed, by their first port. */
  get unclaimed(): ReadonlyMap<number, UnclaimedCount> {
    return this.#unclaimed.counts;
  }

  #find(port: number): PortEntry | undefined {
    return this.#entries[(this.#table[port] as number) - 1];
  }

  #read(port: number, size: number): number {
    const entry = this.#find(port);
    if (!entry) {
      this.#unclaimed.count(port, 'reads');
      return allOnes(size);
    }
    if (size === 1 || !entry.bytesOnly) return (entry.device.readPort(port, size) & allOnes(size)) >>> 0;
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.#read((port + i) % PORTS, 1) << (i * 8);
    return value >>> 0;
  }

  #write(port: number, size: number, value: number): void {
    const entry = this.#find(port);
    if (!entry) this.#unclaimed.count(port, 'writes');
    else if (size === 1 || !entry.bytesOnly) entry.device.writePort(port, size, (value & allOnes(size)) >>> 0);
    else for (let i = 0; i < size; i++) this.#write((port + i) % PORTS, 1, (value >>> (i * 8)) & 0xff);
  }
}

interface MmioEntry {
  readonly name: string;
  readonly device: MmioDevice;
  readonly first: number;
  /** One past the last byte. */
  readonly end: number;
}

export class MmioBus {
  /** Sorted by first address; never overlapping. */
  readonly #entries: MmioEntry[] = [];
  #last: MmioEntry | undefined;
  readonly #unclaimed = new UnclaimedCounters();
  trace: AccessTrace | undefined;

  /** @throws RangeError when a range is empty, not a safe integer or overlaps one that is already claimed; nothing is claimed then. */
  register(name: string, device: MmioDevice): void {
    const added: MmioEntry[] = [];
    for (const { first, size } of device.ranges) {
      const end = first + size;
      if (first < 0 || size < 1 || !Number.isSafeInteger(end))
        throw new RangeError(`MMIO bus: ${name} claims ${hex(first)}+${hex(size)}, which is no range below 2^53`);
      const owner = [...this.#entries, ...added].find((other) => first < other.end && other.first < end);
      if (owner)
        throw new RangeError(`MMIO bus: ${name} claims ${hex(first)}+${hex(size)}, which overlaps ${owner.name}`);
      added.push({ name, device, first, end });
    }
    this.#entries.push(...added);
    this.#entries.sort((a, b) => a.first - b.first);
  }

  owner(gpa: number): string | undefined {
    return this.#find(gpa, 1)?.name;
  }

  /** @param size 1, 2 or 4. Returns the value, unsigned. */
  read(gpa: number, size: number): number {
    const entry = this.#find(gpa, size);
    if (!entry) this.#unclaimed.count(gpa, 'reads');
    const value = entry ? (entry.device.readMmio(gpa, size) & allOnes(size)) >>> 0 : allOnes(size);
    this.trace?.('mmio-read', gpa, size, value);
    return value;
  }

  write(gpa: number, size: number, value: number): void {
    const bits = (value & allOnes(size)) >>> 0;
    this.trace?.('mmio-write', gpa, size, bits);
    const entry = this.#find(gpa, size);
    if (entry) entry.device.writeMmio(gpa, size, bits);
    else this.#unclaimed.count(gpa, 'writes');
  }

  /** An 8-byte access is two of 4 bytes, low first. */
  read64(gpa: number): bigint {
    const low = this.read(gpa, 4);
    return (BigInt(this.read(gpa + 4, 4)) << 32n) | BigInt(low);
  }

  write64(gpa: number, value: bigint): void {
    this.write(gpa, 4, Number(value & 0xffffffffn));
    this.write(gpa + 4, 4, Number((value >> 32n) & 0xffffffffn));
  }

  /** Accesses that no device claimed, by address; those past the first 1024 distinct ones under UNCLAIMED_OTHER. */
  get unclaimed(): ReadonlyMap<number, UnclaimedCount> {
    return this.#unclaimed.counts;
  }

  /** The entry that holds the whole access. One that straddles the end of a range is nobody's. */
  #find(gpa: number, size: number): MmioEntry | undefined {
    const last = this.#last;
    if (last && gpa >= last.first && gpa + size <= last.end) return last;
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#entries[middle] as MmioEntry).end <= gpa) low = middle + 1;
      else high = middle;
    }
    const entry = this.#entries[low];
    if (!entry || gpa < entry.first || gpa + size > entry.end) return undefined;
    this.#last = entry;
    return entry;
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
