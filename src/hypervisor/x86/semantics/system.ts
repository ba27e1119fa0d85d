/**
 * System instructions: Intel SDM vol. 2, those that load segments, transfer control beyond a segment, change modes, or
 * reach outside the processor. Most are handed to TypeScript (x86/system); what kernels execute all the time is
 * written here: STAC and CLAC, FS and GS base, PUSHF, POPF, CLI and STI, INVLPG, a switch of CR3; and in system-entry.ts.
 */
import { PHYSICAL_BITS } from '../../mmu/walk.ts';
import { ARITHMETIC_FLAGS, Flag, Mode, Segment, Vector } from '../../vp/state.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import { Register, type Semantics } from '../semantics.ts';
import { Cr0, Cr4, Shadow } from '../system/mode.ts';
import type { SystemOperationName } from '../system/operations.ts';
import { countRepetition, PORT_WORK } from './integer-string.ts';
import { rows as entryRows } from './system-entry.ts';

const { RAX, RCX, RDX, RSI, RDI } = Register;

function system(name: SystemOperationName, ...operands: ((s: Semantics) => Value | number)[]): SemanticFunction {
  return (s) => {
    s.system(name, ...operands.map((o) => o(s)));
  };
}
/** The same after #GP(0) outside CPL 0, which comes before the operands are looked at. */
function privileged(name: SystemOperationName, ...operands: ((s: Semantics) => Value | number)[]): SemanticFunction {
  return (s) => {
    s.requireCpl0();
    s.system(name, ...operands.map((o) => o(s)));
  };
}
const operand = (n: number) => (s: Semantics) => s.read(n);
const size = (s: Semantics) => s.f.i64(s.size);

function requireProtected(s: Semantics): void {
  s.raiseIf(
    s
      .state('mode')
      .and(Mode.PROTECTED | Mode.V86)
      .ne(Mode.PROTECTED),
    Vector.UD,
  );
}

// ---- segment registers --------------------------------------------------------------------------------------------------

function selector(s: Semantics, index: number): Value {
  return s.state('segmentSelector', index).extU();
}

const storeSegment: SemanticFunction = (s) => {
  s.raiseIf(s.index(1).gtU(Segment.GS), Vector.UD);
  s.write(0, s.read(1));
};
/** What is no segment register, or CS, is told before the operand is looked at. */
const moveSegment: SemanticFunction = (s) => {
  const index = s.index(0);
  s.raiseIf(index.eq(Segment.CS).or(index.gtU(Segment.GS)), Vector.UD);
  s.system('moveSegment', index, s.read(1));
};
function pushSegment(index: number): SemanticFunction {
  return (s) => {
    s.push(selector(s, index));
  };
}
function popSegment(index: number): SemanticFunction {
  return (s) => {
    // 16 bits are read whatever the operand size.
    const value = s.loadLinear(s.segmentLinear(Segment.SS, s.stackPointer(), 2, 'read'), 2, 'stack');
    if (index === Segment.SS) s.systemValue('popStackSegment', value);
    else s.systemValue('loadSegment', s.f.i64(index), value);
    s.drop();
    if (index === Segment.SS) s.endBlock();
  };
}
/** LDS and its kin: the offset, and the selector behind it. */
function loadFarPointer(index: number): SemanticFunction {
  return (s) => {
    const [offset, to] = farPointer(s, 1);
    s.systemValue('loadSegment', s.f.i64(index), to);
    s.write(0, offset);
    if (index === Segment.SS) s.endBlock();
  };
}
function farPointer(s: Semantics, n: number): [offset: Value, selector: Value] {
  const at = s.linear(n, s.size + 2, 'read');
  const offset = s.loadLinear(at, s.size, 'operand');
  return [offset, s.loadLinear(at.add(s.size), 2, 'operand')];
}
const bound: SemanticFunction = (s) => {
  const at = s.linear(1, s.size * 2, 'read');
  const index = s.read(0).sext(s.bits);
  s.raiseIf(index.ltS(s.loadLinear(at, s.size).sext(s.bits)), Vector.BR);
  s.raiseIf(index.gtS(s.loadLinear(at.add(s.size), s.size).sext(s.bits)), Vector.BR);
};

// ---- system segments and tables -------------------------------------------------------------------------------------------

function storeSystemSelector(index: number): SemanticFunction {
  return (s) => {
    requireProtected(s);
    s.write(0, selector(s, index));
  };
}
function loadSystemSelector(name: 'lldt' | 'ltr'): SemanticFunction {
  return (s) => {
    requireProtected(s);
    s.requireCpl0();
    s.system(name, s.read(0));
  };
}
function verify(name: 'verr' | 'verw'): SemanticFunction {
  return (s) => {
    requireProtected(s);
    s.systemValue(name, s.read(0));
  };
}
function examine(name: 'lar' | 'lsl'): SemanticFunction {
  return (s) => {
    requireProtected(s);
    const value = s.systemValue(name, s.read(1), s.read(0));
    s.f.if(s.flag('ZF'), () => {
      s.write(0, value);
    });
  };
}
/** Memory is written, and must be writable, only where RPL is adjusted. */
const arpl: SemanticFunction = (s) => {
  requireProtected(s);
  const old = s.read(0);
  const level = s.read(1).and(3);
  const raises = s.f.variable('i32', old.and(3).ltU(level));
  s.f.if(raises.get(), () => {
    const adjusted = old.and(~3).or(level);
    if (!s.isMemory(0)) s.write(0, adjusted);
    else s.storeLinear(s.segmentLinear('override', s.address(0), 2, 'write'), 2, adjusted);
  });
  s.setFlags({ ZF: raises.get() });
};
function storeTable(index: number): SemanticFunction {
  return (s) => {
    const bytes = s.size === 8 ? 8 : 4;
    const at = s.linear(0, 2 + bytes, 'write');
    s.probe(at, 2 + bytes, 'write', 'operand');
    s.storeLinear(at, 2, s.state('segmentLimit', index).extU());
    s.storeLinear(at.add(2), bytes, s.state('segmentBase', index));
  };
}
function loadTable(name: 'lgdt' | 'lidt'): SemanticFunction {
  return (s) => {
    s.requireCpl0();
    const bytes = s.size === 8 ? 8 : 4;
    const at = s.linear(0, 2 + bytes, 'read');
    const limit = s.loadLinear(at, 2, 'operand');
    const base = s.loadLinear(at.add(2), bytes, 'operand');
    s.system(name, limit, s.size === 2 ? base.and(0xff_ffff) : base);
  };
}
const smsw: SemanticFunction = (s) => {
  s.write(0, s.state('cr0'));
};
const clts: SemanticFunction = (s) => {
  s.requireCpl0();
  s.setState('cr0', s.state('cr0').and(~Cr0.TS));
  s.endBlock();
};
const invpcid: SemanticFunction = (s) => {
  s.requireCpl0();
  const at = s.linear(1, 16, 'read');
  s.probe(at, 16, 'read', 'operand');
  s.system('invpcid', s.read(0), at);
};
const invlpg: SemanticFunction = (s) => {
  s.requireCpl0();
  const linear = s.linear(0, 1, 'read');
  // In 64-bit mode addresses have 48 bits (CR4.LA57 is not offered); one that is not canonical is no error.
  if (!s.flat) {
    s.system('invlpg', linear);
    return;
  }
  s.f.if(linear.shl(16).shrS(16).eq(linear), () => {
    s.setState('unwind', 1);
    s.helper('flush_page', s.vp(), linear);
  });
  s.endBlock();
};
/** CR0, CR2, CR3 and CR4 are words that follow each other in VpState; the others are not there, or not always. */
const readControl: SemanticFunction = (s) => {
  const { f } = s;
  const index = s.index(1).wrap();
  const value = f.variable('i64');
  const kept = f.i32(0b1_1101).shrU(index).and(1);
  f.if(
    kept.and(index.leU(4)).and(s.state('cpl').eqz()),
    () => {
      const place = index.sub(index.ne(0)).shl(3);
      value.set(f.load('i64.load', s.stateAddress('cr0').add(place)));
    },
    () => {
      value.set(s.systemValue('readCr', s.index(1)));
    },
    true,
  );
  s.write(0, value.get());
};
const readDebug: SemanticFunction = (s) => {
  s.write(0, s.systemValue('readDr', s.index(1)));
};
/** CR3 in 64-bit mode is written here: there is one address space in the TLB, so whatever bit 63 says the old one is dropped. */
const writeControl: SemanticFunction = (s) => {
  const { f } = s;
  const value = s.read(1);
  const pcid = s.state('cr4').wrap().and(Cr4.PCIDE);
  const table = f.select(pcid, value.and((1n << 63n) - 1n), value);
  const long = s.state('mode').and(Mode.LONG64).ne(0).and(s.state('cpl').eqz());
  const usual = long.and(s.state('shortWays')).and(s.index(0).eq(3)).and(table.shrU(PHYSICAL_BITS).eqz());
  f.if(
    usual,
    () => {
      s.setState('cr3', table);
      s.setState('unwind', 1);
      s.helper('flush_local', s.vp());
      s.endBlock();
    },
    () => {
      s.system('writeCr', s.index(0), value);
    },
    true,
  );
};
const writeDebug: SemanticFunction = (s) => {
  s.system('writeDr', s.index(0), s.read(1));
};

// ---- far transfers and system calls --------------------------------------------------------------------------------------

function farDirect(name: 'farJump' | 'farCall'): SemanticFunction {
  return (s) => {
    const pointer = s.read(0);
    s.system(name, pointer.zext(32), pointer.shrU(32).or(s.size << 16));
  };
}
function farIndirect(name: 'farJump' | 'farCall'): SemanticFunction {
  return (s) => {
    const [offset, to] = farPointer(s, 0);
    s.system(name, offset, to.or(s.size << 16));
  };
}

function requireFsGsBase(s: Semantics): void {
  s.raiseIf(s.state('cr4').wrap().and(Cr4.FSGSBASE).eqz(), Vector.UD);
}
function readBase(index: number): SemanticFunction {
  return (s) => {
    requireFsGsBase(s);
    s.write(0, s.state('segmentBase', index));
  };
}
function writeBase(index: number): SemanticFunction {
  return (s) => {
    requireFsGsBase(s);
    const value = s.read(0);
    if (s.size === 8) s.raiseIf(value.shl(16).shrS(16).ne(value), Vector.GP, 0);
    s.setState('segmentBase', value, index);
  };
}

// ---- flags ----------------------------------------------------------------------------------------------------------------

/** RFLAGS.IOPL: i32. */
function iopl(s: Semantics): Value {
  return s.state('flags').shrU(12).and(3);
}
/** Virtual-8086 mode without VME: PUSHF and POPF need IOPL 3. */
function requireV86Iopl(s: Semantics): void {
  if (s.flat) return;
  s.raiseIf(s.state('mode').and(Mode.V86).ne(0).and(iopl(s).ne(3)), Vector.GP, 0);
}
const pushf: SemanticFunction = (s) => {
  requireV86Iopl(s);
  s.push(s.rflags().and(~(Flag.VM | Flag.RF)));
};

const POPF_ALWAYS = ARITHMETIC_FLAGS | Flag.TF | Flag.DF | Flag.NT;
const popf: SemanticFunction = (s) => {
  requireV86Iopl(s);
  const { f } = s;
  const value = s.top();
  s.drop();
  const cpl = s.state('cpl');
  const wide = s.size === 2 ? 0 : Flag.AC | Flag.ID | Flag.RF;
  const mask = f
    .i32(POPF_ALWAYS | wide)
    .or(f.select(cpl.leU(iopl(s)), f.i32(Flag.IF), f.i32(0)))
    .or(f.select(cpl.eqz(), f.i32(s.size === 2 ? Flag.IOPL : Flag.IOPL | Flag.VIF | Flag.VIP), f.i32(0)));
  const old = f.variable('i32', s.state('flags'));
  s.setRflags(value.and(~(Flag.RF | Flag.VIF | Flag.VIP)), mask.extU());
  f.if(
    old.get().xor(s.state('flags')).and(Flag.AC),
    () => {
      s.systemValue('updateMode');
    },
    undefined,
    false,
  );
  s.endBlock();
};

function requireInterruptControl(s: Semantics): void {
  s.raiseIf(s.state('cpl').gtU(iopl(s)), Vector.GP, 0);
}
const cli: SemanticFunction = (s) => {
  requireInterruptControl(s);
  s.setState('flags', s.state('flags').and(~Flag.IF));
};
const sti: SemanticFunction = (s) => {
  requireInterruptControl(s);
  const flags = s.state('flags');
  // Only the STI that enables interrupts casts a shadow.
  s.f.if(flags.and(Flag.IF).eqz(), () => {
    s.setState('interruptShadow', s.f.i32(Shadow.STI));
    s.setState('flags', flags.or(Flag.IF));
  });
  s.endBlock();
};
function alignmentCheck(on: boolean): SemanticFunction {
  return (s) => {
    s.raiseIf(s.state('cpl').ne(0), Vector.UD);
    const flags = s.state('flags');
    s.setState('flags', on ? flags.or(Flag.AC) : flags.and(~Flag.AC));
    const smap = s.state('cr4').wrap().and(Cr4.SMAP).ne(0);
    s.setState('tlbContext', on ? s.f.i32(1) : smap.add(1));
  };
}

// ---- model-specific registers, time, randomness ------------------------------------------------------------------------------

/** EDX:EAX, upper halves cleared. */
function setPair(s: Semantics, value: Value): void {
  s.setReg(RAX, value.zext(32), 8);
  s.setReg(RDX, value.shrU(32), 8);
}
const rdmsr: SemanticFunction = (s) => {
  setPair(s, s.systemValue('rdmsr', s.reg(RCX, 4)));
};
const wrmsr: SemanticFunction = (s) => {
  s.system('wrmsr', s.reg(RCX, 4), s.reg(RDX, 4).shl(32).or(s.reg(RAX, 4)));
};
const rdtsc: SemanticFunction = (s) => {
  setPair(s, s.systemValue('rdtsc'));
};
const rdtscp: SemanticFunction = (s) => {
  setPair(s, s.systemValue('rdtsc'));
  s.setReg(RCX, s.state('tscAux').zext(32), 8);
};
const random: SemanticFunction = (s) => {
  s.write(0, s.systemValue('random'));
  const zero = s.f.i32(0);
  s.setFlags({ CF: s.f.i32(1), PF: zero, AF: zero, ZF: zero, SF: zero, OF: zero });
};

// ---- ports ------------------------------------------------------------------------------------------------------------------

type PortBytes = 1 | 2 | 4;
const portBytes = (s: Semantics): PortBytes => Math.min(s.size, 4) as PortBytes;
/** Port number: an immediate byte, or DX. */
const port = (s: Semantics, n: number, immediate: boolean): Value => s.read(n).zext(immediate ? 8 : 16);

function input(immediate: boolean): SemanticFunction {
  return (s) => {
    s.write(0, s.systemValue(`in${portBytes(s)}`, port(s, 1, immediate)));
  };
}
function output(immediate: boolean): SemanticFunction {
  return (s) => {
    s.system(`out${portBytes(s)}`, port(s, 0, immediate), s.read(1));
  };
}

/** INS and OUTS: the permission first, then the memory operand, then the port. */
function portString(element: (s: Semantics, dx: Value, bytes: PortBytes) => void, register: number): SemanticFunction {
  return (s) => {
    const { f } = s;
    const bytes = portBytes(s);
    const one = (): void => {
      const dx = s.reg(RDX, 2);
      s.systemValue('checkPort', dx, f.i64(bytes));
      element(s, dx, bytes);
      const step = f.select(s.state('flags').and(Flag.DF), f.i64(-bytes), f.i64(bytes));
      s.setAddressReg(register, s.truncateAddress(s.addressReg(register).add(step)));
    };
    if (s.repeat === 'none') {
      one();
      return;
    }
    // The permission is looked at even if there is nothing to do.
    s.systemValue('checkPort', s.reg(RDX, 2), f.i64(bytes));
    f.block((done) => {
      f.loop((next) => {
        f.brIf(done, s.addressReg(RCX).eqz());
        one();
        s.setAddressReg(RCX, s.truncateAddress(s.addressReg(RCX).sub(1)));
        countRepetition(f, s.vp(), PORT_WORK);
        f.brIf(done, s.addressReg(RCX).eqz());
        f.if(s.state('attention'), () => {
          s.again();
        });
        f.br(next);
      });
    });
  };
}
const ins = portString((s, dx, bytes) => {
  const at = s.segmentLinear(Segment.ES, s.addressReg(RDI), bytes, 'write');
  s.probe(at, bytes, 'write');
  s.storeLinear(at, bytes, s.systemValue(`in${bytes}`, dx));
}, RDI);
const outs = portString((s, dx, bytes) => {
  const value = s.loadLinear(s.segmentLinear('override', s.addressReg(RSI), bytes, 'read'), bytes);
  s.systemValue(`out${bytes}`, dx, value);
}, RSI);

// ---- the rest -----------------------------------------------------------------------------------------------------------------

const flush: SemanticFunction = (s) => {
  s.probe(s.linear(0, 1, 'read'), 1, 'read', 'operand');
};
const fence: SemanticFunction = (s) => {
  s.f.atomicFence();
};
const nothing: SemanticFunction = () => {};
const privilegedNothing: SemanticFunction = (s) => s.requireCpl0();
const undefinedInstruction: SemanticFunction = (s) => s.raise(Vector.UD);

const ends = { ends: true, privileged: true } as const;
const segmentStack = { long: 'default', flavored: true, sizes: [2, 4, 8], privileged: true } as const;
const legacy = { mode: 'not64', privileged: true } as const;
const legacyStack = { ...legacy, flavored: true, sizes: [2, 4] } as const;
const flagStack = { long: 'default', flavored: true, sizes: [2, 4, 8] } as const;
const farReturnSizes = { ...ends, sizes: [2, 4, 8] } as const;
const kernel = { privileged: true } as const;
const only64 = { privileged: true, mode: 'only64' } as const;
const base = { mode: 'only64', feature: 'fsgsbase' } as const;

export const rows: readonly Row[] = [
  ['MOV', '8C /r', 'Rv= Sw', storeSegment],
  ['MOV', '8C /r', 'Mw= Sw', storeSegment],
  ['MOV', '8E /r', 'Sw= Ew', moveSegment, ends],
  ['PUSH ES', '06', '', pushSegment(Segment.ES), legacyStack],
  ['PUSH CS', '0E', '', pushSegment(Segment.CS), legacyStack],
  ['PUSH SS', '16', '', pushSegment(Segment.SS), legacyStack],
  ['PUSH DS', '1E', '', pushSegment(Segment.DS), legacyStack],
  ['PUSH FS', '0F A0', '', pushSegment(Segment.FS), segmentStack],
  ['PUSH GS', '0F A8', '', pushSegment(Segment.GS), segmentStack],
  ['POP ES', '07', '', popSegment(Segment.ES), legacyStack],
  ['POP SS', '17', '', popSegment(Segment.SS), { ...legacyStack, ends: true }],
  ['POP DS', '1F', '', popSegment(Segment.DS), legacyStack],
  ['POP FS', '0F A1', '', popSegment(Segment.FS), segmentStack],
  ['POP GS', '0F A9', '', popSegment(Segment.GS), segmentStack],
  ['LES', 'C4 /r', 'Gv= Mp', loadFarPointer(Segment.ES), legacy],
  ['LDS', 'C5 /r', 'Gv= Mp', loadFarPointer(Segment.DS), legacy],
  ['LSS', '0F B2 /r', 'Gv= Mp', loadFarPointer(Segment.SS), ends],
  ['LFS', '0F B4 /r', 'Gv= Mp', loadFarPointer(Segment.FS), kernel],
  ['LGS', '0F B5 /r', 'Gv= Mp', loadFarPointer(Segment.GS), kernel],
  ['BOUND', '62 /r', 'Gv M', bound, legacy],

  ['SLDT', '0F 00 /0', 'Rv=', storeSystemSelector(Segment.LDTR), kernel],
  ['SLDT', '0F 00 /0', 'Mw=', storeSystemSelector(Segment.LDTR), kernel],
  ['STR', '0F 00 /1', 'Rv=', storeSystemSelector(Segment.TR), kernel],
  ['STR', '0F 00 /1', 'Mw=', storeSystemSelector(Segment.TR), kernel],
  ['LLDT', '0F 00 /2', 'Ew', loadSystemSelector('lldt'), ends],
  ['LTR', '0F 00 /3', 'Ew', loadSystemSelector('ltr'), ends],
  ['VERR', '0F 00 /4', 'Ew', verify('verr'), kernel],
  ['VERW', '0F 00 /5', 'Ew', verify('verw'), kernel],
  ['LAR', '0F 02 /r', 'Gv+ Ew', examine('lar'), kernel],
  ['LSL', '0F 03 /r', 'Gv+ Ew', examine('lsl'), kernel],
  ['ARPL', '63 /r', 'Ew Gw', arpl, legacy],
  ['SGDT', '0F 01 /0', 'Mp', storeTable(Segment.GDTR), { ...only64, size: 8 }],
  ['SGDT', '0F 01 /0', 'Mp', storeTable(Segment.GDTR), { ...legacy, sizes: [2, 4] }],
  ['SIDT', '0F 01 /1', 'Mp', storeTable(Segment.IDTR), { ...only64, size: 8 }],
  ['SIDT', '0F 01 /1', 'Mp', storeTable(Segment.IDTR), { ...legacy, sizes: [2, 4] }],
  ['LGDT', '0F 01 /2', 'Mp', loadTable('lgdt'), { ...only64, ends: true, size: 8 }],
  ['LGDT', '0F 01 /2', 'Mp', loadTable('lgdt'), { ...legacy, ends: true, sizes: [2, 4] }],
  ['LIDT', '0F 01 /3', 'Mp', loadTable('lidt'), { ...only64, ends: true, size: 8 }],
  ['LIDT', '0F 01 /3', 'Mp', loadTable('lidt'), { ...legacy, ends: true, sizes: [2, 4] }],
  ['SMSW', '0F 01 /4', 'Rv=', smsw, kernel],
  ['SMSW', '0F 01 /4', 'Mw=', smsw, kernel],
  ['LMSW', '0F 01 /6', 'Ew', privileged('lmsw', operand(0)), ends],
  ['INVLPG', '0F 01 /7', 'M', invlpg, ends],
  ['CLTS', '0F 06', '', clts, ends],
  ['MOV', '0F 20 /r', 'Rq= Cq', readControl, only64],
  ['MOV', '0F 20 /r', 'Rd= Cd', readControl, legacy],
  ['MOV', '0F 21 /r', 'Rq= Dq', readDebug, only64],
  ['MOV', '0F 21 /r', 'Rd= Dd', readDebug, legacy],
  ['MOV', '0F 22 /r', 'Cq= Rq', writeControl, { ...only64, ends: true }],
  ['MOV', '0F 22 /r', 'Cd= Rd', writeControl, { ...legacy, ends: true }],
  ['MOV', '0F 23 /r', 'Dq= Rq', writeDebug, { ...only64, ends: true }],
  ['MOV', '0F 23 /r', 'Dd= Rd', writeDebug, { ...legacy, ends: true }],
  ['INVPCID', '66 0F 38 82 /r', 'Gq M', invpcid, { ...only64, ends: true, feature: 'invpcid' }],
  ['INVPCID', '66 0F 38 82 /r', 'Gd M', invpcid, { ...legacy, ends: true, feature: 'invpcid' }],

  ['JMPF', 'EA', 'Ap', farDirect('farJump'), { ...legacy, ends: true, sizes: [2, 4] }],
  ['JMPF', 'FF /5', 'Mp', farIndirect('farJump'), { ...ends, sizes: [2, 4, 8] }],
  ['CALLF', '9A', 'Ap', farDirect('farCall'), { ...legacy, ends: true, sizes: [2, 4] }],
  ['CALLF', 'FF /3', 'Mp', farIndirect('farCall'), { ...ends, sizes: [2, 4, 8] }],
  ['RETF', 'CB', '', system('farReturn', size), farReturnSizes],
  ['RETF', 'CA', 'Iw', system('farReturn', size, (s) => s.read(0).zext(16)), farReturnSizes],
  ['INT3', 'CC', '', system('int3'), ends],
  ['INT', 'CD', 'Ib', system('int', (s) => s.read(0).zext(8)), ends],
  ['INTO', 'CE', '', system('into'), { ...legacy, ends: true }],
  ['INT1', 'F1', '', system('int1'), ends],
  ...entryRows,
  ['SYSENTER', '0F 34', '', system('sysenter'), ends],
  ['SYSEXIT', '0F 35', '', system('sysexit', size), { ...ends, sizes: [4, 8] }],
  ['RDFSBASE', 'F3 0F AE /0', 'Ry=', readBase(Segment.FS), base],
  ['RDGSBASE', 'F3 0F AE /1', 'Ry=', readBase(Segment.GS), base],
  ['WRFSBASE', 'F3 0F AE /2', 'Ry', writeBase(Segment.FS), base],
  ['WRGSBASE', 'F3 0F AE /3', 'Ry', writeBase(Segment.GS), base],

  ['PUSHF', '9C', '', pushf, flagStack],
  ['POPF', '9D', '', popf, { ...flagStack, ends: true }],
  ['CLI', 'FA', '', cli, { ...kernel }],
  ['STI', 'FB', '', sti, { ...ends }],
  ['CLAC', 'NP 0F 01 CA', '', alignmentCheck(false), kernel],
  ['STAC', 'NP 0F 01 CB', '', alignmentCheck(true), kernel],

  ['RDMSR', '0F 32', '', rdmsr, kernel],
  ['WRMSR', '0F 30', '', wrmsr, ends],
  ['RDTSC', '0F 31', '', rdtsc, kernel],
  ['RDTSCP', '0F 01 F9', '', rdtscp, kernel],
  ['RDPMC', '0F 33', '', system('rdpmc'), ends],
  ['CPUID', '0F A2', '', system('cpuid'), ends],
  ['RDRAND', 'NFx 0F C7 /6', 'Rv=', random, kernel],
  ['RDSEED', 'NFx 0F C7 /7', 'Rv=', random, kernel],
  ['VMCALL', 'NP 0F 01 C1', '', system('hypercall'), ends],
  ['VMMCALL', '0F 01 D9', '', system('hypercall'), ends],
  ['HLT', 'F4', '', privileged('hlt'), ends],

  ['IN', 'E4', 'AL= Ib', input(true), kernel],
  ['IN', 'E5', 'eAX= Ib', input(true), kernel],
  ['IN', 'EC', 'AL= DX', input(false), kernel],
  ['IN', 'ED', 'eAX= DX', input(false), kernel],
  ['OUT', 'E6', 'Ib AL', output(true), ends],
  ['OUT', 'E7', 'Ib eAX', output(true), ends],
  ['OUT', 'EE', 'DX AL', output(false), { ...ends, size: 1 }],
  ['OUT', 'EF', 'DX eAX', output(false), ends],
  ['INSB', '6C', '', ins, { repeat: 'rep', flavored: true, size: 1, privileged: true }],
  ['INS', '6D', '', ins, { repeat: 'rep', flavored: true, sizes: [2, 4], privileged: true }],
  ['OUTSB', '6E', '', outs, { repeat: 'rep', flavored: true, size: 1, privileged: true }],
  ['OUTS', '6F', '', outs, { repeat: 'rep', flavored: true, sizes: [2, 4], privileged: true }],

  ['INVD', '0F 08', '', privilegedNothing, kernel],
  ['WBINVD', '0F 09', '', privilegedNothing, kernel],
  ['CLFLUSH', 'NP 0F AE /7', 'M', flush],
  ['CLFLUSHOPT', '66 0F AE /7', 'M', flush, { feature: 'clflushopt' }],
  ['CLWB', '66 0F AE /6', 'M', flush, { feature: 'clwb' }],
  ['LFENCE', 'NP 0F AE E8+i', '', nothing],
  ['MFENCE', 'NP 0F AE F0+i', '', fence],
  ['SFENCE', 'NP 0F AE F8+i', '', nothing],
  // Code is fetched after it: what was stored to code is met in any case.
  ['SERIALIZE', 'NP 0F 01 E8', '', nothing, { feature: 'serialize', ends: true }],
  ['UD2', '0F 0B', '', undefinedInstruction, { privileged: true }],
];
