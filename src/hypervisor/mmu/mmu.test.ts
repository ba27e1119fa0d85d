/**
 * Address translation against an independent reading of Intel SDM vol. 3, chapter "Paging", and what the TLB in front of
 * it may and may not change.
 */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { PageFlag } from '../memory/layout.ts';
import { Flag, Vector } from '../vp/state.ts';
import { Access } from '../x86/system/context.ts';
import { CR0, CR4, EFER, Machine, type Paging } from './machine.fixture.ts';

const machine = new Machine();
const { vp, ram, engine } = machine;

// ---- the reference ------------------------------------------------------------------------------------------------------

const P = 1n;
const W = 2n;
const U = 4n;
const A = 0x20n;
const D = 0x40n;
const PS = 0x80n;
const NX = 1n << 63n;

type Kind = 'read' | 'write' | 'fetch';
/** `user` and `supervisor` by CPL; `implicit`: descriptor tables and the like, at any CPL. */
type Who = 'user' | 'supervisor' | 'implicit';
interface Controls {
  readonly paging: Paging;
  readonly cr3: bigint;
  readonly wp: boolean;
  readonly pse: boolean;
  readonly nxe: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly ac: boolean;
}
type Translation = { readonly gpa: bigint } | { readonly error: number };

/** Bits lo to hi. */
function field(hi: number, lo: number): bigint {
  return ((1n << BigInt(hi - lo + 1)) - 1n) << BigInt(lo);
}
/** Physical addresses have 40 bits. */
const HIGHEST = 39;

interface Level {
  /** Linear address bits that select the entry. */
  readonly index: readonly [hi: number, lo: number];
  /** Bits that are reserved where the entry refers to a table, and where it maps a page (undefined: it cannot). */
  readonly table: bigint;
  readonly page: bigint | undefined;
  /** PAE's page-directory pointers grant everything and keep no accessed flag. */
  readonly plain?: boolean;
}

/** SDM vol. 3, figures "Formats of CR3 and Paging-Structure Entries". */
function levels(c: Controls): Level[] {
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

interface Tables {
  read(gpa: bigint): bigint;
  write(gpa: bigint, entry: bigint): void;
}

function reference(c: Controls, tables: Tables, linear: bigint, kind: Kind, who: Who): Translation {
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

// ---- driving the machine -------------------------------------------------------------------------------------------------

/** Tables stand in the first pages; everything else the tests map is far above RAM, and answers with its address. */
const TABLES = 0x1000;
const TABLES_SIZE = 4 * 0x1000;
const FAR = 0x8000_0000n;

const words = new Uint32Array(ram.buffer, ram.byteOffset, (TABLES + TABLES_SIZE) / 4);

/** A copy of the tables for the reference to change. */
function memoryTables(paging: Paging): Tables & { readonly words: Uint32Array } {
  const own = words.slice();
  const copy = new DataView(own.buffer);
  return {
    words: own,
    read: (gpa) => (paging === '32-bit' ? BigInt(copy.getUint32(Number(gpa), true)) : copy.getBigUint64(Number(gpa), true)),
    write: (gpa, entry) => {
      if (paging === '32-bit') copy.setUint32(Number(gpa), Number(entry), true);
      else copy.setBigUint64(Number(gpa), entry, true);
    },
  };
}

function apply(c: Controls, who: Who): void {
  machine.configure(c.paging, who === 'user' ? 3 : 0, {
    cr0: c.wp ? CR0.WP : 0n,
    cr3: c.cr3,
    cr4: (c.pse ? CR4.PSE : 0n) | (c.smep ? CR4.SMEP : 0n) | (c.smap ? CR4.SMAP : 0n),
    efer: c.nxe ? EFER.NXE : 0n,
    flags: c.ac ? Flag.AC | 2 : 2,
  });
}

const ACCESS = { user: Access.USER, supervisor: Access.SUPERVISOR, implicit: Access.SUPERVISOR_SMAP } as const;
const UNTOUCHED_CR2 = 0x5555n;

/** Makes one access of a byte, at an address that translates to above RAM or not at all. */
function access(linear: bigint, kind: Kind, who: Who): Translation {
  machine.mmio.length = 0;
  vp.cr2 = UNTOUCHED_CR2;
  vp.faultVector = 0xff;
  if (kind === 'fetch') {
    // Nothing is there to execute: #UD after a translation that succeeds.
    const raised = machine.run(linear, 1);
    if (raised?.vector === Vector.UD) return { gpa: -1n };
  } else {
    try {
      if (kind === 'read') engine.readLinear(linear, 1, ACCESS[who]);
      else engine.writeLinear(linear, 1, 0x5an, ACCESS[who]);
      const [made] = machine.mmio;
      expect([machine.mmio.length, made?.size, made?.written]).toEqual([1, 1, kind === 'write' ? [0x5a] : undefined]);
      return { gpa: made?.gpa as bigint };
    } catch (error) {
      if (vp.faultVector === 0xff) throw error;
    }
  }
  expect(vp.faultVector).toBe(Vector.PF);
  expect(vp.cr2).toBe(linear);
  return { error: vp.faultError };
}

function check(c: Controls, linear: bigint, kind: Kind, who: Who): Translation {
  const copy = memoryTables(c.paging);
  const expected = reference(c, copy, linear, kind, who);
  const made = access(linear, kind, who);
  if ('gpa' in expected && vp.cr2 !== UNTOUCHED_CR2) throw new Error('CR2 changed without a fault');
  const same = 'error' in expected ? 'error' in made && made.error === expected.error
    : 'gpa' in made && (kind === 'fetch' || made.gpa === expected.gpa);
  if (!same) expect({ c, linear, kind, who, ...made }).toEqual({ c, linear, kind, who, ...expected });
  for (let n = TABLES / 4; n < (TABLES + TABLES_SIZE) / 4; n++) {
    if (words[n] === copy.words[n]) continue;
    const what = { c, linear, kind, who, at: 4 * n };
    expect({ ...what, entry: words[n]?.toString(16) }).toEqual({ ...what, entry: copy.words[n]?.toString(16) });
  }
  return expected;
}

function clearTables(): void {
  machine.bytes.fill(0, TABLES, TABLES + TABLES_SIZE);
}
function put(paging: Paging, at: number, entry: bigint): void {
  if (paging === '32-bit') ram.setUint32(at, Number(entry & 0xffff_ffffn), true);
  else ram.setBigUint64(at, entry, true);
}

/** The shapes of a mapping: at which level the page is, and its linear address. */
const SHAPES: readonly { name: string; paging: Paging; depth: number; pse?: boolean }[] = [
  { name: '32-bit, 4 KiB', paging: '32-bit', depth: 2 },
  { name: '32-bit, 4 MiB', paging: '32-bit', depth: 1, pse: true },
  { name: 'PAE, 4 KiB', paging: 'PAE', depth: 3 },
  { name: 'PAE, 2 MiB', paging: 'PAE', depth: 2 },
  { name: '4-level, 4 KiB', paging: '4-level', depth: 4 },
  { name: '4-level, 2 MiB', paging: '4-level', depth: 3 },
  { name: '4-level, 1 GiB', paging: '4-level', depth: 2 },
];

const plainControls = (paging: Paging, more: Partial<Controls> = {}): Controls => ({
  paging, cr3: BigInt(TABLES), wp: true, pse: true, nxe: true, smep: false, smap: false, ac: false, ...more,
});

/** Fills in one path of tables for a linear address; `entry` gives each level's flags. Returns the entries' addresses. */
function path(c: Controls, linear: bigint, depth: number, entry: (n: number, leaf: boolean, plain: boolean) => bigint): number[] {
  const width = c.paging === '32-bit' ? 4 : 8;
  const places: number[] = [];
  levels(c).slice(0, depth).forEach((level, n) => {
    const leaf = n === depth - 1;
    const large = leaf && depth < levels(c).length;
    const at = TABLES + n * 0x1000 + Number((linear & field(...level.index)) >> BigInt(level.index[1])) * width;
    const target = leaf ? FAR : BigInt(TABLES + (n + 1) * 0x1000);
    put(c.paging, at, target | (large ? PS : 0n) | entry(n, leaf, level.plain === true));
    places.push(at);
  });
  return places;
}

describe.each(SHAPES)('$name pages', ({ paging, depth, pse }) => {
  const linear = paging === '4-level' ? 0xffff_9234_5678_9abcn : 0x9234_5abcn;
  const whos: readonly Who[] = ['user', 'supervisor', 'implicit'];

  it('grant what every combination of rights and controls allows', () => {
    let faults = 0;
    let total = 0;
    for (let controls = 0; controls < 32; controls++) {
      const c = plainControls(paging, {
        pse: pse === true, wp: (controls & 1) !== 0, smep: (controls & 2) !== 0, smap: (controls & 4) !== 0, ac: (controls & 8) !== 0,
        nxe: (controls & 16) !== 0,
      });
      const rights = [0n, W, U, W | U];
      const no = c.nxe && paging !== '32-bit' ? [0n, NX] : [0n];
      for (const who of whos) {
        apply(c, who);
        for (const upper of rights.flatMap((r) => no.map((x) => r | x))) {
          for (const lower of rights.flatMap((r) => no.map((x) => r | x))) {
            for (const kind of ['read', 'write', 'fetch'] as const) {
              if (who === 'implicit' && kind === 'fetch') continue;
              clearTables();
              path(c, linear, depth, (n, leaf, plain) => P | (plain ? 0n : leaf ? lower : n === 0 || (n === 1 && paging === 'PAE') ? upper : W | U));
              if (kind === 'fetch') engine.flushTlb('all');
              if ('error' in check(c, linear, kind, who)) faults++;
              total++;
            }
          }
        }
      }
    }
    // A guard against a test that tests nothing.
    expect(faults / total).toBeGreaterThan(0.1);
    expect(faults / total).toBeLessThan(0.9);
  });

  it('fault with P clear at each level where an entry is not present, whatever else it holds', () => {
    const c = plainControls(paging, { pse: pse === true });
    apply(c, 'user');
    for (let absent = 0; absent < depth; absent++) {
      clearTables();
      path(c, linear, depth, (n) => (n === absent ? field(62, 52) | W | U | PS : P | W | U) & (paging === 'PAE' && n === 0 ? P : -1n));
      expect(check(c, linear, 'write', 'user')).toEqual({ error: 6 });
    }
  });

  it('fault with RSVD for each reserved bit, and ignore all others', () => {
    for (const nxe of [true, false]) {
      const c = plainControls(paging, { pse: pse === true, nxe });
      apply(c, 'supervisor');
      for (let level = 0; level < depth; level++) {
        for (let bit = 8; bit < (paging === '32-bit' ? 32 : 64); bit++) {
          clearTables();
          const places = path(c, linear, depth, (_n, _leaf, plain) => (plain ? P : P | W));
          const at = places[level] as number;
          // The bits that address a table stay.
          if (level < depth - 1 && bit >= 12 && bit <= HIGHEST) continue;
          put(paging, at, paging === '32-bit' ? BigInt(ram.getUint32(at, true)) | (1n << BigInt(bit)) : ram.getBigUint64(at, true) | (1n << BigInt(bit)));
          check(c, linear, 'read', 'supervisor');
        }
      }
    }
  });

  it('have accessed and dirty flags set once, dirty by writes alone', () => {
    const c = plainControls(paging, { pse: pse === true });
    apply(c, 'user');
    clearTables();
    const places = path(c, linear, depth, (_n, _leaf, plain) => (plain ? P : P | W | U));
    const leaf = places.at(-1) as number;
    check(c, linear, 'read', 'user');
    expect(ram.getUint8(leaf) & 0x60).toBe(0x20);
    check(c, linear, 'write', 'user');
    expect(ram.getUint8(leaf) & 0x60).toBe(0x60);
    for (const at of places.slice(0, -1)) expect(ram.getUint8(at) & 0x60).toBe(paging === 'PAE' && at < TABLES + 0x1000 ? 0 : 0x20);
  });

  it('map every byte of the page', () => {
    const c = plainControls(paging, { pse: pse === true });
    apply(c, 'user');
    clearTables();
    path(c, linear, depth, (_n, _leaf, plain) => (plain ? P : P | W | U));
    const low = (levels(c)[depth - 1] as Level).index[1];
    const start = linear & ~field(low - 1, 0);
    for (const offset of [0n, 1n, 0xfffn, field(low - 1, 0), 1n << BigInt(low - 1)])
      expect(check(c, BigInt.asUintN(64, start + offset), 'read', 'user')).toEqual({ gpa: FAR + offset });
  });
});

describe('page walks', () => {
  const shape = fc.constantFrom(...(['32-bit', 'PAE', '4-level'] as const));
  const flag = fc.boolean();
  const controls = fc.record({ paging: shape, wp: flag, pse: flag, nxe: flag, smep: flag, smap: flag, ac: flag, low: fc.nat(0xfff) });
  /** Mostly plain entries, sometimes anything. */
  const bits = fc.tuple(fc.nat(0xff), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat(9));

  it('are the reference ones for random entries', () => {
    const outcomes = new Map<string, number>();
    fc.assert(
      fc.property(
        controls, fc.array(bits, { minLength: 4, maxLength: 4 }), fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }),
        fc.constantFrom<Kind>('read', 'write', 'fetch'), fc.constantFrom<Who>('user', 'supervisor', 'implicit'),
        ({ low, ...rest }, entries, word, kind, someone) => {
          const who = kind === 'fetch' && someone === 'implicit' ? 'supervisor' : someone;
          // CR3's low bits are cache controls, or a PCID; of PAE, part of the address.
          const c: Controls = { ...rest, cr3: BigInt(TABLES) | BigInt(rest.paging === 'PAE' ? low & 0x1f : low) };
          const linear = c.paging === '4-level' ? BigInt.asUintN(64, BigInt.asIntN(48, word)) : word & 0xffff_ffffn;
          clearTables();
          const all = levels(c);
          path(c, linear, all.length, (n, leaf, plain) => {
            const [low8, wild, choice] = entries[n] as [number, bigint, number];
            const present = choice === 0 ? 0n : P;
            if (choice === 1) return present | (wild & ~(leaf ? 0n : field(HIGHEST, 12)));
            const large = BigInt(low8) & PS && choice < 6 ? PS : 0n;
            const flags = (BigInt(low8) & 0x7fn & ~P) | (choice === 9 && c.paging !== '32-bit' ? NX : 0n);
            return plain ? present : present | flags | large;
          });
          // A page at any level must lie above RAM; at upper levels it then is wherever the next table is.
          all.slice(0, -1).forEach((level, n) => {
            const width = c.paging === '32-bit' ? 4 : 8;
            const at = TABLES + n * 0x1000 + Number((linear & field(...level.index)) >> BigInt(level.index[1])) * width;
            const entry = c.paging === '32-bit' ? BigInt(ram.getUint32(at, true)) : ram.getBigUint64(at, true);
            if ((entry & PS) !== 0n && level.page !== undefined)
              put(c.paging, at, (entry & ~field(HIGHEST, 12)) | FAR | ((entries[n] as [number, bigint, number])[2] === 2 ? 0x2000n : 0n));
          });
          apply(c, who);
          const result = check(c, linear, kind, who);
          const what = 'error' in result ? `error ${result.error & 9}` : 'page';
          outcomes.set(what, (outcomes.get(what) ?? 0) + 1);
        },
      ),
      { numRuns: 6000 },
    );
    for (const what of ['error 0', 'error 1', 'error 9', 'page']) expect(outcomes.get(what), what).toBeGreaterThan(300);
  });

  it('are no walks without paging', () => {
    machine.configure('none', 0);
    expect(access(0xfedc_ba98n, 'read', 'supervisor')).toEqual({ gpa: 0xfedc_ba98n });
  });

  it('take 4 MiB pages above 4 GiB from bits 20:13', () => {
    const c = plainControls('32-bit');
    apply(c, 'supervisor');
    clearTables();
    put('32-bit', TABLES + 4 * (0x9234_5abc >>> 22), 0xc000_0000n | (0xa5n << 13n) | PS | P);
    expect(check(c, 0x9234_5abcn, 'read', 'supervisor')).toEqual({ gpa: 0xa5_c034_5abcn });
  });

  it('find no table where no memory is', () => {
    const c = plainControls('4-level', { cr3: 0x1_0000_0000n });
    apply(c, 'supervisor');
    expect(access(0x1000n, 'read', 'supervisor')).toEqual({ error: 0 });
    apply({ ...c, cr3: 0x4000_0000n }, 'supervisor');
    expect(access(0x1000n, 'read', 'supervisor')).toEqual({ error: 0 });
  });

  it('mark pages whose tables they change as stored to, and leave read-only memory as it is', () => {
    const c = plainControls('4-level');
    apply(c, 'supervisor');
    clearTables();
    const places = path(c, 0n, 4, () => P | W);
    for (const at of places) machine.setPage(at & ~0xfff, PageFlag.PRESENT | PageFlag.WRITABLE);
    machine.setPage(TABLES + 0x3000, PageFlag.PRESENT);
    expect(access(5n, 'write', 'supervisor')).toEqual({ gpa: FAR + 5n });
    expect(places.map((at) => machine.pageFlags(at & ~0xfff) & PageFlag.DIRTY)).toEqual([PageFlag.DIRTY, PageFlag.DIRTY, PageFlag.DIRTY, 0]);
    expect(places.map((at) => ram.getUint8(at) & 0x60)).toEqual([0x20, 0x20, 0x20, 0]);
    machine.setPage(TABLES + 0x3000, PageFlag.PRESENT | PageFlag.WRITABLE);
    // Another walk changes nothing, and so stores nothing.
    for (const at of places) machine.setPage(at & ~0xfff, PageFlag.PRESENT | PageFlag.WRITABLE);
    access(5n, 'write', 'supervisor');
    access(5n, 'write', 'supervisor');
    expect(places.map((at) => machine.pageFlags(at & ~0xfff) & PageFlag.DIRTY)).toEqual([0, 0, 0, PageFlag.DIRTY]);
  });

  it('answer the host without a trace', () => {
    const c = plainControls('4-level');
    apply(c, 'supervisor');
    clearTables();
    path(c, 0x7000n, 4, () => P);
    vp.cr2 = UNTOUCHED_CR2;
    expect([engine.translate(0x7123n), engine.translate(0x8000n)]).toEqual([FAR + 0x123n, undefined]);
    expect(vp.cr2).toBe(UNTOUCHED_CR2);
  });
});

// ---- accesses of instructions, through the TLB ------------------------------------------------------------------------------

describe('accesses of instructions', () => {
  const CODE = 0x20_0000n;
  const [ONE, TWO, DEVICE] = [0x40_0000n, 0x80_0000n, FAR];
  /** Linear pages 0x1000 and 0x2000 and so on, through one page table; code at CODE, for users too. */
  const PT = TABLES + 0x3000;
  function map(linear: bigint, frame: bigint, flags = P | W | U): void {
    ram.setBigUint64(PT + 8 * Number(linear >> 12n), frame | flags, true);
  }
  /** `what` [rbx], rax and relatives. */
  const CODES: Record<string, number[]> = {
    load1: [0x8a, 0x03], load2: [0x66, 0x8b, 0x03], load4: [0x8b, 0x03], load8: [0x48, 0x8b, 0x03],
    store1: [0x88, 0x03], store2: [0x66, 0x89, 0x03], store4: [0x89, 0x03], store8: [0x48, 0x89, 0x03],
    add1: [0x00, 0x03], add2: [0x66, 0x01, 0x03], add4: [0x01, 0x03], add8: [0x48, 0x01, 0x03],
    loadX: [0x0f, 0x10, 0x03], storeX: [0x0f, 0x11, 0x03],
    push: [0x50], pop: [0x58], loadSs: [0x36, 0x48, 0x8b, 0x03], loadRbp: [0x48, 0x8b, 0x45, 0x00],
  };
  const starts: Record<string, bigint> = {};
  beforeEach(() => {
    machine.setPage(0x40_0000, PageFlag.PRESENT | PageFlag.WRITABLE);
    machine.configure('4-level', 0, { cr0: CR0.WP, cr3: BigInt(TABLES) });
    clearTables();
    for (let n = 0; n < 3; n++) ram.setBigUint64(TABLES + n * 0x1000, BigInt(TABLES + (n + 1) * 0x1000) | P | W | U, true);
    // CODE through a large page, so that the small ones are the tests'.
    ram.setBigUint64(TABLES + 0x2000 + 8, CODE | PS | P | U, true);
    let at = Number(CODE);
    for (const [name, bytes] of Object.entries(CODES)) {
      starts[name] = BigInt(at);
      machine.bytes.set(bytes, at);
      at += 16;
    }
    map(0x1000n, ONE);
    map(0x2000n, TWO);
    machine.mmio.length = 0;
    for (let i = 0; i < 0x1000; i++) {
      machine.bytes[Number(ONE) + i] = (i * 7 + 1) & 0xff;
      machine.bytes[Number(TWO) + i] = (i * 5 + 2) & 0xff;
    }
  });
  function execute(name: string, address: bigint, rax = 0n): ReturnType<Machine['run']> {
    vp.gpr[3] = address;
    vp.gpr[4] = address;
    vp.gpr[5] = address;
    vp.gpr[0] = rax;
    return machine.run(starts[name] as bigint, 1);
  }
  /** Bytes as the guest sees them across the two pages. */
  function seen(address: bigint, count: number): number[] {
    return Array.from({ length: count }, (_, i) => {
      const at = Number(address) + i;
      return machine.bytes[Number(at < 0x2000 ? ONE : TWO) + (at & 0xfff)] as number;
    });
  }
  const word = (bytes: readonly number[]): bigint => bytes.reduceRight((all, b) => (all << 8n) | BigInt(b), 0n);

  it.each([1, 2, 4, 8])('of %i bytes cross from one frame to another', (size) => {
    const mask = (1n << BigInt(8 * size)) - 1n;
    const value = 0x8877_6655_4433_2211n & mask;
    for (let before = 0; before <= size; before++) {
      const address = 0x2000n - BigInt(before);
      for (let twice = 0; twice < 2; twice++) {
        const old = word(seen(address, size));
        expect(execute(`load${size}`, address)).toBeUndefined();
        expect((vp.gpr[0] as bigint) & mask).toBe(old);
        expect(execute(`add${size}`, address, value)).toBeUndefined();
        expect(word(seen(address, size))).toBe((old + value) & mask);
        expect(execute(`store${size}`, address, value)).toBeUndefined();
        expect(word(seen(address, size))).toBe(value);
        // The neighbours are untouched.
        expect(seen(address - 1n, 1)).not.toEqual([0x11]);
      }
    }
  });

  it('of 16 bytes cross too', () => {
    for (let before = 0n; before <= 16n; before++) {
      const address = 0x2000n - before;
      const old = word(seen(address, 16));
      expect(execute('loadX', address)).toBeUndefined();
      expect((vp.xmm[0] as bigint) | ((vp.xmm[1] as bigint) << 64n)).toBe(old);
      vp.xmm[0] = 0x1122_3344_5566_7788n + before;
      vp.xmm[1] = 0x99aa_bbcc_ddee_ff00n;
      expect(execute('storeX', address)).toBeUndefined();
      expect(word(seen(address, 16))).toBe((0x99aa_bbcc_ddee_ff00n << 64n) | (0x1122_3344_5566_7788n + before));
    }
  });

  it('that cross into a page that is not there change neither', () => {
    const faults: [flags: bigint, error: number][] = [[0n, 2], [P | U, 3]];
    for (const [flags, error] of faults) {
      map(0x2000n, TWO, flags);
      engine.flushTlb('all');
      const before = seen(0x1ff0n, 32);
      for (const name of ['store8', 'add8', 'storeX'])
        expect(execute(name, 0x1ffcn, -1n)).toEqual({ vector: Vector.PF, error, cr2: 0x2000n });
      expect(seen(0x1ff0n, 32)).toEqual(before);
      expect(vp.rip).toBe(starts.storeX);
    }
    map(0x2000n, TWO, 0n);
    engine.flushTlb('all');
    expect(execute('load8', 0x1ffcn)).toEqual({ vector: Vector.PF, error: 0, cr2: 0x2000n });
    map(0x1000n, ONE, 0n);
    map(0x2000n, TWO);
    engine.flushTlb('all');
    expect(execute('store8', 0x1ffcn)).toEqual({ vector: Vector.PF, error: 2, cr2: 0x1ffcn });
  });

  it('reach devices with their size, once for a modification', () => {
    map(0x1000n, DEVICE);
    engine.flushTlb('all');
    for (const size of [1, 2, 4, 8]) {
      machine.mmio.length = 0;
      execute(`load${size}`, 0x1010n);
      execute(`store${size}`, 0x1010n, 0x8877_6655_4433_2211n);
      execute(`add${size}`, 0x1010n, 1n);
      const gpa = DEVICE + 0x10n;
      const read = { gpa, size, written: undefined };
      const bytes = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88].slice(0, size);
      const contents = Array.from({ length: size }, (_, i) => 0x10 + i);
      contents[0] = (contents[0] as number) + 1;
      expect(machine.mmio).toEqual([read, { gpa, size, written: bytes }, read, { gpa, size, written: contents }]);
    }
  });

  it('that cross from memory to a device give each its part', () => {
    map(0x2000n, DEVICE);
    engine.flushTlb('all');
    execute('store8', 0x1ffdn, 0x8877_6655_4433_2211n);
    expect(seen(0x1ffdn, 3)).toEqual([0x11, 0x22, 0x33]);
    expect(machine.mmio).toEqual([{ gpa: DEVICE, size: 5, written: [0x44, 0x55, 0x66, 0x77, 0x88] }]);
    execute('load8', 0x1ffdn);
    // What a device would give to a part of a load is not defined; all ones.
    expect(vp.gpr[0]).toBe(0xffff_ffff_ff33_2211n);
  });

  it('to read-only memory read it and store nowhere', () => {
    machine.setPage(0x40_0000, PageFlag.PRESENT);
    const before = seen(0x1100n, 16);
    execute('load8', 0x1100n);
    expect(vp.gpr[0]).toBe(word(before.slice(0, 8)));
    for (const name of ['store8', 'add8', 'storeX']) expect(execute(name, 0x1100n, 5n)).toBeUndefined();
    execute('store8', 0x1ffcn, -1n);
    expect(seen(0x1100n, 16)).toEqual(before);
    expect(seen(0x2000n, 4)).toEqual([0xff, 0xff, 0xff, 0xff]);
    expect(machine.mmio).toEqual([]);
  });

  it('that store to code tell so each time, before the store', () => {
    machine.setPage(0x40_0000, PageFlag.PRESENT | PageFlag.WRITABLE | PageFlag.CODE);
    machine.codeWritten.length = 0;
    for (const n of [1, 2]) execute('store4', 0x1100n, BigInt(n));
    execute('store4', 0x1ffen, 3n);
    expect(machine.codeWritten).toEqual([[0x40_0100, 4], [0x40_0100, 4], [0x40_0ffe, 2]]);
    expect(seen(0x1ffen, 4)).toEqual([3, 0, 0, 0]);
  });

  it('mark the pages they store to', () => {
    const flags = (): number[] => [0x40_0000, 0x80_0000].map((gpa) => machine.pageFlags(gpa) & PageFlag.DIRTY);
    for (const gpa of [0x40_0000, 0x80_0000]) machine.setPage(gpa, PageFlag.PRESENT | PageFlag.WRITABLE);
    execute('load8', 0x1ffcn);
    expect(flags()).toEqual([0, 0]);
    execute('store8', 0x1000n);
    expect(flags()).toEqual([PageFlag.DIRTY, 0]);
    machine.setPage(0x40_0000, PageFlag.PRESENT | PageFlag.WRITABLE);
    engine.flushWrites();
    execute('store8', 0x1ffcn);
    expect(flags()).toEqual([PageFlag.DIRTY, PageFlag.DIRTY]);
  });

  it.each([
    0x8000_0000_0000n, 0xffff_7fff_ffff_ffffn, 0x8000_0000_0000_0000n, 0x8000_0000_0000_0100n, 0x1_0000_0000_1000n,
    // Addresses of the shapes that empty TLB entries have.
    0x8080_8080_8080_8080n, 0x8080_8080_8080_8088n, 0x8080_8080_8080_9000n, 0x7fff_ffff_ffff_f000n, 0x7f7f_7f7f_7f7f_7f80n,
    // Canonical, and what follows is not.
    0x7fff_ffff_fffcn,
  ])('to the non-canonical %x are #GP, through the stack segment #SS', (address) => {
    for (const again of ['emptied', 'one page dropped', 'stores dropped']) {
      if (again === 'emptied') engine.flushTlb('all');
      else if (again === 'one page dropped') {
        // What was at the page's place in the TLB before must not show.
        execute('store8', 0x1000n);
        for (let n = 0n; n < 1024n; n++) engine.flushTlb('page', n << 12n);
      } else engine.flushWrites();
      for (const name of ['load8', 'store8', 'add8', 'loadX', 'storeX'])
        expect(execute(name, address), `${name}, ${again}`).toEqual({ vector: Vector.GP, error: 0, cr2: vp.cr2 });
      for (const name of ['pop', 'loadRbp'])
        expect(execute(name, address), `${name}, ${again}`).toEqual({ vector: Vector.SS, error: 0, cr2: vp.cr2 });
    }
  });

  it('reach the last canonical byte below the hole and the first above it', () => {
    expect(execute('load1', 0x7fff_ffff_ffffn)?.vector).toBe(Vector.PF);
    expect(execute('load8', 0xffff_8000_0000_0000n)?.vector).toBe(Vector.PF);
    expect(execute('load1', 0xffff_ffff_ffff_ffffn)).toEqual({ vector: Vector.PF, error: 0, cr2: 0xffff_ffff_ffff_ffffn });
  });

  it('are checked for alignment where that is asked for', () => {
    machine.configure('4-level', 3, { cr0: CR0.WP | CR0.AM, cr3: BigInt(TABLES), flags: Flag.AC | 2 });
    expect(execute('load4', 0x1004n)).toBeUndefined();
    expect(execute('load8', 0x1004n)).toMatchObject({ vector: Vector.AC, error: 0 });
    expect(execute('store2', 0x1001n)).toMatchObject({ vector: Vector.AC });
    expect(execute('load1', 0x1001n)).toBeUndefined();
    machine.configure('4-level', 0, { cr0: CR0.WP | CR0.AM, cr3: BigInt(TABLES), flags: Flag.AC | 2 });
    expect(execute('load8', 0x1004n)).toBeUndefined();
  });

  describe('and the TLB', () => {
    const value = (address: bigint): bigint => {
      execute('load8', address);
      return vp.gpr[0] as bigint;
    };

    it('remembers a translation until it is dropped', () => {
      const [one, two] = [value(0x1000n), value(0x2000n)];
      expect(one).not.toBe(two);
      map(0x1000n, TWO);
      map(0x2000n, ONE);
      expect([value(0x1000n), value(0x2000n)]).toEqual([one, two]);
      engine.flushTlb('page', 0x1abcn);
      expect([value(0x1000n), value(0x2000n)]).toEqual([two, two]);
      engine.flushTlb('all');
      expect([value(0x1000n), value(0x2000n)]).toEqual([two, one]);
    });

    it('drops a page for stores as well as loads, and users as well as the supervisor', () => {
      execute('store8', 0x1000n, 1n);
      map(0x1000n, TWO);
      engine.flushTlb('page', 0x1000n);
      execute('store8', 0x1000n, 2n);
      expect([ram.getBigUint64(Number(ONE), true), ram.getBigUint64(Number(TWO), true)]).toEqual([1n, 2n]);
    });

    it('keeps users from what the supervisor has looked up, and stores from what was loaded', () => {
      map(0x1000n, ONE, P | W);
      map(0x2000n, TWO, P | U);
      value(0x1000n);
      value(0x2000n);
      expect(execute('store8', 0x2000n)).toEqual({ vector: Vector.PF, error: 3, cr2: 0x2000n });
      // The privilege level changes with SS; what is in the TLB stays.
      const keep = (cpl: 0 | 3): void => {
        const flush = engine.flushTlb;
        engine.flushTlb = () => {};
        machine.configure('4-level', cpl, { cr0: CR0.WP, cr3: BigInt(TABLES) });
        engine.flushTlb = flush;
      };
      keep(3);
      expect(execute('load8', 0x1000n)).toEqual({ vector: Vector.PF, error: 5, cr2: 0x1000n });
      expect(execute('load8', 0x2000n)).toBeUndefined();
      expect(execute('store8', 0x2000n)).toEqual({ vector: Vector.PF, error: 7, cr2: 0x2000n });
      keep(0);
      expect(execute('load8', 0x1000n)).toBeUndefined();
    });

    it('keeps the supervisor from user pages again when RFLAGS.AC is cleared', () => {
      const smap = (flags: number): void => {
        const flush = engine.flushTlb;
        engine.flushTlb = () => {};
        machine.configure('4-level', 0, { cr0: CR0.WP, cr3: BigInt(TABLES), cr4: CR4.SMAP, flags });
        engine.flushTlb = flush;
      };
      smap(Flag.AC | 2);
      expect(execute('load8', 0x1000n)).toBeUndefined();
      smap(2);
      expect(execute('load8', 0x1000n)).toEqual({ vector: Vector.PF, error: 1, cr2: 0x1000n });
      smap(Flag.AC | 2);
      expect(execute('load8', 0x1000n)).toBeUndefined();
    });

    it('sets the dirty flag at the first store after loads', () => {
      value(0x1000n);
      expect(ram.getUint8(PT + 8) & 0x60).toBe(0x20);
      execute('store1', 0x1000n);
      expect(ram.getUint8(PT + 8) & 0x60).toBe(0x60);
    });

    it('tells pages apart that share a place in it', () => {
      // 1024 places: linear addresses 4 MiB apart meet.
      ram.setBigUint64(TABLES + 0x2000 + 16, BigInt(TABLES + 0x3000) | P | W | U, true);
      map(0x1000n, ONE);
      const alias = 0x40_1000n;
      expect(value(0x1000n)).toBe(value(alias));
      ram.setBigUint64(TABLES + 0x2000 + 16, 0n, true);
      engine.flushTlb('page', alias);
      expect(value(0x1000n)).toBe(word(seen(0x1000n, 8)));
      expect(execute('load8', alias)).toEqual({ vector: Vector.PF, error: 0, cr2: alias });
    });
  });
});
