// Cases that once diverged, kept with the native processor's result, so that they can be replayed on any host.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { undefinedFlags } from './compare.ts';
import { type Divergence, storesMmx } from './comparison.ts';
import type { Case, Result } from './native/protocol.ts';
import { describeDivergence, disassemble, mnemonicOf } from './report.ts';

const FOLDER = new URL('./fixtures/', import.meta.url);

export interface Fixture {
  readonly name: string;
  readonly undefinedFlags: number;
  readonly mnemonics: readonly string[];
  readonly faultedInMmx: boolean;
  readonly case: Case;
  readonly expected: Result;
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

function freeze(value: unknown): Json {
  if (typeof value === 'bigint') return `${value.toString(16)}h`;
  if (value instanceof BigUint64Array) return { quads: [...value].map((v) => v.toString(16)).join(' ') };
  if (value instanceof Uint16Array) return { words: [...value] };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('hex') };
  if (Array.isArray(value)) return value.map(freeze);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, freeze(v)]));
  return value as Json;
}

function thaw(value: Json): unknown {
  if (typeof value === 'string' && /^[0-9a-f]+h$/.test(value)) return BigInt(`0x${value.slice(0, -1)}`);
  if (Array.isArray(value)) return value.map(thaw);
  if (typeof value !== 'object' || value === null) return value;
  if (typeof value.quads === 'string') return BigUint64Array.from(value.quads.split(' ').map((v) => BigInt(`0x${v}`)));
  if (Array.isArray(value.words)) return Uint16Array.from(value.words as number[]);
  // A copy: the words of these bytes are looked at, so they must be aligned.
  if (typeof value.bytes === 'string') return new Uint8Array(Buffer.from(value.bytes, 'hex'));
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, thaw(v)]));
}

function fileOf(d: Divergence): URL {
  const name =
    d.case.pieces.length > 1
      ? 'sequences'
      : mnemonicOf(d)
          .toLowerCase()
          .replace(/[^a-z0-9]/g, '-');
  return new URL(`${name}.json`, FOLDER);
}

/** Appends a divergence to the fixtures of its mnemonic. */
export function addFixture(d: Divergence): void {
  const file = fileOf(d);
  const fixtures = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Json[]) : [];
  const { pieces, ...rest } = d.case;
  const last = pieces.at(-1);
  const fixture = {
    name: pieces.map((piece) => disassemble(d.case, piece)).join('; '),
    undefinedFlags: undefinedFlags(last?.cell.form.options.undefined),
    mnemonics: pieces.map((piece) => piece.cell.form.mnemonic),
    faultedInMmx: d.native.outcome === 'exception' && pieces.some(storesMmx),
    was: describeDivergence(d)
      .split('\n')
      .slice(-d.differences.length)
      .map((line) => line.trim()),
    case: freeze(rest),
    expected: freeze(d.native),
  };
  fixtures.push(fixture);
  writeFileSync(file, `${JSON.stringify(fixtures, undefined, 1)}\n`);
}

export function readFixtures(): Fixture[] {
  if (!existsSync(FOLDER)) return [];
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .flatMap((name) => JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8')) as Json[])
    .map((fixture) => thaw(fixture) as Fixture);
}
