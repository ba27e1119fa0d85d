/**
 * The header of a saved state: what is in it besides memory, and the checks that a file's word needs. Both layouts have it: packed
 * (saved-state.ts) and paged (state-file.ts).
 */
import { ViridianError } from '../contracts/errors.ts';
import { resolvePartitionOptions } from '../contracts/partition-options.ts';
import type { LoadPlan } from '../firmware/load-plan.ts';
import type { Saved } from '../support/struct.ts';
import { type DiskRecord, diskRecordOf } from './disks.ts';
import type { MachineConfig } from './machine.ts';

export const MAGIC = 'VIRIDIAN';
/** The layouts that this build reads: 1 is packed and has no VMBus, 2 is packed, 3 is paged. */
export const PACKED_VERSIONS: readonly number[] = [1, 2];
export const PAGED_VERSION = 3;
export const LONGEST_HEADER = 2 ** 26;

/** What is saved of a partition besides its memory. */
export interface SavedMachine {
  readonly config: MachineConfig;
  /** Clock.now() when it was saved. */
  readonly time: bigint;
  readonly structs: Readonly<Record<string, Saved>>;
  /** What a restart of the guest loads again; its segments' bytes may be elsewhere. */
  readonly plan: LoadPlan;
  /** The parent's end of the VMBus, as plain data; undefined without one. */
  readonly vmbus: unknown;
  /** Undefined in states of before disks were recorded. */
  readonly disks: readonly DiskRecord[] | undefined;
}

export interface PlainMachine {
  readonly config: MachineConfig;
  readonly time: string;
  readonly structs: Readonly<Record<string, Saved>>;
  readonly vmbus: unknown;
  readonly disks: readonly DiskRecord[];
  /** A load plan without its bytes. */
  readonly plan: unknown;
}

/** As JSON-safe data. */
export function plainMachine(state: SavedMachine): PlainMachine {
  return {
    config: state.config,
    time: state.time.toString(),
    structs: state.structs,
    vmbus: state.vmbus ?? null,
    disks: state.disks ?? [],
    plan: plainPlan(state.plan),
  };
}

/** @throws Damage */
export function parseMachine(header: Readonly<Record<string, unknown>>): SavedMachine {
  return {
    config: parseConfig(header.config),
    time: parseTime(header.time),
    structs: parseStructs(header.structs),
    plan: parsePlan(header.plan),
    vmbus: header.vmbus ?? undefined,
    disks: parseDisks(header.disks),
  };
}

export function bad(problem: string, cause?: unknown): ViridianError {
  return new ViridianError('badFile', `the saved state ${problem}`, { cause });
}

export function badVersion(version: number): ViridianError {
  return bad(
    `has version ${version}, and this build reads versions 1 to ${PAGED_VERSION}: use the build that wrote it`,
  );
}

/** The plan as JSON-safe data, without its bytes: a bigint is its decimal digits and an `n`. */
function plainPlan(plan: LoadPlan): unknown {
  const text = JSON.stringify({ ...plan, segments: [] }, (_key, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  );
  return JSON.parse(text);
}

/** The header is a file's word: what is not of its type and range is refused here, and nowhere later. */
export class Damage extends Error {}

export function demand(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Damage(`its ${what} makes no sense`);
}

/** A decompressor's or parser's own words are not for users. */
export function attempt<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new Damage(`its ${what} cannot be read`, { cause });
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isWhole(value: unknown): value is number {
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
function parseStructs(structs: unknown): SavedMachine['structs'] {
  demand(isRecord(structs), 'platform state');
  for (const saved of Object.values(structs)) {
    demand(isRecord(saved) && isRecord(saved.fields), 'platform state');
    demand(typeof saved.struct === 'string' && typeof saved.version === 'number', 'platform state');
  }
  return structs as SavedMachine['structs'];
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
