/** Address translation against the reference in reference.fixture.ts: rights, reserved bits, accessed and dirty flags. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageFlag } from '../memory/layout.ts';
import { Flag, Vector } from '../vp/state.ts';
import { Access } from '../x86/system/context.ts';
import { CR0, CR4, EFER, Machine, type Paging } from './machine.fixture.ts';
import {
  type Controls,
  field,
  HIGHEST,
  type Kind,
  type Level,
  levels,
  NX,
  P,
  PS,
  reference,
  type Tables,
  type Translation,
  U,
  W,
  type Who,
} from './reference.fixture.ts';

const machine = new Machine();
const { vp, ram, engine } = machine;

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
    read: (gpa) =>
      paging === '32-bit' ? BigInt(copy.getUint32(Number(gpa), true)) : copy.getBigUint64(Number(gpa), true),
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
  const same =
    'error' in expected
      ? 'error' in made && made.error === expected.error
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
  paging,
  cr3: BigInt(TABLES),
  wp: true,
  pse: true,
  nxe: true,
  smep: false,
  smap: false,
  ac: false,
  ...more,
});

/** Fills in one path of tables for a linear address; `entry` gives each level's flags. Returns the entries' addresses. */
function path(
  c: Controls,
  linear: bigint,
  depth: number,
  entry: (n: number, leaf: boolean, plain: boolean) => bigint,
): number[] {
  const width = c.paging === '32-bit' ? 4 : 8;
  const places: number[] = [];
  levels(c)
    .slice(0, depth)
    .forEach((level, n) => {
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
        pse: pse === true,
        wp: (controls & 1) !== 0,
        smep: (controls & 2) !== 0,
        smap: (controls & 4) !== 0,
        ac: (controls & 8) !== 0,
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
              path(
                c,
                linear,
                depth,
                (n, leaf, plain) =>
                  P | (plain ? 0n : leaf ? lower : n === 0 || (n === 1 && paging === 'PAE') ? upper : W | U),
              );
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
      path(
        c,
        linear,
        depth,
        (n) => (n === absent ? field(62, 52) | W | U | PS : P | W | U) & (paging === 'PAE' && n === 0 ? P : -1n),
      );
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
          put(
            paging,
            at,
            paging === '32-bit'
              ? BigInt(ram.getUint32(at, true)) | (1n << BigInt(bit))
              : ram.getBigUint64(at, true) | (1n << BigInt(bit)),
          );
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
    for (const at of places.slice(0, -1))
      expect(ram.getUint8(at) & 0x60).toBe(paging === 'PAE' && at < TABLES + 0x1000 ? 0 : 0x20);
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
  const controls = fc.record({
    paging: shape,
    wp: flag,
    pse: flag,
    nxe: flag,
    smep: flag,
    smap: flag,
    ac: flag,
    low: fc.nat(0xfff),
  });
  /** Mostly plain entries, sometimes anything. */
  const bits = fc.tuple(fc.nat(0xff), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat(9));

  it('are the reference ones for random entries', () => {
    const outcomes = new Map<string, number>();
    fc.assert(
      fc.property(
        controls,
        fc.array(bits, { minLength: 4, maxLength: 4 }),
        fc.bigInt({ min: 0n, max: 2n ** 48n - 1n }),
        fc.constantFrom<Kind>('read', 'write', 'fetch'),
        fc.constantFrom<Who>('user', 'supervisor', 'implicit'),
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
              put(
                c.paging,
                at,
                (entry & ~field(HIGHEST, 12)) |
                  FAR |
                  ((entries[n] as [number, bigint, number])[2] === 2 ? 0x2000n : 0n),
              );
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
    expect(places.map((at) => machine.pageFlags(at & ~0xfff) & PageFlag.DIRTY)).toEqual([
      PageFlag.DIRTY,
      PageFlag.DIRTY,
      PageFlag.DIRTY,
      0,
    ]);
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
