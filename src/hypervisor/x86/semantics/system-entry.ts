/**
 * The ways into a 64-bit kernel and back: SYSCALL, SYSRET, IRET, SWAPGS. Intel SDM vol. 2 under those names. Written here is
 * what happens between 64-bit modes; other modes, TF set and the rest are left to TypeScript (x86/system).
 */
import { Flag, Mode, Segment } from '../../vp/state.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import { Register, type Semantics } from '../semantics.ts';
import { FLAT } from '../system/entry.ts';
import { Cr0, Cr4, Efer } from '../system/mode.ts';

const { RCX, R11 } = Register;

/** Flat CS and SS from selectors (i64) and the privilege level, the rest of the mode being 64-bit already. */
function enterFlat(s: Semantics, code: Value, stack: Value, level: 0 | 3): void {
  const dpl = level === 3 ? FLAT.DPL3 : 0;
  for (const [index, value, attributes] of [
    [Segment.CS, code, FLAT.CODE64 | dpl],
    [Segment.SS, stack, FLAT.DATA | dpl],
  ] as const) {
    s.setState('segmentSelector', value.wrap().and(0xffff).or(level), index);
    s.setState('segmentBase', s.f.i64(0), index);
    s.setState('segmentLimit', s.f.i32(FLAT.LIMIT), index);
    s.setState('segmentAttributes', s.f.i32(attributes), index);
  }
  s.setState('cpl', s.f.i32(level));
  s.setState('mode', s.f.i32(Mode.LONG64 | Mode.LONG | Mode.PROTECTED | (level === 3 ? Mode.USER : 0)));
}

const syscall: SemanticFunction = (s) => {
  if (!s.flat) {
    s.system('syscall');
    return;
  }
  const { f } = s;
  const flags = s.rflags();
  const usual = flags.wrap().and(Flag.TF).eqz().and(s.state('efer').wrap().and(Efer.SCE));
  f.if(
    usual,
    () => {
      s.setReg(RCX, s.next(), 8);
      s.setReg(R11, flags.and(~Flag.RF), 8);
      s.setRflags(f.i64(0), s.state('sfmask').or(Flag.RF));
      const code = s.state('star').shrU(32).and(0xfffc);
      enterFlat(s, code, code.add(8), 0);
      const smap = s.state('cr4').wrap().and(Cr4.SMAP).ne(0).and(s.state('flags').and(Flag.AC).eqz());
      s.setState('tlbContext', smap.add(1));
      s.jump(s.state('lstar'));
    },
    () => {
      s.system('syscall');
    },
    true,
  );
};

/** What SYSRET takes from R11; RF and VM become zero. */
const SYSRET_FLAGS = 0x3c_7fd7;
const ALL_FLAGS = 0x3f_7fd5;

const sysret: SemanticFunction = (s) => {
  if (!s.flat || s.size !== 8) {
    s.system('sysret', s.f.i64(s.size));
    return;
  }
  const { f } = s;
  const target = s.reg(RCX, 8);
  const flags = s.reg(R11, 8);
  const enabled = s.state('efer').wrap().and(Efer.SCE).and(s.state('cpl').eqz());
  const usual = enabled.and(flags.wrap().and(Flag.TF).eqz()).and(target.shl(16).shrS(16).eq(target));
  f.if(
    usual,
    () => {
      s.setRflags(flags.and(SYSRET_FLAGS), f.i64(ALL_FLAGS));
      const base = s.state('star').shrU(48);
      enterFlat(s, base.add(16), base.add(8), 3);
      const aligned = s.state('cr0').wrap().and(Cr0.AM).ne(0).and(s.state('flags').and(Flag.AC).ne(0));
      s.setState('tlbContext', f.select(aligned, f.i32(3), f.i32(0)));
      s.jump(target);
    },
    () => {
      s.system('sysret', f.i64(8));
    },
    true,
  );
};

const iret: SemanticFunction = (s) => {
  if (!s.flat || s.size !== 8) {
    s.system('iret', s.f.i64(s.size));
    return;
  }
  const [done] = s.helper('short_iret', s.vp()) as [Value];
  s.f.if(
    done,
    () => {
      s.jump(s.state('rip'));
    },
    () => {
      s.system('iret', s.f.i64(s.size));
    },
    true,
  );
};

const swapgs: SemanticFunction = (s) => {
  s.requireCpl0();
  const base = s.state('segmentBase', Segment.GS);
  const other = s.state('kernelGsBase');
  s.setState('kernelGsBase', base);
  s.setState('segmentBase', other, Segment.GS);
};

const ends = { ends: true, privileged: true } as const;

export const rows: readonly Row[] = [
  ['IRET', 'CF', '', iret, { ...ends, flavored: true, sizes: [2, 4, 8] }],
  ['SYSCALL', '0F 05', '', syscall, { ...ends, flavored: true, size: 8 }],
  ['SYSRET', '0F 07', '', sysret, { ...ends, flavored: true, sizes: [4, 8] }],
  ['SWAPGS', '0F 01 F8', '', swapgs, { privileged: true, mode: 'only64' }],
];
