import { describe, expect, it } from 'vitest';
import { Activity, Flag, Mode, readFlags, Segment, Vector, writeFlags } from '../../vp/state.ts';
import { codeBreakpoints, Dr6, debugTrapAfter, noteDataAccess } from './debug.ts';
import { Cr0, Cr4, Efer, Shadow } from './mode.ts';
import { FakeMachine, TSS } from './system.fixture.ts';

const gp = { vector: Vector.GP, error: 0 };
const ud = { vector: Vector.UD, error: -1 };
const PG = BigInt(Cr0.PG);

describe('control registers', () => {
  it('paging activates and deactivates IA-32e mode', () => {
    const m = new FakeMachine().protected();
    const on = m.vp.cr0 | PG;
    m.run('wrmsr', 0xc000_0080n, BigInt(Efer.LME));
    expect(m.run('writeCr', 0n, on)).toEqual(gp);
    m.run('writeCr', 4n, BigInt(Cr4.PAE));
    expect(m.run('writeCr', 0n, on)).toBe(0n);
    expect(m.vp.efer).toBe(BigInt(Efer.LME | Efer.LMA));
    expect(m.vp.mode & (Mode.LONG | Mode.LONG64)).toBe(Mode.LONG);
    expect(m.events).toContain('flush all');
    expect(m.run('wrmsr', 0xc000_0080n, 0n)).toEqual(gp);
    expect(m.run('writeCr', 4n, 0n)).toEqual(gp);
    expect(m.run('writeCr', 0n, on & ~PG)).toBe(0n);
    expect(m.vp.efer).toBe(BigInt(Efer.LME));
    expect(new FakeMachine().long().run('writeCr', 0n, 1n)).toEqual(gp);
  });
  it('refuses impossible CR0 and CR4 values', () => {
    const m = new FakeMachine().real();
    expect(m.run('writeCr', 0n, PG)).toEqual(gp);
    expect(m.run('writeCr', 0n, BigInt(Cr0.NW))).toEqual(gp);
    expect(m.run('writeCr', 0n, 1n << 32n)).toEqual(gp);
    expect(m.run('writeCr', 4n, 1n << 22n)).toEqual(gp);
    expect(m.run('writeCr', 4n, BigInt(Cr4.PCIDE))).toEqual(gp);
    expect(m.run('writeCr', 5n, 0n)).toEqual(ud);
    m.run('writeCr', 0n, 1n);
    expect(m.vp.cr0).toBe(BigInt(Cr0.PE | Cr0.ET));
  });
  it('LMSW sets PE and does not clear it', () => {
    const m = new FakeMachine().real();
    m.run('lmsw', 0xffffn);
    expect(m.vp.cr0).toBe(0x1fn);
    m.run('lmsw', 0n);
    expect(m.vp.cr0).toBe(0x11n);
  });
  it('CR3: reserved bits, PCIDs, PAE pointers', () => {
    const m = new FakeMachine().long();
    expect(m.run('writeCr', 3n, 1n << 40n)).toEqual(gp);
    expect(m.run('writeCr', 3n, 1n << 63n)).toEqual(gp);
    m.run('writeCr', 3n, 0x5000n);
    expect(m.events.at(-1)).toBe('flush nonGlobal');
    m.run('writeCr', 4n, BigInt(Cr4.PAE | Cr4.PCIDE));
    m.run('writeCr', 3n, 0x6007n);
    expect(m.events.at(-1)).toBe('flush pcid 0 7');
    m.run('writeCr', 3n, (1n << 63n) | 0x6008n);
    expect([m.vp.cr3, m.events.at(-1)]).toEqual([0x6008n, 'flush switch']);
    const pae = new FakeMachine().protected();
    pae.vp.cr0 |= PG;
    pae.vp.cr4 = BigInt(Cr4.PAE);
    pae.pdptesGood = false;
    expect(pae.run('writeCr', 3n, 0x5000n)).toEqual(gp);
  });
  it('CR8 and privilege', () => {
    const m = new FakeMachine().long();
    expect(m.run('writeCr', 8n, 16n)).toEqual(gp);
    m.run('writeCr', 8n, 5n);
    expect(m.run('readCr', 8n)).toBe(5n);
    expect(new FakeMachine().long(3).run('readCr', 0n)).toEqual(gp);
  });
  it('INVPCID', () => {
    const m = new FakeMachine().long();
    m.memory.setBigUint64(0x5000, 3n, true);
    m.memory.setBigUint64(0x5008, 0x8000_0000_0000n, true);
    expect(m.run('invpcid', 0n, 0x5000n)).toEqual(gp);
    m.vp.cr4 |= BigInt(Cr4.PCIDE);
    expect(m.run('invpcid', 0n, 0x5000n)).toEqual(gp);
    expect(m.run('invpcid', 1n, 0x5000n)).toBe(0n);
    expect(m.events.at(-1)).toBe('flush pcid 0 3');
    expect(m.run('invpcid', 4n, 0x5000n)).toEqual(gp);
  });
});

describe('model-specific registers', () => {
  it('check what they are given', () => {
    const m = new FakeMachine().long();
    expect(m.run('wrmsr', 0xc000_0082n, 0x8000_0000_0000n)).toEqual(gp);
    expect(m.run('wrmsr', 0xc000_0100n, 0xffff_8000_0000_0000n)).toBe(0n);
    expect(m.vp.segmentBase[Segment.FS]).toBe(0xffff_8000_0000_0000n);
    expect(m.run('wrmsr', 0x277n, 2n)).toEqual(gp);
    expect(m.run('wrmsr', 0x277n, 0x0007_0406_0007_0406n)).toBe(0n);
    expect(m.run('wrmsr', 0xc000_0080n, BigInt(Efer.LME | Efer.SCE | (1 << 12)))).toEqual(gp);
    expect(m.run('wrmsr', 0xc000_0080n, BigInt(Efer.LME | Efer.SCE | (1 << 21)))).toBe(0n);
    expect(m.vp.efer & BigInt(Efer.LMA)).toBe(BigInt(Efer.LMA));
    expect(m.run('rdmsr', 0x1234n)).toEqual(gp);
    m.msrs.set(0x4000_0000, 5n);
    expect(m.run('rdmsr', 0x4000_0000n)).toBe(5n);
    expect(new FakeMachine().long(3).run('rdmsr', 0x10n)).toEqual(gp);
  });
  it('TSC can be set, and hidden from user mode', () => {
    const m = new FakeMachine().long();
    m.run('wrmsr', 0x10n, 7n);
    expect(m.run('rdtsc')).toBe(7n);
    const user = new FakeMachine().long(3);
    expect(user.run('rdtsc')).toBe(1000n);
    user.vp.cr4 |= BigInt(Cr4.TSD);
    expect(user.run('rdtsc')).toEqual(gp);
  });
});

describe('system calls', () => {
  it('SYSCALL and SYSRET', () => {
    const m = new FakeMachine().long(3);
    m.vp.star = (0x23n << 48n) | (0x10n << 32n);
    m.vp.lstar = 0xffff_8000_0000_0000n;
    m.vp.sfmask = BigInt(Flag.IF | Flag.TF);
    writeFlags(m.vp, Flag.IF | Flag.CF | Flag.TF);
    const back = m.vp.nextRip;
    expect(m.run('syscall')).toBe(0n);
    expect([m.vp.rip, m.vp.gpr[1], m.vp.cpl]).toEqual([0xffff_8000_0000_0000n, back, 0]);
    expect(m.vp.gpr[11]).toBe(BigInt(Flag.IF | Flag.CF | Flag.TF | 2));
    expect(readFlags(m.vp)).toBe(Flag.CF | 2);
    expect(debugTrapAfter(m.vp, true)).toBe(0);
    expect([m.vp.segmentSelector[Segment.CS], m.vp.segmentSelector[Segment.SS]]).toEqual([0x10, 0x18]);
    expect(m.run('sysret', 8n)).toBe(0n);
    expect([m.vp.rip, m.vp.cpl, m.vp.segmentSelector[Segment.CS]]).toEqual([back, 3, 0x33]);
    expect(debugTrapAfter(m.vp, false)).toBe(Dr6.BS);
    const k = new FakeMachine().long();
    k.vp.gpr[1] = 0x8000_0000_0000n;
    expect(k.run('sysret', 8n)).toEqual(gp);
    k.vp.efer &= ~1n;
    expect(k.run('syscall')).toEqual(ud);
  });
  it('SYSENTER and SYSEXIT', () => {
    const m = new FakeMachine().protected(3);
    expect(m.run('sysenter')).toEqual(gp);
    m.vp.sysenterCs = 8n;
    m.vp.sysenterEip = 0x9000n;
    m.vp.sysenterEsp = 0x6000n;
    expect(m.run('sysenter')).toBe(0n);
    expect([m.vp.rip, m.vp.gpr[4], m.vp.cpl]).toEqual([0x9000n, 0x6000n, 0]);
    m.vp.gpr[1] = 0x5000n;
    m.vp.gpr[2] = 0x4000n;
    expect(m.run('sysexit', 4n)).toBe(0n);
    expect([m.vp.rip, m.vp.gpr[4], m.vp.cpl, m.vp.segmentSelector[Segment.CS]]).toEqual([0x4000n, 0x5000n, 3, 0x1b]);
  });
});

describe('debug registers', () => {
  it('data breakpoints trap after the instruction, not in the shadow of a load of SS', () => {
    const m = new FakeMachine().long();
    m.run('writeDr', 1n, 0x1004n);
    m.run('writeDr', 7n, 0x00d0_0004n); // L1, R1: 4 bytes, write
    noteDataAccess(m.vp, 0x1000n, 4, true);
    expect(debugTrapAfter(m.vp, false)).toBe(0);
    noteDataAccess(m.vp, 0x1007n, 1, false);
    expect(debugTrapAfter(m.vp, false)).toBe(0);
    noteDataAccess(m.vp, 0x1003n, 2, true);
    m.vp.interruptShadow = Shadow.SS;
    expect(debugTrapAfter(m.vp, true)).toBe(0);
    m.vp.interruptShadow = 0;
    expect(debugTrapAfter(m.vp, false)).toBe(2);
  });
  it('code breakpoints, RF, general detect, DE', () => {
    const m = new FakeMachine().long();
    m.run('writeDr', 0n, 0x8000n);
    m.run('writeDr', 7n, 1n);
    expect(codeBreakpoints(m.vp, 0x8000n)).toBe(1);
    expect(codeBreakpoints(m.vp, 0x8001n)).toBe(0);
    m.vp.flags |= Flag.RF;
    expect(codeBreakpoints(m.vp, 0x8000n)).toBe(0);
    expect(m.run('readDr', 5n)).toBe(0x401n);
    m.vp.cr4 |= BigInt(Cr4.DE);
    expect(m.run('readDr', 5n)).toEqual(ud);
    m.run('writeDr', 7n, 0x2000n);
    expect(m.run('readDr', 0n)).toEqual({ vector: Vector.DB, error: -1 });
    expect(m.vp.faultDr6).toBe(Dr6.BD);
    expect(new FakeMachine().long().run('writeDr', 7n, 1n << 32n)).toEqual(gp);
  });
});

describe('ports', () => {
  it('IOPL, then the bit map of the TSS', () => {
    const m = new FakeMachine().protected(3);
    m.memory.setUint16(TSS + 0x66, 0x68, true);
    m.memory.setUint8(TSS + 0x68 + (0x60 >> 3), 0b0010);
    expect(m.run('in1', 0x60n)).toBe(0x78n);
    expect(m.run('in2', 0x60n)).toEqual(gp);
    expect(m.run('out1', 0x61n, 1n)).toEqual(gp);
    expect(m.run('in1', 0x4c0n)).toEqual(gp); // beyond the limit of the TSS
    m.vp.flags |= Flag.IOPL;
    expect(m.run('out2', 0x60n, 0x1_ffffn)).toBe(0n);
    expect(m.events.at(-1)).toBe('out2 60 ffff');
  });
  it('HLT and CPUID', () => {
    const m = new FakeMachine().long();
    m.run('hlt');
    expect(m.vp.activity).toBe(Activity.HALTED);
    expect(new FakeMachine().long(3).run('hlt')).toEqual(gp);
    m.vp.gpr[0] = 0xffff_ffff_8000_0008n;
    m.run('cpuid');
    expect(m.vp.gpr[0]).toBe(40n);
  });
});
