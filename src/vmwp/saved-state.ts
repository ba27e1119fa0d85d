/**
 * A saved partition as bytes, packed: `VIRIDIAN`, then u32 format version, u32 length of the header, u32 length of the body, u32
 * CRC-32 of header and body; then those two, each compressed (Zstandard). The header is JSON: configuration, and every
 * struct of platform state by name and version. The body is the pages of RAM that are not zero, then the segments of the
 * boot image, whose addresses and lengths are in the header. Integers are little-endian. Files have another layout: state-file.ts.
 */
import { isViridianError } from '../contracts/errors.ts';
import type { LoadSegment } from '../firmware/load-plan.ts';
import type { Compression } from '../host/services.ts';
import { PAGE } from '../hypervisor/memory/layout.ts';
import { crc32 } from '../support/codec/crc32.ts';
import type { MachineConfig } from './machine.ts';
import {
  attempt,
  bad,
  badVersion,
  Damage,
  demand,
  isRecord,
  isWhole,
  LONGEST_HEADER,
  MAGIC,
  PACKED_VERSIONS,
  type PlainMachine,
  parseMachine,
  plainMachine,
  type SavedMachine,
} from './saved-header.ts';
import type { MemoryImage } from './state-file.ts';

/** What is written. Raised whenever an older build could misread a state. */
export const STATE_VERSION = 2;
const PREFIX = 24;
/** RAM, the test device's too, is below 4 GiB. */
const ADDRESS_LIMIT = 2 ** 32;

/** Pages that are not all zero, in order of address. */
export type SavedPages = readonly { readonly gpa: number; readonly bytes: Uint8Array }[];

export interface SavedPartition extends SavedMachine {
  readonly memory: SavedPages | MemoryImage;
}

interface Header extends PlainMachine {
  readonly pages: readonly number[];
  readonly segments: readonly { readonly gpa: number; readonly length: number }[];
}

export function encodeSavedState(state: SavedMachine, pages: SavedPages, compression: Compression): Uint8Array {
  const { plan } = state;
  const header: Header = {
    ...plainMachine(state),
    pages: pages.map((p) => p.gpa),
    segments: plan.segments.map((s) => ({ gpa: s.gpa, length: s.bytes.length })),
  };
  const body = new Uint8Array(pages.length * PAGE + plan.segments.reduce((n, s) => n + s.bytes.length, 0));
  let at = 0;
  for (const { bytes } of [...pages, ...plan.segments]) {
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

/** @throws ViridianError `badFile`; a file is taken whole or not at all. */
export function decodeSavedState(bytes: Uint8Array, compression: Compression): SavedPartition {
  if (bytes.length < PREFIX || new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC)
    throw bad('is not one of Viridian');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (i: number): number => view.getUint32(MAGIC.length + i * 4, true);
  if (!PACKED_VERSIONS.includes(word(0))) throw badVersion(word(0));
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
    const machine = parseMachine(header);
    const pages = parsePages(header.pages);
    const segments = parseSegments(header.segments, machine.config);
    const total = pages.length * PAGE + segments.reduce((n, s) => n + s.length, 0);
    const body = attempt('memory', () => compression.decompress(bytes.subarray(bodyAt), total));
    if (total !== body.length) throw new Damage('its length does not fit its header');
    let at = 0;
    const take = (count: number): Uint8Array => {
      at += count;
      return body.subarray(at - count, at);
    };
    return {
      ...machine,
      memory: pages.map((gpa) => ({ gpa, bytes: take(PAGE) })),
      plan: { ...machine.plan, segments: segments.map((s): LoadSegment => ({ gpa: s.gpa, bytes: take(s.length) })) },
    };
  } catch (error) {
    if (error instanceof Damage || isViridianError(error)) throw bad(`is damaged: ${error.message}`, error);
    throw error;
  }
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
