/**
 * A saved partition as bytes: `VIRIDIAN`, then u32 format version, u32 length of the header, u32 length of the body, u32
 * CRC-32 of header and body; then those two, each compressed (Zstandard). The header is JSON: configuration, and every
 * struct of platform state by name and version. The body is the pages of RAM that are not zero, then the segments of the
 * boot image, whose addresses and lengths are in the header. Integers are little-endian.
 */
import { isViridianError, ViridianError } from '../contracts/errors.ts';
import { resolvePartitionOptions } from '../contracts/partition-options.ts';
import type { LoadPlan } from '../firmware/load-plan.ts';
import type { Compression } from '../host/services.ts';
import { PAGE } from '../hypervisor/memory/layout.ts';
import { crc32 } from '../support/codec/crc32.ts';
import type { Saved } from '../support/struct.ts';
import { type DiskRecord, diskRecordOf } from './disks.ts';
import type { MachineConfig } from './machine.ts';

const MAGIC = 'VIRIDIAN';
/** Raised whenever an older build could misread a state. */
export const STATE_VERSION = 2;
/** Version 1 has no VMBus. */
const READABLE = [1, 2];
const PREFIX = 24;
/** RAM, the test device's too, is below 4 GiB. */
const ADDRESS_LIMIT = 2 ** 32;
const LONGEST_HEADER = 2 ** 26;

export interface SavedPartition {
  readonly config: MachineConfig;
  /** Clock.now() when it was saved. */
  readonly time: bigint;
  readonly structs: Readonly<Record<string, Saved>>;
  /** Pages that are not all zero, in order of address. */
  readonly pages: readonly { readonly gpa: number; readonly bytes: Uint8Array }[];
  /** What a restart of the guest loads again. */
  readonly plan: LoadPlan;
  /** The parent's end of the VMBus, as plain data; undefined without one. */
  readonly vmbus: unknown;
  /** Undefined in states of before disks were recorded. */
  readonly disks: readonly DiskRecord[] | undefined;
}

interface Header {
  readonly config: MachineConfig;
  readonly time: string;
  readonly structs: Readonly<Record<string, Saved>>;
  readonly vmbus: unknown;
  readonly disks: readonly DiskRecord[];
  readonly pages: readonly number[];
  /** A load plan without its bytes. */
  readonly plan: unknown;
  readonly segments: readonly { readonly gpa: number; readonly length: number }[];
}

export function encodeSavedState(state: SavedPartition, compression: Compression): Uint8Array {
  const { plan } = state;
  const header: Header = {
    config: state.config,
    time: state.time.toString(),
    structs: state.structs,
    vmbus: state.vmbus ?? null,
    disks: state.disks ?? [],
    pages: state.pages.map((p) => p.gpa),
    plan: plainPlan(plan),
    segments: plan.segments.map((s) => ({ gpa: s.gpa, length: s.bytes.length })),
  };
  const body = new Uint8Array(state.pages.length * PAGE + plan.segments.reduce((n, s) => n + s.bytes.length, 0));
  let at = 0;
  for (const { bytes } of [...state.pages, ...plan.segments]) {
    body.set(bytes, at);
    at += bytes.length;
  }
  const text = compression.compress(new TextEncoder().encode(JSON.stringify(header)));
  const packed = compression.compress(body);
  const out = new Uint8Array(PREFIX + text.length + packed.length);
  const view = new DataView(out.buffer);
  out.set(new TextEncoder().encode(MAGIC));
  out.set(text, PREFIX);
  out.set(packed, PREFIX + text.length);
  [STATE_VERSION, text.length, packed.length, crc32(out.subarray(PREFIX))].forEach((word, i) => {
    view.setUint32(MAGIC.length + i * 4, word, true);
  });
  return out;
}

function bad(problem: string, cause?: unknown): ViridianError {
  return new ViridianError('badFile', `the saved state ${problem}`, { cause });
}

/** @throws ViridianError `badFile`; a file is taken whole or not at all. */
export function decodeSavedState(bytes: Uint8Array, compression: Compression): SavedPartition {
  if (bytes.length < PREFIX || new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC)
    throw bad('is not one of Viridian');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (i: number): number => view.getUint32(MAGIC.length + i * 4, true);
  if (!READABLE.includes(word(0)))
    throw bad(`has version ${word(0)}, and this build reads version ${STATE_VERSION}: use the build that wrote it`);
  const expected = PREFIX + word(1) + word(2);
  if (bytes.length < expected) throw bad(`is truncated: ${bytes.length} bytes, its header says ${expected}`);
  if (bytes.length > expected || crc32(bytes.subarray(PREFIX)) !== word(3))
    throw bad('is damaged: its checksum does not match');
  const bodyAt = PREFIX + word(1);
  try {
    const header = attempt('header', () => {
      const text = compression.decompress(bytes.subarray(PREFIX, bodyAt), LONGEST_HEADER);
      return JSON.parse(new TextDecoder().decode(text)) as unknown;
    });
    demand(isRecord(header), 'header');
    const config = parseConfig(header.config);
    const time = parseTime(header.time);
    const structs = parseStructs(header.structs);
    const pages = parsePages(header.pages);
    const plan = parsePlan(header.plan);
    const segments = parseSegments(header.segments, config);
    const total = pages.length * PAGE + segments.reduce((n, s) => n + s.length, 0);
    const body = attempt('memory', () => compression.decompress(bytes.subarray(bodyAt), total));
    if (total !== body.length) throw new Damage('its length does not fit its header');
    let at = 0;
    const take = (count: number): Uint8Array => {
      at += count;
      return body.subarray(at - count, at);
    };
    return {
      config,
      time,
      structs,
      vmbus: header.vmbus ?? undefined,
      disks: parseDisks(header.disks),
      pages: pages.map((gpa) => ({ gpa, bytes: take(PAGE) })),
      plan: { ...plan, segments: segments.map((s) => ({ gpa: s.gpa, bytes: take(s.length) })) },
    };
  } catch (error) {
    if (error instanceof Damage || isViridianError(error)) throw bad(`is damaged: ${error.message}`, error);
    throw error;
  }
}

/** The plan as JSON-safe data, without its bytes: a bigint is its decimal digits and an `n`. */
function plainPlan(plan: LoadPlan): unknown {
  const text = JSON.stringify({ ...plan, segments: [] }, (_key, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  );
  return JSON.parse(text);
}

/** The header is a file's word: what is not of its type and range is refused here, and nowhere later. */
class Damage extends Error {}

function demand(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Damage(`its ${what} makes no sense`);
}

/** A decompressor's or parser's own words are not for users. */
function attempt<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new Damage(`its ${what} cannot be read`, { cause });
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function parseConfig(config: unknown): MachineConfig {
  demand(isRecord(config), 'configuration');
  // States of before there was a VMBus do not say so.
  const { memory, processors, virtualTime, testDevice, vmbus = false, generationId = false, dynamicMemory } = config;
  demand(typeof memory === 'number' && typeof processors === 'number', 'configuration');
  demand(typeof virtualTime === 'boolean' && typeof testDevice === 'boolean', 'configuration');
  demand(typeof vmbus === 'boolean' && typeof generationId === 'boolean', 'configuration');
  const range = parseDynamicMemory(dynamicMemory);
  resolvePartitionOptions({
    kernel: MAGIC,
    memory,
    processors,
    memoryMinimum: range?.minimum,
    memoryMaximum: range?.maximum,
  });
  return {
    memory,
    processors,
    virtualTime,
    testDevice,
    vmbus,
    ...(generationId ? { generationId } : {}),
    ...(range ? { dynamicMemory: range } : {}),
  };
}

function parseDynamicMemory(range: unknown): MachineConfig['dynamicMemory'] {
  if (range === undefined) return undefined;
  demand(isRecord(range), 'configuration');
  const { minimum, maximum } = range;
  demand(typeof minimum === 'number' && typeof maximum === 'number', 'configuration');
  return { minimum, maximum };
}

function parseDisks(disks: unknown): readonly DiskRecord[] | undefined {
  if (disks === undefined) return undefined;
  demand(Array.isArray(disks), 'list of disks');
  return disks.map((each, i) => {
    const record = diskRecordOf(each, i);
    demand(record !== undefined, 'list of disks');
    return record;
  });
}

function parseTime(text: unknown): bigint {
  demand(typeof text === 'string' && /^\d{1,19}$/.test(text), 'time');
  return BigInt(text);
}

/** Names and versions are compared where the structs are loaded. */
function parseStructs(structs: unknown): Header['structs'] {
  demand(isRecord(structs), 'platform state');
  for (const saved of Object.values(structs)) {
    demand(isRecord(saved) && isRecord(saved.fields), 'platform state');
    demand(typeof saved.struct === 'string' && typeof saved.version === 'number', 'platform state');
  }
  return structs as Header['structs'];
}

/** Ascending, so none is there twice. That each is RAM is seen where it is written. */
function parsePages(pages: unknown): Header['pages'] {
  demand(Array.isArray(pages), 'list of pages');
  let end = 0;
  for (const gpa of pages as unknown[]) {
    demand(isWhole(gpa) && gpa % PAGE === 0 && gpa >= end && gpa < ADDRESS_LIMIT, 'list of pages');
    end = gpa + PAGE;
  }
  return pages;
}

function parseSegments(segments: unknown, { memory }: MachineConfig): Header['segments'] {
  demand(Array.isArray(segments), 'boot image');
  for (const segment of segments as unknown[]) {
    demand(isRecord(segment), 'boot image');
    const { gpa, length } = segment;
    demand(isWhole(gpa) && isWhole(length) && gpa + length <= memory, 'boot image');
  }
  return segments;
}

const ENTRY_WORDS = ['rip', 'rsp', 'rflags', 'rax', 'rbx', 'rsi', 'cr0', 'cr3', 'cr4', 'efer'] as const;
const ENTRY_TABLES = ['gdtr', 'idtr'] as const;
const ENTRY_SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldtr'] as const;

function demandEntry(entry: unknown): void {
  demand(isRecord(entry), 'boot plan');
  for (const name of ENTRY_WORDS) demand(typeof entry[name] === 'bigint', name);
  for (const name of [...ENTRY_TABLES, ...ENTRY_SEGMENTS]) {
    const table = entry[name];
    demand(isRecord(table) && typeof table.base === 'bigint' && typeof table.limit === 'number', name);
  }
  for (const name of ENTRY_SEGMENTS) {
    const { selector, attributes } = entry[name] as Record<string, unknown>;
    demand(typeof selector === 'number' && typeof attributes === 'number', name);
  }
}

function parsePlan(plain: unknown): LoadPlan {
  demand(isRecord(plain), 'boot plan');
  const plan = JSON.parse(JSON.stringify(plain), (_key, value: unknown) =>
    typeof value === 'string' && /^\d{1,20}n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
  ) as LoadPlan;
  demandEntry(plan.entry);
  return plan;
}
