import { describe, expect, it } from 'vitest';
import { Flag, Mode, readFlags, Segment, Vector, writeFlags } from '../../vp/state.ts';
import { CODE, FakeMachine, GDT, Selector, STACK_TOP, TSS } from './system.fixture.ts';

const pack = (selector: number, size: number): bigint => BigInt(selector | (size << 16));
const gp = (error: number) => ({ vector: Vector.GP, error });

/** A 32-bit call gate to ring 0 for ring 3, with two parameters. */
function withCallGate(m: FakeMachine, parameters = 2): FakeMachine {
  m.gate(GDT + Selector.GATE, Selector.CODE32, 0x9000n, 0xec, parameters);
  m.memory.setUint32(TSS + 4, 0x6000, true);
  m.memory.setUint16(TSS + 8, Selector.DATA32, true);
  return m;
}

describe('far JMP', () => {
  it('real mode', () => {
    const m = new FakeMachine().real();
    m.run('farJump', 0x10n, pack(0x1234, 2));
    expect([m.vp.rip, m.vp.segmentBase[Segment.CS]]).toEqual([0x10n, 0x12340n]);
    expect(m.run('farJump', 0x10000n, pack(0, 4))).toEqual(gp(0));
  });
  it('goes between 64-bit and compatibility mode', () => {
    const m = new FakeMachine().long();
    m.run('farJump', 0x1234n, pack(Selector.CODE32, 4));
    expect(m.vp.mode & (Mode.LONG64 | Mode.CODE32)).toBe(Mode.CODE32);
    m.run('farJump', 0x4000n, pack(Selector.CODE64, 4));
    expect(m.vp.mode & Mode.LONG64).toBe(Mode.LONG64);
    expect(m.run('farJump', 0x8000_0000_0000n, pack(Selector.CODE64, 8))).toEqual(gp(0));
  });
  it('checks privilege and type', () => {
    const m = new FakeMachine().protected(3);
    expect(m.run('farJump', 0n, pack(Selector.CODE32, 4))).toEqual(gp(Selector.CODE32));
    expect(m.run('farJump', 0n, pack(Selector.DATA32, 4))).toEqual(gp(Selector.DATA32));
    expect(m.run('farJump', 0n, pack(0, 4))).toEqual(gp(0));
    expect(m.run('farJump', 4n, pack(Selector.CONFORMING, 4))).toBe(0n);
    expect(m.vp.segmentSelector[Segment.CS]).toBe(Selector.CONFORMING | 3);
    expect(m.vp.cpl).toBe(3);
  });
  it('refuses code with both L and D', () => {
    const m = new FakeMachine().long();
    m.descriptor(Selector.CODE64, 0, 0xfffff, 0x9a, 0xe);
    expect(m.run('farJump', 0n, pack(Selector.CODE64, 4))).toEqual(gp(Selector.CODE64));
  });
});

describe('far CALL and RET', () => {
  it('at the same level', () => {
    const m = new FakeMachine().protected();
    m.run('farCall', 0x9000n, pack(Selector.CODE32, 4));
    expect([m.u32(STACK_TOP - 4), m.u32(STACK_TOP - 8)]).toEqual([Selector.CODE32, CODE + 2]);
    m.run('farReturn', 4n, 0n);
    expect([m.vp.rip, m.vp.gpr[4]]).toEqual([BigInt(CODE + 2), BigInt(STACK_TOP)]);
  });
  it('through a call gate to ring 0 with parameters, and back', () => {
    const m = withCallGate(new FakeMachine().protected(3));
    m.memory.setUint32(STACK_TOP, 0x1111, true);
    m.memory.setUint32(STACK_TOP + 4, 0x2222, true);
    expect(m.run('farCall', 0n, pack(Selector.GATE | 3, 4))).toBe(0n);
    expect(m.vp.cpl).toBe(0);
    expect(m.vp.rip).toBe(0x9000n);
    const frame = [1, 2, 3, 4, 5, 6].map((i) => m.u32(0x6000 - 4 * i));
    expect(frame).toEqual([Selector.USER_DATA | 3, STACK_TOP, 0x2222, 0x1111, Selector.USER_CODE32 | 3, CODE + 2]);
    m.vp.segmentSelector[Segment.DS] = Selector.DATA32;
    m.vp.segmentAttributes[Segment.DS] = 0xc093;
    expect(m.run('farReturn', 4n, 8n)).toBe(0n);
    expect([m.vp.cpl, m.vp.rip, m.vp.gpr[4]]).toEqual([3, BigInt(CODE + 2), BigInt(STACK_TOP + 8)]);
    expect(m.vp.segmentSelector[Segment.DS]).toBe(0);
  });
  it('reports what is wrong with the inner stack as #TS, and the gate as #GP or #NP', () => {
    const m = withCallGate(new FakeMachine().protected(3));
    m.memory.setUint16(TSS + 8, Selector.USER_DATA, true);
    expect(m.run('farCall', 0n, pack(Selector.GATE, 4))).toEqual({ vector: Vector.TS, error: Selector.USER_DATA });
    m.memory.setUint8(GDT + Selector.GATE + 5, 0x6c);
    expect(m.run('farCall', 0n, pack(Selector.GATE, 4))).toEqual({ vector: Vector.NP, error: Selector.GATE });
    m.memory.setUint8(GDT + Selector.GATE + 5, 0x8c);
    expect(m.run('farCall', 0n, pack(Selector.GATE, 4))).toEqual(gp(Selector.GATE));
    expect(m.vp.cpl).toBe(3);
    expect(m.vp.gpr[4]).toBe(BigInt(STACK_TOP));
  });
  it('a 64-bit gate pushes no parameters and loads a null SS', () => {
    const m = new FakeMachine().long(3);
    m.gate(GDT + Selector.GATE, Selector.CODE64, 0xffff_8000_0000_9000n, 0xec, 0, true);
    m.memory.setBigUint64(TSS + 4, 0x6000n, true);
    expect(m.run('farCall', 0n, pack(Selector.GATE, 4))).toBe(0n);
    expect([m.vp.cpl, m.vp.rip, m.vp.gpr[4]]).toEqual([0, 0xffff_8000_0000_9000n, 0x6000n - 32n]);
    expect(m.vp.segmentSelector[Segment.SS]).toBe(0);
    expect(m.run('farReturn', 8n, 0n)).toBe(0n);
    expect([m.vp.cpl, m.vp.gpr[4]]).toEqual([3, BigInt(STACK_TOP)]);
  });
});

describe('task switches', () => {
  function twoTasks(): FakeMachine {
    const m = new FakeMachine().protected();
    m.memory.setUint8(GDT + Selector.TSS + 5, 0x8b);
    const next = TSS + 0x400;
    m.memory.setUint32(next + 0x20, 0x9000, true);
    m.memory.setUint32(next + 0x24, Flag.CF | 2, true);
    for (let i = 0; i < 8; i++) m.memory.setUint32(next + 0x28 + 4 * i, 0x100 + i, true);
    for (const [i, s] of [Selector.DATA32, Selector.CODE32, Selector.DATA32, Selector.DATA32, 0, 0].entries())
      m.memory.setUint16(next + 0x48 + 4 * i, s, true);
    return m;
  }
  it('CALL nests and IRET returns', () => {
    const m = twoTasks();
    m.vp.gpr[3] = 0xbbbbn;
    expect(m.run('farCall', 0n, pack(Selector.TSS2, 4))).toBe(0n);
    expect(m.vp.rip).toBe(0x9000n);
    expect(m.vp.gpr[3]).toBe(0x103n);
    expect(readFlags(m.vp) & (Flag.NT | Flag.CF)).toBe(Flag.NT | Flag.CF);
    expect(m.memory.getUint16(TSS + 0x400, true)).toBe(Selector.TSS);
    expect([m.memory.getUint8(GDT + Selector.TSS + 5), m.memory.getUint8(GDT + Selector.TSS2 + 5)]).toEqual([
      0x8b, 0x8b,
    ]);
    expect(m.vp.cr0 & 8n).toBe(8n);
    m.vp.nextRip = 0x9001n;
    expect(m.run('iret', 4n)).toBe(0n);
    expect([m.vp.rip, m.vp.gpr[3]]).toEqual([BigInt(CODE + 2), 0xbbbbn]);
    expect(m.memory.getUint8(GDT + Selector.TSS2 + 5)).toBe(0x89);
    expect(m.u32(TSS + 0x400 + 0x20)).toBe(0x9001);
    expect(m.u32(TSS + 0x400 + 0x24) & Flag.NT).toBe(0);
  });
  it('JMP frees the old task; a task gate is a way in', () => {
    const m = twoTasks();
    m.gate(GDT + Selector.TASK_GATE, Selector.TSS2, 0n, 0x85);
    expect(m.run('farJump', 0n, pack(Selector.TASK_GATE, 4))).toBe(0n);
    expect(m.memory.getUint8(GDT + Selector.TSS + 5)).toBe(0x89);
    expect(readFlags(m.vp) & Flag.NT).toBe(0);
    expect(m.run('farJump', 0n, pack(Selector.TSS2, 4))).toEqual(gp(Selector.TSS2));
  });
  it('faults of the new state belong to the new task', () => {
    const m = twoTasks();
    m.memory.setUint16(TSS + 0x400 + 0x50, Selector.USER_DATA, true);
    expect(m.run('farJump', 0n, pack(Selector.TSS2, 4))).toEqual({ vector: Vector.TS, error: Selector.USER_DATA });
    expect(m.vp.rip).toBe(0x9000n);
    expect(m.vp.segmentSelector[Segment.TR]).toBe(Selector.TSS2);
    const small = twoTasks();
    small.descriptor(Selector.TSS2, TSS + 0x400, 0x66, 0x89, 0);
    expect(small.run('farJump', 0n, pack(Selector.TSS2, 4))).toEqual({ vector: Vector.TS, error: Selector.TSS2 });
    expect(small.vp.rip).toBe(BigInt(CODE));
  });
  it('IRET with NT is #GP(0) in IA-32e mode', () => {
    const m = new FakeMachine().long();
    writeFlags(m.vp, Flag.NT);
    expect(m.run('iret', 8n)).toEqual(gp(0));
  });
});
