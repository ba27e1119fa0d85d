import { describe, expect, it } from 'vitest';
import { Attribute, Flag, Mode, readFlags, Segment, Vector } from '../../vp/state.ts';
import { Shadow, updateMode } from './mode.ts';
import { FakeMachine, GDT, Selector } from './system.fixture.ts';

const load = (m: FakeMachine, segment: number, selector: number) =>
  m.run('moveSegment', BigInt(segment), BigInt(selector));
const gp = (error: number) => ({ vector: Vector.GP, error });

describe('updateMode', () => {
  it('tells the modes apart', () => {
    expect(new FakeMachine().real().vp.mode).toBe(0);
    expect(new FakeMachine().protected().vp.mode).toBe(Mode.PROTECTED | Mode.CODE32 | Mode.STACK32);
    expect(new FakeMachine().long(3).vp.mode).toBe(Mode.PROTECTED | Mode.LONG | Mode.LONG64 | Mode.USER);
    expect(new FakeMachine().v86().vp.mode).toBe(Mode.PROTECTED | Mode.V86 | Mode.USER);
  });
  it('chooses the TLB by CPL, SMAP and AC, and checks alignment at CPL 3', () => {
    const m = new FakeMachine().long();
    const context = (): number => {
      updateMode(m.vp);
      return m.vp.tlbContext;
    };
    expect(context()).toBe(1);
    m.vp.cr4 |= 1n << 21n;
    expect(context()).toBe(2);
    m.vp.flags |= Flag.AC;
    expect(context()).toBe(1);
    const user = new FakeMachine().long(3);
    expect(user.vp.tlbContext).toBe(0);
    user.vp.flags |= Flag.AC;
    user.vp.cr0 |= 1n << 18n;
    updateMode(user.vp);
    expect(user.vp.tlbContext).toBe(3);
  });
});

describe('segment loads', () => {
  it('real mode keeps the limit (unreal mode)', () => {
    const m = new FakeMachine().real();
    m.vp.segmentLimit[Segment.DS] = 0xffff_ffff;
    load(m, Segment.DS, 0x1234);
    expect(m.vp.segmentBase[Segment.DS]).toBe(0x12340n);
    expect(m.vp.segmentLimit[Segment.DS]).toBe(0xffff_ffff);
  });
  it('marks the descriptor accessed and fills the cache', () => {
    const m = new FakeMachine().protected();
    expect(load(m, Segment.DS, Selector.DATA32)).toBe(0n);
    expect(m.memory.getUint8(GDT + Selector.DATA32 + 5)).toBe(0x93);
    expect(m.vp.segmentLimit[Segment.DS]).toBe(0xffff_ffff);
    expect(m.vp.segmentAttributes[Segment.DS]).toBe(0xc093);
  });
  it('checks privilege, type, presence and the table limit', () => {
    const m = new FakeMachine().protected(3);
    expect(load(m, Segment.DS, Selector.DATA32)).toEqual(gp(Selector.DATA32));
    expect(load(m, Segment.DS, Selector.DATA32 | 3)).toEqual(gp(Selector.DATA32));
    expect(load(m, Segment.DS, Selector.CONFORMING | 3)).toBe(0n);
    expect(load(m, Segment.DS, 0x108)).toEqual(gp(0x108));
    expect(load(m, Segment.DS, 0x0f)).toEqual(gp(0x0c));
    expect(load(m, Segment.DS, Selector.TSS)).toEqual(gp(Selector.TSS));
    expect(load(m, Segment.CS, Selector.USER_CODE32)).toEqual({ vector: Vector.UD, error: -1 });
    const k = new FakeMachine().protected();
    expect(load(k, Segment.DS, Selector.NOT_PRESENT)).toEqual({ vector: Vector.NP, error: Selector.NOT_PRESENT });
    expect(load(k, Segment.SS, Selector.NOT_PRESENT)).toEqual({ vector: Vector.SS, error: Selector.NOT_PRESENT });
  });
  it('null: clears data segments; SS only in 64-bit mode below CPL 3 with RPL = CPL', () => {
    const m = new FakeMachine().long();
    expect(load(m, Segment.FS, 3)).toBe(0n);
    expect((m.vp.segmentAttributes[Segment.FS] as number) & Attribute.UNUSABLE).not.toBe(0);
    expect(m.vp.segmentSelector[Segment.FS]).toBe(3);
    expect(load(m, Segment.SS, 0)).toBe(0n);
    expect(m.vp.cpl).toBe(0);
    expect(load(m, Segment.SS, 1)).toEqual(gp(0));
    expect(load(new FakeMachine().long(3), Segment.SS, 3)).toEqual(gp(0));
    expect(load(new FakeMachine().protected(), Segment.SS, 0)).toEqual(gp(0));
  });
  it('MOV SS casts a shadow', () => {
    const m = new FakeMachine().protected();
    load(m, Segment.SS, Selector.DATA32);
    expect(m.vp.interruptShadow).toBe(Shadow.SS);
  });
});

describe('system segments', () => {
  it('LTR makes the TSS busy, and refuses a busy one', () => {
    const m = new FakeMachine().long();
    expect(m.run('ltr', BigInt(Selector.TSS))).toBe(0n);
    expect(m.memory.getUint8(GDT + Selector.TSS + 5)).toBe(0x8b);
    expect(m.run('ltr', BigInt(Selector.TSS))).toEqual(gp(Selector.TSS));
    expect(m.run('ltr', 0n)).toEqual(gp(0));
  });
  it('reads 16-byte descriptors in IA-32e mode', () => {
    const m = new FakeMachine().long();
    m.memory.setUint32(GDT + Selector.TSS + 8, 0xffff_8000, true);
    m.run('ltr', BigInt(Selector.TSS));
    expect(m.vp.segmentBase[Segment.TR]).toBe(0xffff_8000_0000_3000n);
    const bad = new FakeMachine().long();
    bad.memory.setUint32(GDT + Selector.TSS + 8, 0x1234_5678, true);
    expect(bad.run('ltr', BigInt(Selector.TSS))).toEqual(gp(Selector.TSS));
  });
  it('LLDT: null makes the LDT unusable, the wrong type faults', () => {
    const m = new FakeMachine().protected();
    expect(m.run('lldt', BigInt(Selector.LDT))).toBe(0n);
    expect(m.vp.segmentBase[Segment.LDTR]).toBe(0x5000n);
    expect(m.run('lldt', BigInt(Selector.DATA32))).toEqual(gp(Selector.DATA32));
    m.run('lldt', 0n);
    expect(load(m, Segment.DS, 0x0c)).toEqual(gp(0x0c));
  });
  it('LGDT needs CPL 0 and a canonical base', () => {
    const m = new FakeMachine().long();
    expect(m.run('lgdt', 0x7fn, 0x8000_0000_0000n)).toEqual(gp(0));
    expect(m.run('lgdt', 0x7fn, 0xffff_8000_0000_0000n)).toBe(0n);
    expect(new FakeMachine().long(3).run('lgdt', 0n, 0n)).toEqual(gp(0));
  });
});

describe('LAR, LSL, VERR, VERW, ARPL', () => {
  const zf = (m: FakeMachine): boolean => (readFlags(m.vp) & Flag.ZF) !== 0;
  it('give rights and limit of what is visible', () => {
    const m = new FakeMachine().protected();
    expect(m.run('lar', BigInt(Selector.CODE32), 7n)).toBe(0xcf9a00n);
    expect(zf(m)).toBe(true);
    expect(m.run('lsl', BigInt(Selector.CODE16), 7n)).toBe(0xffffn);
    expect(m.run('lsl', BigInt(Selector.CODE32), 7n)).toBe(0xffff_ffffn);
    expect(m.run('lar', 0n, 7n)).toBe(7n);
    expect(zf(m)).toBe(false);
    const user = new FakeMachine().protected(3);
    expect(user.run('lar', BigInt(Selector.CODE32), 7n)).toBe(7n);
    expect(user.run('lar', BigInt(Selector.CONFORMING), 7n)).toBe(0xcf9e00n);
  });
  it('verify', () => {
    const m = new FakeMachine().protected();
    m.run('verw', BigInt(Selector.DATA32));
    expect(zf(m)).toBe(true);
    m.run('verw', BigInt(Selector.CODE32));
    expect(zf(m)).toBe(false);
    m.run('verr', BigInt(Selector.CODE32));
    expect(zf(m)).toBe(true);
  });
  it('LAR is #UD in real mode', () => {
    expect(new FakeMachine().real().run('lar', 8n)).toEqual({ vector: Vector.UD, error: -1 });
  });
});
