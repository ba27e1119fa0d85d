/**
 * A saved partition as bytes: `VIRIDIAN`, u32 format version, u32 header length, the header as JSON (configuration and
 * every struct of platform state, by name and version), then the pages of RAM that are not zero and the boot image, each
 * a list of {guest-physical address, length} in the header and its bytes, one after the other, at the end. All integers
 * are little-endian. The body is compressed as a whole by the host (Zstandard).
 */
import { ViridianError } from '../contracts/errors.ts';
import { PAGE } from '../hypervisor/memory/layout.ts';
import type { LoadPlan } from '../firmware/load-plan.ts';
import type { Saved } from '../support/struct.ts';
import type { MachineConfig } from './machine.ts';

const MAGIC = 'VIRIDIAN';
/** Raised whenever an older build could misread a state. */
export const STATE_VERSION = 1;
const PREFIX = 16;

export interface SavedPartition {
  readonly config: MachineConfig;
  /** Clock.now() when it was saved. */
  readonly time: bigint;
  readonly structs: Readonly<Record<string, Saved>>;
  /** Pages that are not all zero, in order of address. */
  readonly pages: readonly { readonly gpa: number; readonly bytes: Uint8Array }[];
  /** What a restart of the guest loads again. */
  readonly plan: LoadPlan;
}

export interface Compression {
  compress(bytes: Uint8Array): Uint8Array;
  decompress(bytes: Uint8Array): Uint8Array;
}

interface Header {
  readonly config: MachineConfig;
  readonly time: string;
  readonly structs: Readonly<Record<string, Saved>>;
  readonly pages: readonly number[];
  readonly plan: unknown;
  readonly segments: readonly { gpa: number; length: number }[];
}

export function encodeSavedState(state: SavedPartition, compression: Compression): Uint8Array {
  const { plan } = state;
  const header: Header = {
    config: state.config,
    time: state.time.toString(),
    structs: state.structs,
    pages: state.pages.map((p) => p.gpa),
    plan: JSON.parse(JSON.stringify({ ...plan, segments: [] }, (_key, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))),
    segments: plan.segments.map((s) => ({ gpa: s.gpa, length: s.bytes.length })),
  };
  const body = new Uint8Array(state.pages.length * PAGE + plan.segments.reduce((n, s) => n + s.bytes.length, 0));
  let at = 0;
  for (const { bytes } of [...state.pages, ...plan.segments]) {
    body.set(bytes, at);
    at += bytes.length;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const packed = compression.compress(body);
  const out = new Uint8Array(PREFIX + text.length + packed.length);
  const view = new DataView(out.buffer);
  out.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, STATE_VERSION, true);
  view.setUint32(12, text.length, true);
  out.set(text, PREFIX);
  out.set(packed, PREFIX + text.length);
  return out;
}

function bad(problem: string): ViridianError {
  return new ViridianError('badFile', `the saved state ${problem}`);
}

/** @throws ViridianError `badFile`; a file is taken whole or not at all. */
export function decodeSavedState(bytes: Uint8Array, compression: Compression): SavedPartition {
  if (bytes.length < PREFIX || new TextDecoder().decode(bytes.subarray(0, 8)) !== MAGIC) throw bad('is not one of Viridian');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint32(8, true);
  if (version !== STATE_VERSION)
    throw bad(`has version ${version}, and this build reads version ${STATE_VERSION}: use the build that wrote it`);
  const length = view.getUint32(12, true);
  if (PREFIX + length > bytes.length) throw bad('is truncated');
  let header: Header;
  let body: Uint8Array;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(PREFIX, PREFIX + length))) as Header;
    body = compression.decompress(bytes.subarray(PREFIX + length));
  } catch (error) {
    throw new ViridianError('badFile', 'the saved state is damaged', { cause: error });
  }
  const total = header.pages.length * PAGE + header.segments.reduce((n, s) => n + s.length, 0);
  if (total !== body.length) throw bad('is damaged: its length does not fit its header');
  let at = 0;
  const take = (count: number): Uint8Array => {
    at += count;
    return body.subarray(at - count, at);
  };
  const pages = header.pages.map((gpa) => ({ gpa, bytes: take(PAGE) }));
  const segments = header.segments.map((s) => ({ gpa: s.gpa, bytes: take(s.length) }));
  const plan = JSON.parse(JSON.stringify(header.plan), (_key, value: unknown) =>
    typeof value === 'string' && /^\d+n$/.test(value) ? BigInt(value.slice(0, -1)) : value,
  ) as LoadPlan;
  return { config: header.config, time: BigInt(header.time), structs: header.structs, pages, plan: { ...plan, segments } };
}
