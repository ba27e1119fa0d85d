import { describe, expect, it } from 'vitest';
import { Attribute, Flag, Mode, readFlags, Segment, Vector, writeFlags } from '../../vp/state.ts';
import { debugTrapAfter } from './debug.ts';
import { combine, deliver } from './interrupts.ts';
import { setSegment } from './mode.ts';
import { CODE, FakeMachine, IDT, Selector, STACK_TOP, TSS } from './system.fixture.ts';

const longGate = (m: FakeMachine, vector: number, access = 0x8e, ist = 0, offset = 0xffff_8000_0000_1000n): void => {
  m.gate(IDT + vector * 16, Selector.CODE64, offset, access, ist, true);
};
const gate = (m: FakeMachine, vector: number, access = 0x8e, selector: number = Selector.CODE32): void => {
  m.gate(IDT + vector * 8, selector, 0x9000n, access);
};
const innerStack = (m: FakeMachine): void => {
  m.memory.setUint32(TSS + 4, 0x6000, true);
  m.memory.setUint16(TSS + 8, Selector.DATA32, true);
};

describe('64-bit delivery', () => {
  it('switches stacks from user mode, and IRETQ comes back', () => {
    const m = new FakeMachine().long(3);
    longGate(m, 14);
    m.memory.setBigUint64(TSS + 4, 0x6008n, true);
    writeFlags(m.vp, Flag.IF | Flag.ZF | Flag.TF);
    m.vp.cr2 = 0x1234n;
    expect(deliver(m.context, Vector.PF, 'exception', 6)).toBe('delivered');
    expect([m.vp.rip, m.vp.cpl, m.vp.gpr[4]]).toEqual([0xffff_8000_0000_1000n, 0, 0x6000n - 48n]);
    const frame = [0, 1, 2, 3, 4, 5].map((i) => m.u64(0x6000 - 48 + 8 * i));
    expect(frame).toEqual([
      6n,
      BigInt(CODE),
      BigInt(Selector.USER_CODE64 | 3),
      BigInt(Flag.RF | Flag.IF | Flag.ZF | Flag.TF | 2),
      BigInt(STACK_TOP),
      BigInt(Selector.USER_DATA | 3),
    ]);
    expect(readFlags(m.vp) & (Flag.IF | Flag.TF)).toBe(0);
    expect(m.vp.segmentSelector[Segment.SS]).toBe(0);
    expect((m.vp.segmentAttributes[Segment.SS] as number) & Attribute.UNUSABLE).not.toBe(0);
    m.vp.gpr[4] = 0x6000n - 40n;
    setSegment(m.vp, Segment.GS, Selector.DATA32, 0x12_3456_7000n, 0xffff_ffff, 0xc093);
    expect(m.run('iret', 8n)).toBe(0n);
    expect([m.vp.rip, m.vp.cpl, m.vp.gpr[4]]).toEqual([BigInt(CODE), 3, BigInt(STACK_TOP)]);
    // A segment of the kernel's does not outlive the return; a base set by other means does.
    expect(m.vp.segmentSelector[Segment.GS]).toBe(0);
    expect(m.vp.segmentBase[Segment.GS]).toBe(0x12_3456_7000n);
    expect(readFlags(m.vp)).toBe(Flag.RF | Flag.IF | Flag.ZF | Flag.TF | 2);
  });
  it('aligns the stack without a switch, and takes an IST', () => {
    const m = new FakeMachine().long();
    longGate(m, 0x30);
    m.vp.gpr[4] = 0x6ff9n;
    deliver(m.context, 0x30, 'external');
    expect(m.vp.gpr[4]).toBe(0x6ff0n - 40n);
    longGate(m, 2, 0x8e, 1);
    m.memory.setBigUint64(TSS + 36, 0x5000n, true);
    deliver(m.context, 2, 'nmi');
    expect(m.vp.gpr[4]).toBe(0x5000n - 40n);
    expect(m.vp.nmiBlocked).toBe(1);
    m.run('iret', 8n);
    expect(m.vp.nmiBlocked).toBe(0);
  });
  it("IRETQ to a null SS at CPL 0, but not to CPL 3; a non-canonical RIP is the kernel's fault", () => {
    const m = new FakeMachine().long();
    const frame = (words: readonly bigint[]): void => {
      m.vp.gpr[4] = 0x6000n;
      words.forEach((w, i) => {
        m.memory.setBigUint64(0x6000 + 8 * i, w, true);
      });
    };
    frame([0x4000n, BigInt(Selector.CODE64), 2n, 0x5000n, 0n]);
    expect(m.run('iret', 8n)).toBe(0n);
    expect(m.vp.gpr[4]).toBe(0x5000n);
    frame([0x4000n, BigInt(Selector.USER_CODE64 | 3), 2n, 0x5000n, 3n]);
    expect(m.run('iret', 8n)).toEqual({ vector: Vector.GP, error: 0 });
    frame([0x8000_0000_0000n, BigInt(Selector.USER_CODE64 | 3), 2n, 0x5000n, BigInt(Selector.USER_DATA | 3)]);
    expect(m.run('iret', 8n)).toEqual({ vector: Vector.GP, error: 0 });
    expect(m.vp.cpl).toBe(0);
  });
  it('IRET to 16-bit SS in compatibility mode moves SP only', () => {
    const m = new FakeMachine().long();
    m.descriptor(0x90, 0, 0xffff, 0xf2, 0);
    m.vp.gpr[4] = 0x6000n;
    [0x4000n, BigInt(Selector.USER_CODE32 | 3), 2n, 0x1234_5678n, 0x93n].forEach((w, i) => {
      m.memory.setBigUint64(0x6000 + 8 * i, w, true);
    });
    expect(m.run('iret', 8n)).toBe(0n);
    expect(m.vp.gpr[4]).toBe(0x5678n);
    expect(m.vp.mode & (Mode.LONG64 | Mode.STACK32)).toBe(0);
  });
  it('INT n checks the gate, the processor does not', () => {
    const m = new FakeMachine().long(3);
    longGate(m, 0x80);
    m.memory.setBigUint64(TSS + 4, 0x6000n, true);
    expect(m.run('int', 0x80n)).toEqual({ vector: Vector.GP, error: 0x80 * 8 + 2 });
    longGate(m, 0x80, 0xee);
    expect(m.run('int', 0x80n)).toBe(0n);
    expect(m.u64(0x6000 - 40)).toBe(BigInt(CODE + 2));
    expect(debugTrapAfter(m.vp, true)).toBe(0);
  });
  it('INT1 reports the breakpoints that a load of SS has held back; INT n leaves them to a #DB of their own', () => {
    for (const [name, held, dr6] of [
      ['int1', 0, 0xffff_0ff2n],
      ['int', 2, 0xffff_0ff0n],
    ] as const) {
      const m = new FakeMachine().long();
      longGate(m, 1);
      m.vp.dr[6] = 0xffff_0ff0n;
      m.vp.pendingDebug = 2;
      expect(m.run(name, 1n)).toBe(0n);
      expect(m.vp.dr[6]).toBe(dr6);
      expect(debugTrapAfter(m.vp, false)).toBe(held);
    }
  });
});

describe('faults in delivery', () => {
  it('combine as the table says', () => {
    expect(combine(Vector.GP, Vector.NP)).toBe(Vector.DF);
    expect(combine(Vector.GP, Vector.PF)).toBe(Vector.PF);
    expect(combine(Vector.PF, Vector.GP)).toBe(Vector.DF);
    expect(combine(Vector.PF, Vector.PF)).toBe(Vector.DF);
    expect(combine(Vector.UD, Vector.GP)).toBe(Vector.GP);
    expect(combine(Vector.DF, Vector.PF)).toBe(-1);
    expect(combine(Vector.DF, Vector.UD)).toBe(Vector.UD);
  });
  it('double fault with error code 0, then shutdown', () => {
    const m = new FakeMachine().long();
    longGate(m, 8);
    expect(deliver(m.context, Vector.GP, 'exception', 0)).toBe('delivered');
    expect(m.u64(Number(m.vp.gpr[4]))).toBe(0n);
    const none = new FakeMachine().long();
    expect(deliver(none.context, Vector.UD, 'exception')).toBe('shutdown');
    expect(deliver(none.context, 0x40, 'external')).toBe('shutdown');
  });
  it('an external interrupt without a gate is #GP with EXT set', () => {
    const m = new FakeMachine().long();
    longGate(m, 13);
    deliver(m.context, 0x40, 'external');
    expect(m.u64(Number(m.vp.gpr[4]))).toBe(BigInt(0x40 * 8 + 3));
  });
  it("a page fault on the handler's stack becomes a double fault", () => {
    const m = new FakeMachine().long(3);
    for (const v of [8, 13, 14]) longGate(m, v, 0x8e, v === 8 ? 1 : 0);
    m.memory.setBigUint64(TSS + 4, 0x6000n, true);
    m.memory.setBigUint64(TSS + 36, 0xc000n, true);
    m.absent.add(5);
    expect(deliver(m.context, Vector.PF, 'exception', 4)).toBe('delivered');
    expect(m.vp.gpr[4]).toBe(0xc000n - 48n);
    expect(m.vp.cr2 >> 12n).toBe(5n);
  });
});

describe('protected and real mode', () => {
  it('16- and 32-bit frames at the same level', () => {
    const m = new FakeMachine().protected();
    gate(m, 0x20, 0x8f);
    writeFlags(m.vp, Flag.IF);
    deliver(m.context, 0x20, 'external');
    expect([1, 2, 3].map((i) => m.u32(STACK_TOP - 4 * i))).toEqual([Flag.IF | 2, Selector.CODE32, CODE]);
    expect(m.vp.flags & Flag.IF).toBe(Flag.IF);
    expect(m.run('iret', 4n)).toBe(0n);
    expect(m.vp.gpr[4]).toBe(BigInt(STACK_TOP));
    gate(m, 0x21, 0x86);
    deliver(m.context, 0x21, 'external');
    expect(m.memory.getUint16(STACK_TOP - 6, true)).toBe(CODE);
    expect(m.vp.flags & Flag.IF).toBe(0);
  });
  it('to an inner level, and #TS where the TSS has no stack', () => {
    const m = new FakeMachine().protected(3);
    gate(m, 13);
    innerStack(m);
    deliver(m.context, Vector.GP, 'exception', 0x18);
    expect([1, 2, 4, 5, 6].map((i) => m.u32(0x6000 - 4 * i))).toEqual([
      Selector.USER_DATA | 3,
      STACK_TOP,
      Selector.USER_CODE32 | 3,
      CODE,
      0x18,
    ]);
    const bad = new FakeMachine().protected(3);
    gate(bad, 0x20);
    gate(bad, 10);
    bad.vp.segmentLimit[Segment.TR] = 8;
    expect(deliver(bad.context, 0x20, 'external')).toBe('shutdown');
  });
  it('virtual-8086 mode: IOPL, the nine-word frame, and the way back', () => {
    const m = new FakeMachine().v86(0);
    expect(m.run('int', 0x20n)).toEqual({ vector: Vector.GP, error: 0 });
    m.vp.flags |= Flag.IOPL;
    gate(m, 0x20, 0xee);
    innerStack(m);
    expect(m.run('int', 0x20n)).toBe(0n);
    expect(m.vp.mode & Mode.V86).toBe(0);
    expect([1, 2, 3, 4].map((i) => m.u32(0x6000 - 4 * i))).toEqual([0x105, 0x104, 0x103, 0x100]);
    expect(m.vp.segmentSelector[Segment.DS]).toBe(0);
    expect(m.vp.gpr[4]).toBe(0x6000n - 36n);
    expect(m.run('iret', 4n)).toBe(0n);
    expect(m.vp.mode & Mode.V86).toBe(Mode.V86);
    expect(m.vp.segmentBase[Segment.GS]).toBe(0x1050n);
    expect([m.vp.rip, m.vp.gpr[4]]).toEqual([BigInt(CODE + 2), BigInt(STACK_TOP)]);
  });
  it('real mode: vector table, 16-bit frame, IRET', () => {
    const m = new FakeMachine().real();
    m.memory.setUint32(0x10 * 4, 0xf000_1234, true);
    writeFlags(m.vp, Flag.IF | Flag.CF);
    expect(m.run('int', 0x10n)).toBe(0n);
    expect([m.vp.rip, m.vp.segmentBase[Segment.CS]]).toEqual([0x1234n, 0xf0000n]);
    expect(m.vp.flags & Flag.IF).toBe(0);
    m.run('iret', 2n);
    expect([m.vp.rip, m.vp.gpr[4], readFlags(m.vp)]).toEqual([
      BigInt(CODE + 2),
      BigInt(STACK_TOP),
      Flag.IF | Flag.CF | 2,
    ]);
    m.vp.segmentLimit[Segment.IDTR] = 0x10;
    expect(deliver(m.context, Vector.UD, 'exception')).toBe('shutdown');
  });
  it("a task gate pushes the error code on the new task's stack", () => {
    const m = new FakeMachine().protected();
    m.gate(IDT + 8 * 13, Selector.TSS2, 0n, 0x85);
    const next = TSS + 0x400;
    m.memory.setUint32(next + 0x20, 0x9000, true);
    m.memory.setUint32(next + 0x38, 0x5000, true);
    for (const [i, s] of [Selector.DATA32, Selector.CODE32, Selector.DATA32, Selector.DATA32].entries())
      m.memory.setUint16(next + 0x48 + 4 * i, s, true);
    expect(deliver(m.context, Vector.GP, 'exception', 0x50)).toBe('delivered');
    expect([m.vp.rip, m.u32(0x4ffc), m.vp.gpr[4]]).toEqual([0x9000n, 0x50, 0x4ffcn]);
    expect(m.u32(TSS + 0x20)).toBe(CODE);
  });
});
