/**
 * An independent reading of Intel SDM vol. 3, chapter "Paging", for the tests: which address or page fault a linear
 * address translates to, and which entries become accessed and dirty. Physical addresses have 40 bits.
 */
import type { Paging } from './machine.fixture.ts';

export const P = 1n;
export const W = 2n;
export const U = 4n;
export const A = 0x20n;
export const D = 0x40n;
export const PS = 0x80n;
export const NX = 1n << 63n;

export type Kind = 'read' | 'write' | 'fetch';
/** `user` and `supervisor` by CPL; `implicit`: descriptor tables and the like, at any CPL. */
export type Who = 'user' | 'supervisor' | 'implicit';
export interface Controls {
  readonly paging: Paging;
  readonly cr3: bigint;
  readonly wp: boolean;
  readonly pse: boolean;
  readonly nxe: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly ac: boolean;
}
export type Translation = { readonly gpa: bigint } | { readonly error: number };

/** Bits lo to hi. */
export function field(hi: number, lo: number): bigint {
  return ((1n << BigInt(hi - lo + 1)) - 1n) << BigInt(lo);
}
/** Physical addresses have 40 bits. */
export const HIGHEST = 39;

export interface Level {
  /** Linear address bits that select the entry. */
  readonly index: readonly [hi: number, lo: number];
  /** Bits that are reserved where the entry refers to a table, and where it maps a page (undefined: it cannot). */
  readonly table: bigint;
  readonly page: bigint | undefined;
  /** PAE's page-directory pointers grant everything and keep no accessed flag. */
  readonly plain?: boolean;
}

/** SDM vol. 3, figures "Formats of CR3 and Paging-Structure Entries". */
export function levels(c: Controls): Level[] {
  const nx = c.nxe ? 0n : NX;
  if (c.paging === '32-bit')
    return [
      { index: [31, 22], table: 0n, page: c.pse ? field(21, 21) : undefined },
      { index: [21, 12], table: 0n, page: 0n },
    ];
  if (c.paging === 'PAE') {
    const beyond = field(62, HIGHEST + 1);
    return [
      { index: [31, 30], table: NX | beyond | field(8, 5) | field(2, 1), page: undefined, plain: true },
      { index: [29, 21], table: nx | beyond, page: nx | beyond | field(20, 13) },
      { index: [20, 12], table: 0n, page: nx | beyond },
    ];
  }
  const beyond = field(51, HIGHEST + 1);
  return [
    { index: [47, 39], table: nx | beyond | PS, page: undefined },
    { index: [38, 30], table: nx | beyond, page: nx | beyond | field(29, 13) },
    { index: [29, 21], table: nx | beyond, page: nx | beyond | field(20, 13) },
    { index: [20, 12], table: 0n, page: nx | beyond },
  ];
}

export interface Tables {
  read(gpa: bigint): bigint;
  write(gpa: bigint, entry: bigint): void;
}

export function reference(c: Controls, tables: Tables, linear: bigint, kind: Kind, who: Who): Translation {
  const base = (who === 'user' ? 4 : 0) | (kind === 'write' ? 2 : 0);
  // The instruction bit exists with SMEP, or where XD does.
  const fetchBit = kind === 'fetch' && (c.smep || (c.nxe && c.paging !== '32-bit')) ? 16 : 0;
  const fault = (bits: number): Translation => ({ error: base | fetchBit | bits });
  const all = levels(c);
  let table = c.cr3 & (c.paging === 'PAE' ? field(31, 5) : c.paging === '32-bit' ? field(31, 12) : field(HIGHEST, 12));
  let [writable, user, executable] = [true, true, true];
  for (const [n, level] of all.entries()) {
    const width = c.paging === '32-bit' ? 4n : 8n;
    const at = table + ((linear & field(...level.index)) >> BigInt(level.index[1])) * width;
    const entry = tables.read(at);
    if ((entry & P) === 0n) return fault(0);
    const last = n === all.length - 1;
    const leaf = last || ((entry & PS) !== 0n && level.page !== undefined);
    if ((entry & ((leaf ? level.page : level.table) as bigint)) !== 0n) return fault(9);
    if (!level.plain) {
      writable &&= (entry & W) !== 0n;
      user &&= (entry & U) !== 0n;
      executable &&= !c.nxe || (entry & NX) === 0n;
    }
    if (!leaf) {
      if (!level.plain) tables.write(at, entry | A);
      table = entry & field(HIGHEST, 12);
      continue;
    }
    if (who === 'user' ? !allowedUser() : !allowedSupervisor()) return fault(1);
    tables.write(at, entry | A | (kind === 'write' ? D : 0n));
    const low = level.index[1];
    const offset = linear & field(low - 1, 0);
    if (low === 22) return { gpa: (entry & field(31, 22)) | ((entry & field(20, 13)) << 19n) | offset };
    return { gpa: (entry & field(HIGHEST, low)) | offset };
  }
  throw new Error('no leaf');

  /** SDM vol. 3, "Determination of Access Rights". */
  function allowedUser(): boolean {
    if (!user) return false;
    return kind === 'read' || (kind === 'write' ? writable : executable);
  }
  function allowedSupervisor(): boolean {
    if (kind === 'fetch') return executable && !(user && c.smep);
    if (user && c.smap && (who === 'implicit' || !c.ac)) return false;
    return kind === 'read' || writable || !c.wp;
  }
}
