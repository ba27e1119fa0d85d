/**
 * FXSAVE, FXRSTOR, XSAVE, XRSTOR, XGETBV and XSETBV. Intel SDM vol. 1, 10.5 "FXSAVE and FXRSTOR Instructions" and chapter 13
 * "Managing State Using the XSAVE Feature Set". XCR0 knows x87 and SSE; there is only the standard format.
 *
 * What the manual leaves to a processor: a component is always in use (XINUSE is all ones), so XSAVE never reports an
 * initial configuration; the x87 pointers are saved and restored whether an exception is pending or not (AMD's
 * CPUID.80000008:EBX[2]); EFER.FFXSR does not exist.
 */
import { Flag, Mode, Vector } from '../../vp/state.ts';
import type { Operand, Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import { Register, type Semantics } from '../semantics.ts';
import { operandPart } from './image.ts';
import { requireFpu } from './x87.ts';

const CR0_TS = 1 << 3;
const CR0_AM = 1 << 18;
const CR4_OSXSAVE = 1 << 18;
const XCR0_X87 = 1n;
const XCR0_SSE = 2n;
const XCR0_SUPPORTED = XCR0_X87 | XCR0_SSE;

/** Offsets in the image. The extended header follows the legacy region. */
const Offset = { FIP: 8, FDP: 16, MXCSR: 24, ST: 32, XMM: 160, HEADER: 512 } as const;
const LEGACY_SIZE = 512;
const HEADER_SIZE = 64;
/** The MXCSR bits that may be set. */
const MXCSR_MASK = 0xffff;
const FCW_INITIAL = 0x37f;

function repeat(s: Semantics, count: Operand, body: (i: Value) => void): void {
  const i = s.f.variable('i32', 0);
  s.f.loop((again) => {
    body(i.get());
    i.set(i.get().add(1));
    s.f.brIf(again, i.get().ltU(count));
  });
}

function registerCount(s: Semantics): Value {
  return s.f.select(s.state('mode').and(Mode.LONG64), 16, 8);
}

/** Address of ST(i)'s significand in VpState. */
function stackRegister(s: Semantics, i: Value): Value {
  return s.stateAddress('x87').add(s.state('ftop').add(i).and(7).shl(4));
}

/** Linear addresses of parts of the image, of 8 bytes unless told. */
type Image = (offset: Value | number, bytes?: number) => Value;

/**
 * The image, aligned. What the manual leaves open, here and in which page is looked at first, is as in Intel's processors:
 * where alignment is checked, #AC takes the place of #GP for what is not a multiple of 4.
 */
function image(s: Semantics, alignment: number, access: 'read' | 'write'): Image {
  const linear = operandPart(s, 0, 1, access);
  // Of what is not canonical, the probe tells which exception it is.
  s.f.if(linear.shl(16).shrS(16).ne(linear), () => s.probe(linear, 1, access, 'operand'));
  const checked = s.state('cr0').wrap().and(CR0_AM).ne(0).and(s.state('flags').and(Flag.AC).ne(0));
  const isChecked = checked.and(s.state('cpl').eq(3));
  s.raiseIf(linear.wrap().and(3).ne(0).and(isChecked), Vector.AC, 0);
  s.raiseIf(linear.and(alignment - 1).ne(0), Vector.GP, 0);
  return (offset, part = 8) => (offset === 0 ? linear : operandPart(s, offset, part, access));
}

// ---- x87 and SSE components -------------------------------------------------------------------------------------------------

/** `wide`: pointers of 64 bits (REX.W) instead of 32 with a selector. */
function saveX87(s: Semantics, at: Image, wide: boolean): void {
  const { f } = s;
  const word = (field: string, shift: number): Value => s.state(field).extU().shl(shift);
  const fsw = s.state('fsw').or(s.state('ftop').shl(11)).extU().shl(16);
  s.storeLinear(at(0), 8, word('fcw', 0).or(fsw).or(word('ftw', 32)).or(word('fop', 48)));
  const pointer = (offset: string, selector: string): Value =>
    wide ? s.state(offset) : s.state(offset).zext(32).or(word(selector, 32));
  s.storeLinear(at(Offset.FIP), 8, pointer('fip', 'fcs'));
  s.storeLinear(at(Offset.FDP), 8, pointer('fdp', 'fds'));
  repeat(s, 8, (i) => {
    const register = stackRegister(s, i);
    const offset = i.shl(4).extU().add(Offset.ST);
    s.storeLinear(at(offset), 8, f.load('i64.load', register));
    s.storeLinear(at(offset.add(8)), 8, f.load('i64.load16_u', register, 8));
  });
}

function restoreX87(s: Semantics, at: Image, wide: boolean): void {
  const { f } = s;
  const head = s.loadLinear(at(0), 8);
  const fsw = head.shrU(16).wrap();
  s.setState('fcw', head.wrap().and(0x1f3f).or(0x40));
  s.setState('ftop', fsw.shrU(11).and(7));
  s.setState('fsw', fsw.and(0xc7ff));
  s.setState('ftw', head.shrU(32).wrap().and(0xff));
  s.setState('fop', head.shrU(48).wrap().and(0x7ff));
  const pointer = (from: number, offset: string, selector: string): void => {
    const value = s.loadLinear(at(from), 8);
    // Addresses: what is not canonical is made so.
    s.setState(offset, wide ? value.shl(16).shrS(16) : value.zext(32));
    s.setState(selector, wide ? 0 : value.shrU(32).wrap().and(0xffff));
  };
  pointer(Offset.FIP, 'fip', 'fcs');
  pointer(Offset.FDP, 'fdp', 'fds');
  s.helper('x87.summarize', s.vp());
  repeat(s, 8, (i) => {
    const offset = i.shl(4).extU().add(Offset.ST);
    const significand = s.loadLinear(at(offset), 8);
    const signExponent = s.loadLinear(at(offset.add(8), 2), 2);
    const register = stackRegister(s, i);
    f.store('i64.store', register, significand);
    f.store('i64.store', register, signExponent, 8);
  });
}

function initializeX87(s: Semantics): void {
  s.setState('fcw', FCW_INITIAL);
  for (const field of ['fsw', 'ftop', 'ftw', 'fop', 'fcs', 'fds']) s.setState(field, 0);
  for (const field of ['fip', 'fdp']) s.setState(field, 0n);
  s.f.memoryFill(s.stateAddress('x87'), 0, 128);
}

function saveMxcsr(s: Semantics, at: Image): void {
  s.storeLinear(
    at(Offset.MXCSR),
    8,
    s
      .state('mxcsr')
      .extU()
      .or(BigInt(MXCSR_MASK) << 32n),
  );
}

function saveXmm(s: Semantics, at: Image): void {
  repeat(s, registerCount(s), (i) => {
    const offset = i.shl(4);
    const value = s.f.load('v128.load', s.stateAddress('xmm').add(offset));
    s.storeLinearV(at(offset.extU().add(Offset.XMM), 16), value);
  });
}

function restoreXmm(s: Semantics, at: Image): void {
  repeat(s, registerCount(s), (i) => {
    const offset = i.shl(4);
    const value = s.loadLinearV(at(offset.extU().add(Offset.XMM), 16));
    s.f.store('v128.store', s.stateAddress('xmm').add(offset), value);
  });
}

/** MXCSR as the image has it: #GP(0) where it sets reserved bits. */
function checkedMxcsr(s: Semantics, at: Image): Value {
  const mxcsr = s.loadLinear(at(Offset.MXCSR), 4).wrap();
  s.raiseIf(mxcsr.and(~MXCSR_MASK).ne(0), Vector.GP, 0);
  return mxcsr;
}

function probe(s: Semantics, at: Image, offset: number, access: 'read' | 'write'): void {
  s.probe(at(offset, 1), 1, access, 'operand');
}

// ---- FXSAVE, FXRSTOR ------------------------------------------------------------------------------------------------------------

function fxsave(wide: boolean): SemanticFunction {
  return (s) => {
    requireFpu(s);
    const at = image(s, 16, 'write');
    probe(s, at, LEGACY_SIZE - 1, 'write');
    probe(s, at, 0, 'write');
    saveX87(s, at, wide);
    saveMxcsr(s, at);
    saveXmm(s, at);
  };
}

function fxrstor(wide: boolean): SemanticFunction {
  return (s) => {
    requireFpu(s);
    const at = image(s, 16, 'read');
    probe(s, at, LEGACY_SIZE - 1, 'read');
    probe(s, at, 0, 'read');
    s.setState('mxcsr', checkedMxcsr(s, at));
    restoreX87(s, at, wide);
    restoreXmm(s, at);
  };
}

// ---- XSAVE, XRSTOR --------------------------------------------------------------------------------------------------------------

function requireXsave(s: Semantics): void {
  s.raiseIf(s.state('cr4').wrap().and(CR4_OSXSAVE).eqz(), Vector.UD);
}

/** What XSAVE and XRSTOR begin with: the requested components that XCR0 enables. */
function requested(s: Semantics): Value {
  requireXsave(s);
  s.raiseIf(s.state('cr0').wrap().and(CR0_TS).ne(0), Vector.NM);
  const mask = s.reg(Register.RAX, 4).or(s.reg(Register.RDX, 4).shl(32));
  return mask.and(s.state('xcr0'));
}

function includes(components: Value, bit: bigint): Value {
  return components.and(bit).ne(0);
}

function xsave(wide: boolean): SemanticFunction {
  return (s) => {
    const components = requested(s);
    const at = image(s, 64, 'write');
    probe(s, at, LEGACY_SIZE + HEADER_SIZE - 1, 'write');
    s.f.if(includes(components, XCR0_X87), () => saveX87(s, at, wide));
    s.f.if(includes(components, XCR0_SSE), () => {
      saveMxcsr(s, at);
      saveXmm(s, at);
    });
    const present = s.loadLinear(at(Offset.HEADER), 8);
    s.storeLinear(at(Offset.HEADER), 8, present.or(components));
  };
}

function xrstor(wide: boolean): SemanticFunction {
  return (s) => {
    const components = requested(s);
    const at = image(s, 64, 'read');
    probe(s, at, Offset.HEADER + 8, 'read');
    const { f } = s;
    // Of the header, only the format comes before the components' pages.
    const header = (from: number): Value => s.loadLinear(at(Offset.HEADER + from), 8);
    const present = header(0);
    s.raiseIf(header(8).ltS(0), Vector.GP, 0);
    f.if(
      includes(components, XCR0_X87),
      () => probe(s, at, 0, 'read'),
      () => f.if(includes(components, XCR0_SSE), () => probe(s, at, Offset.MXCSR, 'read')),
    );
    const unknown = present.and(s.state('xcr0').not());
    // The standard format has zeros in bytes 23:8 of the header, XCOMP_BV among them.
    s.raiseIf(unknown.or(header(8)).or(header(16)).ne(0), Vector.GP, 0);
    const sse = includes(components, XCR0_SSE);
    f.if(sse, () => {
      // MXCSR comes from memory even where the SSE registers take their initial values.
      s.setState('mxcsr', checkedMxcsr(s, at));
      f.if(
        includes(present, XCR0_SSE),
        () => restoreXmm(s, at),
        () => f.memoryFill(s.stateAddress('xmm'), 0, registerCount(s).shl(4)),
      );
    });
    f.if(includes(components, XCR0_X87), () => {
      f.if(
        includes(present, XCR0_X87),
        () => restoreX87(s, at, wide),
        () => initializeX87(s),
      );
    });
  };
}

const xgetbv: SemanticFunction = (s) => {
  requireXsave(s);
  s.raiseIf(s.reg(Register.RCX, 4).ne(0), Vector.GP, 0);
  const xcr0 = s.state('xcr0');
  s.setReg(Register.RAX, xcr0, 4);
  s.setReg(Register.RDX, xcr0.shrU(32), 4);
};

const xsetbv: SemanticFunction = (s) => {
  requireXsave(s);
  s.requireCpl0();
  const value = s.reg(Register.RAX, 4).or(s.reg(Register.RDX, 4).shl(32));
  const wrong = value.and(~XCR0_SUPPORTED).ne(0).or(value.and(XCR0_X87).eqz());
  s.raiseIf(s.reg(Register.RCX, 4).ne(0).or(wrong), Vector.GP, 0);
  s.setState('xcr0', value);
  s.endBlock();
};

export const rows: readonly Row[] = [
  ['FXSAVE', 'NP W0 0F AE /0', 'M', fxsave(false), { feature: 'fxsr' }],
  ['FXSAVE64', 'NP W1 0F AE /0', 'M', fxsave(true), { feature: 'fxsr' }],
  ['FXRSTOR', 'NP W0 0F AE /1', 'M', fxrstor(false), { feature: 'fxsr' }],
  ['FXRSTOR64', 'NP W1 0F AE /1', 'M', fxrstor(true), { feature: 'fxsr' }],
  ['XSAVE', 'NP W0 0F AE /4', 'M', xsave(false), { feature: 'xsave' }],
  ['XSAVE64', 'NP W1 0F AE /4', 'M', xsave(true), { feature: 'xsave' }],
  ['XRSTOR', 'NP W0 0F AE /5', 'M', xrstor(false), { feature: 'xsave' }],
  ['XRSTOR64', 'NP W1 0F AE /5', 'M', xrstor(true), { feature: 'xsave' }],
  ['XGETBV', 'NP 0F 01 D0', '', xgetbv, { feature: 'xsave' }],
  ['XSETBV', 'NP 0F 01 D1', '', xsetbv, { feature: 'xsave', privileged: true, ends: true }],
];
