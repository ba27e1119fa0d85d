/**
 * The short ways against the operations in TypeScript: from the same state, usual or not, both must leave the same state
 * and the same memory. A traced processor takes no short way, so that is the other side.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE, PageFlag } from '../../memory/layout.ts';
import { CR0, CR4, EFER, Machine } from '../../mmu/machine.fixture.ts';
import { Attribute, Flag, readFlags, Segment, Vector, VpState } from '../../vp/state.ts';
import { operations } from '../operations.ts';
import { deliver } from './interrupts.ts';
import { setSegment, updateMode } from './mode.ts';

let tracing = false;
/** Interrupts delivered, and instructions done, without TypeScript; exceptions delivered by it on the side that need not. */
let short = 0;
let long = 0;
const machine: Machine = new Machine({
  operations,
  platform: {
    get tracing() {
      return tracing;
    },
    onTrace: () => {},
    halt: () => {},
    deliverFault: (context) => {
      if (!tracing) long++;
      return deliver(context, context.vp.faultVector, 'exception', context.vp.faultError) === 'delivered';
    },
  },
});
const { vp, ram, bytes, engine } = machine;

/** One page each, mapped where it is. */
const Page = {
  GDT: 0x1_0000,
  IDT: 0x1_2000,
  TSS: 0x1_4000,
  KERNEL_STACK: 0x1_6000,
  KERNEL_STACK2: 0x1_7000,
  IST: 0x1_8000,
  USER_STACK: 0x1_a000,
  KERNEL_CODE: 0x1_c000,
  USER_CODE: 0x1_e000,
} as const;
const TABLES = 0x1000;
const PT = TABLES + 3 * PAGE;
const USED = 0x2_0000;
const STATE = new Uint8Array(vp.gpr.buffer, vp.gpr.byteOffset, VpState.size);

const [P, W, U] = [1n, 2n, 4n];
const Selector = { KERNEL: 0x10, KERNEL_DATA: 0x18, USER_DATA: 0x28, USER: 0x30, TSS: 0x40 } as const;
const Descriptor = {
  [Selector.KERNEL]: 0x00af_9b00_0000_ffffn,
  [Selector.KERNEL_DATA]: 0x00cf_9300_0000_ffffn,
  [Selector.USER_DATA]: 0x00cf_f300_0000_ffffn,
  [Selector.USER]: 0x00af_fb00_0000_ffffn,
} as const;

const often = <T>(usual: T, ...others: fc.Arbitrary<T>[]): fc.Arbitrary<T> =>
  fc.oneof({ arbitrary: fc.constant(usual), weight: 24 }, ...others.map((arbitrary) => ({ arbitrary, weight: 1 })));
const bit = (bits: number) => fc.integer({ min: 0, max: bits - 1 }).map((n) => 1n << BigInt(n));
const flip = (bits = 64) => often(0n, bit(bits));
const flagBits = fc.subarray([Flag.CF, Flag.PF, Flag.AF, Flag.ZF, Flag.SF, Flag.OF, Flag.IF, Flag.DF, Flag.ID]);
const flags = fc
  .tuple(
    flagBits,
    fc.constantFrom(0, 0, 0, Flag.AC, Flag.AC, Flag.IOPL, Flag.VIF),
    often(0, fc.constantFrom(Flag.NT, Flag.RF)),
  )
  .map(([some, other, rare]) => some.reduce((a, b) => a | b, other | rare | 2));
const selector = often(0, fc.constantFrom(1, 3, Selector.USER_DATA | 3, Selector.KERNEL_DATA, Selector.USER | 3));
const inPage = (page: number, from: number): fc.Arbitrary<bigint> =>
  fc.integer({ min: from, max: PAGE }).map((n) => BigInt(page + n));
const address = (page: number, from = 64): fc.Arbitrary<bigint> =>
  fc.oneof(
    { arbitrary: inPage(page, from), weight: 24 },
    { arbitrary: inPage(page, 0), weight: 1 },
    {
      arbitrary: fc.constantFrom(0n, 8n, 0x8000_0000_0000n, 0xffff_8000_0000_0000n, 0x3_0000n, 2n ** 64n - 8n),
      weight: 1,
    },
  );

const word = fc.oneof(fc.bigInt(0n, 2n ** 64n - 1n), fc.constant(0n));
const common = fc.record({
  cr0: fc.subarray([CR0.WP, CR0.AM]),
  cr4: fc.subarray([CR4.SMAP]),
  flags,
  lazy: fc.tuple(word, word, word, fc.integer({ min: 0, max: 5 })),
  codeFlip: flip(),
  userCodeFlip: flip(),
  dataFlip: flip(),
  userDataFlip: flip(),
  gdtLimit: often(0x7f, fc.constantFrom(0x10, 0x16, 0x17, 0x18, 0x2f, 0x30, 0x37)),
  tables: fc.constantFrom(0n, 0n, 0n, 0n, 0n, 0n, W, U),
  stackPage: often(0n, fc.constantFrom(P, W, U)),
  /** Of the page map: gone, read-only, or with code. */
  backed: often<number>(3, fc.constantFrom(0, PageFlag.PRESENT, 3 | PageFlag.CODE, 3 | PageFlag.DIRTY)),
  dr7: often(0x400n, fc.constantFrom(0x401n, 0x402n, 0x500n)),
  dr0: fc.constantFrom(BigInt(Page.KERNEL_STACK), BigInt(Page.USER_CODE)),
  pendingDebug: often(0, fc.constantFrom(1, 1 << 14)),
  interruptShadow: often(0, fc.constantFrom(1, 2)),
  nmiBlocked: often(0, fc.constant(1)),
  segments: fc.array(fc.tuple(selector, fc.constantFrom(Attribute.UNUSABLE, 0xc0f3, 0xc093, 0xc09f, 0xa0fb)), {
    minLength: 4,
    maxLength: 4,
  }),
});
type Common = typeof common extends fc.Arbitrary<infer T> ? T : never;

function map(page: number, rights: bigint): void {
  ram.setBigUint64(PT + (page / PAGE) * 8, BigInt(page) | rights, true);
}

/** Memory, tables and registers but CS, SS, RIP and RSP. */
function prepare(c: Common): void {
  bytes.fill(0, 0, USED);
  STATE.fill(0);
  machine.codeWritten.length = 0;
  for (let page = 0; page < USED; page += PAGE) machine.setPage(page, PageFlag.PRESENT | PageFlag.WRITABLE);
  machine.setPage(Page.KERNEL_STACK, c.backed);
  for (let n = 0; n < 3; n++) ram.setBigUint64(TABLES + n * PAGE, BigInt(TABLES + (n + 1) * PAGE) | P | W | U, true);
  for (const page of [Page.GDT, Page.IDT, Page.TSS]) map(page, (P | W) ^ c.tables);
  for (const page of [Page.KERNEL_STACK, Page.KERNEL_STACK2, Page.IST]) map(page, (P | W) ^ c.stackPage);
  map(Page.KERNEL_CODE, P);
  // The last page of the lower half: a stack below an address that is not canonical.
  for (const [table, entry] of [
    [0, 255],
    [1, 511],
    [2, 511],
  ] as const)
    ram.setBigUint64(TABLES + table * PAGE + entry * 8, BigInt(TABLES + (table + 1) * PAGE) | P | W | U, true);
  ram.setBigUint64(PT + 511 * 8, BigInt(Page.IST) | P | W, true);
  for (const page of [Page.USER_CODE, Page.USER_STACK]) map(page, P | W | U);
  for (const page of [Page.KERNEL_CODE, Page.USER_CODE]) bytes.fill(0x90, page, page + PAGE);
  const flips = [c.codeFlip, c.dataFlip, c.userDataFlip, c.userCodeFlip];
  for (const [n, [at, d]] of Object.entries(Descriptor).entries())
    ram.setBigUint64(Page.GDT + Number(at), d ^ (flips[n] as bigint), true);
  vp.cr0 = c.cr0.reduce((a, b) => a | b, CR0.PE | CR0.PG);
  vp.cr3 = BigInt(TABLES);
  vp.cr4 = c.cr4.reduce((a, b) => a | b, CR4.PAE);
  vp.efer = EFER.LMA | EFER.NXE;
  vp.flags = (c.flags & (0x3f_7fd5 & ~0x8d5)) | 2;
  [vp.flagResult, vp.flagA, vp.flagB, vp.flagForm] = c.lazy;
  vp.dr[0] = c.dr0;
  vp.dr[6] = 0xffff_0ff0n;
  vp.dr[7] = c.dr7;
  vp.pendingDebug = c.pendingDebug;
  vp.interruptShadow = c.interruptShadow;
  vp.nmiBlocked = c.nmiBlocked;
  setSegment(vp, Segment.GDTR, 0, BigInt(Page.GDT), c.gdtLimit, 0);
  setSegment(vp, Segment.LDTR, 0, 0n, 0, Attribute.UNUSABLE);
  for (const [n, [selected, attributes]] of c.segments.entries())
    setSegment(vp, [Segment.ES, Segment.DS, Segment.FS, Segment.GS][n]!, selected, 0x1234n, 0xffff, attributes);
}

/** CS and SS of a privilege level, 64-bit unless `compatibility`. */
function segments(level: 0 | 1 | 3, compatibility: boolean): void {
  const dpl = level << 5;
  setSegment(vp, Segment.CS, Selector.KERNEL | level, 0n, 0xffff_ffff, (compatibility ? 0xc09b : 0xa09b) | dpl);
  if (level === 0 && !compatibility) setSegment(vp, Segment.SS, 0, 0n, 0, Attribute.UNUSABLE);
  else setSegment(vp, Segment.SS, Selector.KERNEL_DATA | level, 0n, 0xffff_ffff, 0xc093 | dpl);
  updateMode(vp);
}

/** What only counts, serves a run of the interpreter, or may differ on the way; RFLAGS are compared as they are read. */
const INTERNAL = new Set<string>([
  ...['nextRip', 'blockIp', 'attention', 'unwind', 'bounce', 'bounceGpa', 'bounceSize', 'bounceFirst'],
  ...['tlbMisses', 'blockLookups', 'decodes', 'shortWays', 'resumeFlag', 'resumeBudget', 'budget', 'budgetStart'],
  ...['flagResult', 'flagA', 'flagB', 'flagForm', 'flagCarries', 'flagAux'],
]);
/** Faults that are a loop. */
const LOOP = 8;
function outcome(): Record<string, unknown> {
  const state: Record<string, unknown> = { rflags: readFlags(vp) };
  for (const [name, value] of Object.entries(vp))
    if (!INTERNAL.has(name)) state[name] = typeof value === 'object' ? [...value] : value;
  const memory: Record<string, number | string> = {};
  for (let page = 0; page < USED; page += PAGE) {
    memory[`flags ${page.toString(16)}`] = machine.pageFlags(page);
    for (let n = page; n < page + PAGE; n += 8) {
      const word = ram.getBigUint64(n, true);
      if (word !== 0n && word !== 0x9090_9090_9090_9090n) memory[n.toString(16)] = word.toString(16);
    }
  }
  // Where faults go on for ever, their frames come down upon code: how many of these stores found it there is no outcome.
  const codeWritten = Number(vp.faults) > LOOP ? [] : [...machine.codeWritten];
  return { ...state, ...memory, codeWritten };
}

/** What `act` leaves with and without short ways. */
function both(prepared: () => void, act: () => void): [without: unknown, full: unknown] {
  const results = [false, true].map((full) => {
    prepared();
    engine.restart();
    vp.attention = 0;
    tracing = full;
    act();
    return outcome();
  });
  return [results[0], results[1]];
}

const gate = fc.record({
  flip: flip(),
  trap: fc.boolean(),
  ist: often(0, fc.constantFrom(1, 1, 1, 2, 7)),
  ownStack: fc.boolean(),
  offset: fc.oneof(
    { arbitrary: fc.integer({ min: 0, max: PAGE - 64 }).map((n) => BigInt(Page.KERNEL_CODE + n)), weight: 12 },
    { arbitrary: fc.constant(0x8000_0000_0000n), weight: 1 },
  ),
  idtLimit: often(0xfff, fc.integer({ min: 0, max: 0x2ff })),
  tssLimit: often(0x67, fc.integer({ min: 0, max: 0x66 })),
  rsp0: address(Page.KERNEL_STACK),
  ist1: address(Page.IST),
});
type Gate = typeof gate extends fc.Arbitrary<infer T> ? T : never;

function prepareGates(g: Gate): void {
  setSegment(vp, Segment.IDTR, 0, BigInt(Page.IDT), g.idtLimit, 0);
  setSegment(vp, Segment.TR, Selector.TSS, BigInt(Page.TSS), g.tssLimit, 0x8b);
  const type = g.trap ? 0x8f00n : 0x8e00n;
  const low = (g.offset & 0xffffn) | (BigInt(Selector.KERNEL) << 16n);
  const high = (g.offset & 0xffff_0000n) | type;
  for (let vector = 0; vector < 256; vector++) {
    // A page fault in the delivery of something else may find a good stack of its own.
    const ist = BigInt(vector === Vector.PF && g.ownStack ? 2 : g.ist);
    ram.setBigUint64(Page.IDT + vector * 16, (low | ((high | ist) << 32n)) ^ g.flip, true);
    ram.setBigUint64(Page.IDT + vector * 16 + 8, g.offset >> 32n, true);
  }
  ram.setBigUint64(Page.TSS + 4, g.rsp0, true);
  ram.setBigUint64(Page.TSS + 36, g.ist1, true);
  for (let n = 2; n <= 7; n++) ram.setBigUint64(Page.TSS + 28 + 8 * n, BigInt(Page.IST + 0x100 * n), true);
}

const RUNS = { numRuns: 1500 };
const FEWER = { numRuns: 400 };

describe('delivery', () => {
  const source = fc.record({
    level: often<0 | 1 | 3>(3, fc.constant(0), fc.constant(0), fc.constant(0), fc.constant(1)),
    kernel: fc.boolean(),
    compatibility: often(false, fc.constant(true)),
    rsp: address(Page.KERNEL_STACK2),
  });
  type Source = typeof source extends fc.Arbitrary<infer T> ? T : never;
  const from = (s: Source): void => {
    segments(s.kernel ? 0 : s.level, s.compatibility);
    vp.gpr[4] = s.rsp;
    vp.rip = BigInt(vp.cpl === 3 ? Page.USER_CODE : Page.KERNEL_CODE) + 16n;
  };

  it('of an interrupt', () => {
    short = 0;
    fc.assert(
      fc.property(common, gate, source, fc.integer({ min: 32, max: 255 }), (c, g, s, vector) => {
        const [without, full] = both(
          () => {
            prepare(c);
            prepareGates(g);
            from(s);
          },
          () => {
            if (engine.interrupt(vector)) {
              short++;
              return;
            }
            // Shutdown is an outcome as well.
            if (deliver(engine, vector, 'external') === 'shutdown') vp.gpr[15] = 0xdeadn;
            engine.modeRefreshed();
          },
        );
        expect(without).toEqual(full);
      }),
      RUNS,
    );
    expect(short).toBeGreaterThan(RUNS.numRuns / 5);
  });

  /** An instruction at RIP that raises an exception. */
  const CAUSES = {
    ud2: [0x0f, 0x0b],
    // DIV ECX, of zero.
    div: [0xf7, 0xf1],
    // MOV [RBX], EAX: not mapped, and not canonical.
    store: [0x89, 0x03],
    // INT3 and INT1 are no faults; HLT is privileged.
    int3: [0xcc],
    int1: [0xf1],
    hlt: [0xf4],
  } as const;
  it.each(Object.entries(CAUSES))('of an exception: %s', (mnemonic, code) => {
    long = 0;
    let raised = 0;
    fc.assert(
      fc.property(common, gate, source, fc.constantFrom(0x3_0000n, 0x8000_0000_0000n), (c, g, s, rbx) => {
        const [without, full] = both(
          () => {
            prepare(c);
            prepareGates(g);
            from(s);
            bytes.set(code, Number(vp.rip));
            vp.gpr[3] = rbx;
          },
          () => {
            if (engine.run(1) === 2) vp.gpr[15] = 0xdeadn;
            if (!tracing) raised += Number(vp.faults);
          },
        );
        expect(without).toEqual(full);
      }),
      FEWER,
    );
    if (mnemonic !== 'int3' && mnemonic !== 'int1') expect(raised - long).toBeGreaterThan(FEWER.numRuns / 10);
  });

  it('ends a run of nothing but faults', () => {
    const quiet = fc.sample(common, { numRuns: 1, seed: 1 })[0] as Common;
    prepare({
      ...quiet,
      cr4: [],
      flags: 2,
      codeFlip: 0n,
      tables: 0n,
      stackPage: 0n,
      backed: 3,
      dr7: 0x400n,
      gdtLimit: 0x7f,
    });
    const good = fc.sample(gate, { numRuns: 1, seed: 1 })[0] as Gate;
    prepareGates({ ...good, flip: 0n, idtLimit: 0xfff, tssLimit: 0x67, offset: BigInt(Page.KERNEL_CODE), ist: 1 });
    vp.pendingDebug = 0;
    ram.setBigUint64(Page.TSS + 36, BigInt(Page.IST + 0x800), true);
    segments(0, false);
    bytes.set(CAUSES.ud2, Page.KERNEL_CODE);
    vp.rip = BigInt(Page.KERNEL_CODE);
    engine.restart();
    vp.attention = 0;
    tracing = false;
    expect(engine.run(10)).toBe(1);
    expect(vp.faults).toBe(1000n);
    expect(vp.retired).toBe(0n);
    expect(vp.faultVector).toBe(Vector.UD);
  });
});

describe('IRETQ', () => {
  const frame = fc.record({
    cs: often<number>(
      Selector.USER | 3,
      ...[Selector.KERNEL, 0, 3, Selector.USER, Selector.KERNEL | 1, 0x34 | 3].map((n) => fc.constant(n)),
    ),
    ss: often<number>(
      Selector.USER_DATA | 3,
      ...[Selector.KERNEL_DATA, 0, 3, Selector.USER_DATA, 0x2c | 3].map((n) => fc.constant(n)),
    ),
    kernel: fc.option(fc.constantFrom(0, Selector.KERNEL_DATA), { freq: 2 }),
    rip: fc.oneof(
      { arbitrary: fc.integer({ min: 0, max: PAGE - 64 }).map(BigInt), weight: 12 },
      { arbitrary: fc.constant(0x8000_0000_0000n), weight: 1 },
    ),
    image: fc.tuple(flags, often(0, fc.constantFrom(Flag.RF, Flag.RF, Flag.TF, Flag.VM, 1 << 22, 1 << 3))),
    sp: fc.bigInt(0n, 2n ** 64n - 1n),
    rsp: address(Page.KERNEL_STACK, 0),
    compatibility: often(false, fc.constant(true)),
    level: often<0 | 3>(0, fc.constant(3)),
  });

  it('returns', () => {
    short = 0;
    let resumed = 0;
    fc.assert(
      fc.property(common, gate, frame, (c, g, i) => {
        const toKernel = i.kernel !== null;
        const [cs, ss] = toKernel ? [Selector.KERNEL, i.kernel as number] : [i.cs, i.ss];
        const [without, full] = both(
          () => {
            prepare(c);
            prepareGates({ ...g, offset: BigInt(Page.KERNEL_CODE) });
            segments(i.level, i.compatibility);
            vp.gpr[4] = i.rsp;
            const code = i.level === 3 ? Page.USER_CODE : Page.KERNEL_CODE;
            vp.rip = BigInt(code) + 0xff0n;
            bytes.set([0x48, 0xcf], code + 0xff0);
            const target = i.rip + BigInt(toKernel ? Page.KERNEL_CODE : Page.USER_CODE);
            const words = [target, BigInt(cs), BigInt(i.image[0] | i.image[1]), i.sp, BigInt(ss)];
            for (const [n, word] of words.entries()) {
              const at = Number(i.rsp) + 8 * n;
              if (at >= Page.KERNEL_STACK && at < Page.IST) ram.setBigUint64(at, word, true);
            }
          },
          () => {
            if (engine.run(1) === 2) vp.gpr[15] = 0xdeadn;
            // TypeScript's way asks for attention where RF is set, before the next instruction is fetched.
            const resume = vp.flags & Flag.RF;
            const { faults } = vp;
            vp.flags &= ~Flag.RF;
            vp.attention = 0;
            engine.run(0);
            if (vp.faults === faults) vp.flags |= resume;
            if (!tracing && vp.retired === 1n) short++;
            if (!tracing && resume !== 0) resumed++;
          },
        );
        expect(without).toEqual(full);
      }),
      RUNS,
    );
    expect(short).toBeGreaterThan(RUNS.numRuns / 5);
    expect(resumed).toBeGreaterThan(0);
  });
});
