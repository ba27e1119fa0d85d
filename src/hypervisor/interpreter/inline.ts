/**
 * Products that the interpreter's main loop has in itself; the others are functions that it calls. These are 99.5 % of what a boot of Debian's
 * kernel, python3, sqlite3 and grep execute (`npm run bench -- --profile`). More would make the loop worse: V8 takes longer than in
 * proportion to optimize it, and until then a machine runs what has been compiled in haste.
 */
import type { Variant } from './port.ts';

/** By mnemonic: operands as in the instruction table, and sizes in bits; `m`: with the operand in memory. */
const PRODUCTS: Readonly<Record<string, string>> = {
  ADC: 'Ev,Gv 64; Ev,Iz 64',
  ADD: 'Eb,Ib 8m; Ev,Gv 32 64 32m 64m; Ev,Iz 32 64 16m 32m 64m; Gv,Ev 32m 64m; rAX,Iz 64',
  ADDSD: 'Vx,Wq 64m',
  AND: 'Eb,Ib 8 8m; Ev,Gv 32 64; Ev,Iz 32 64 64m; Gb,Eb 8m; Gv,Ev 16m 32m 64m; rAX,Iz 16 32 64',
  BSF: 'Gv,Ev 32 64',
  BSR: 'Gv,Ev 32',
  BSWAP: 'Zv 32 64',
  BT: 'Ev,Gv 64',
  BTS: 'Ev,Ib 64m',
  CALL: 'Ev 64 64m; Jz 64',
  CBW: 'rAX 64',
  CLI: '32',
  CMOVA: 'Gv,Ev 64',
  CMOVAE: 'Gv,Ev 64',
  CMOVB: 'Gv,Ev 32 64',
  CMOVBE: 'Gv,Ev 64',
  CMOVE: 'Gv,Ev 32 64 64m',
  CMOVG: 'Gv,Ev 32 64',
  CMOVL: 'Gv,Ev 32 64',
  CMOVLE: 'Gv,Ev 32 64',
  CMOVNE: 'Gv,Ev 32 64',
  CMOVNS: 'Gv,Ev 64',
  CMOVS: 'Gv,Ev 32 64',
  CMP: 'AL,Ib 8; Eb,Gb 8 8m; Eb,Ib 8 8m; Ev,Gv 16 32 64 32m 64m; Ev,Iz 16 32 64 16m 32m 64m; Gb,Eb 8m; Gv,Ev 16m 32m 64m; rAX,Iz 32 64',
  CMPXCHG: 'Ev,Gv 32m',
  CVTSI2SD: 'Vx,Ey 64',
  CWD: 'rAX 64',
  DEC: 'Ev 32 64 32m',
  DIV: 'Ev 64 64m',
  IMUL: 'Gv,Ev 64 64m; Gv,Ev,Iz 32 64',
  INC: 'Ev 32m',
  JA: 'Jb 64',
  JAE: 'Jb 64',
  JB: 'Jb 64',
  JBE: 'Jb 64',
  JE: 'Jb 64',
  JG: 'Jb 64',
  JGE: 'Jb 64',
  JL: 'Jb 64',
  JLE: 'Jb 64',
  JMP: 'Ev 64 64m; Jb 64',
  JNE: 'Jb 64',
  JNS: 'Jb 64',
  JP: 'Jb 64',
  JS: 'Jb 64',
  LEA: 'Gv,M 32m 64m',
  MOV: 'Eb,Gb 8m; Eb,Ib 8m; Ev,Gv 32 64 16m 32m 64m; Ev,Iz 64 32m 64m; Gb,Eb 8m; Gv,Ev 32m 64m; Zv,Iv 32 64',
  MOVAPS: 'Vx,Wx 32 32m; Wx,Vx 32m',
  MOVD: 'Vx,Ed 32 32m',
  MOVQ: 'Eq,Vx 64; Vx,Eq 64',
  MOVSD: 'Mq,Vx 64m; Vx,Mq 64m',
  MOVSX: 'Gv,Eb 32 64 32m 64m',
  MOVSXD: 'Gv,Ez 64 64m',
  MOVUPS: 'Vx,Wu 32m; Wu,Vx 32m',
  MOVZX: 'Gv,Eb 32 32m; Gv,Ew 32 32m',
  MUL: 'Ev 64',
  MULSD: 'Vx,Wq 64',
  NEG: 'Ev 32 64',
  NOP: '32; E 32m',
  NOT: 'Ev 32 64',
  OR: 'Eb,Gb 8; Eb,Ib 8m; Ev,Gv 32 64; Ev,Iz 32 64; Gb,Eb 8m; Gv,Ev 64m',
  PADDD: 'Vx,Wx 32',
  PCMPEQB: 'Vx,Wx 32',
  PMOVMSKB: 'Gd,Ux 32',
  POP: 'Zv 64',
  PUSH: 'Ev 64m; Iz 64; Zv 64',
  PXOR: 'Vx,Wx 32',
  RET: '64',
  ROL: 'Ev,Ib 32',
  ROR: 'Ev,Ib 32',
  SAR: 'Ev,1 32; Ev,CL 32; Ev,Ib 32 64',
  SBB: 'Eb,Gb 8; Ev,Gv 32',
  SETB: 'Eb 8',
  SETE: 'Eb 8',
  SETNE: 'Eb 8 8m',
  SETO: 'Eb 8',
  SHL: 'Ev,CL 32 64; Ev,Ib 32 64',
  SHR: 'Ev,1 16 32 64; Ev,CL 32 64; Ev,Ib 16 32 64',
  STI: '32',
  SUB: 'Ev,Gv 32 64 32m 64m; Ev,Iz 32 64 32m 64m; Gv,Ev 64m',
  TEST: 'AL,Ib 8; Eb,Gb 8; Eb,Ib 8 8m; Ev,Gv 16 32 64; Ev,Iz 32 64 16m 32m 64m; rAX,Iz 32',
  UCOMISD: 'Vx,Wq 64m',
  XOR: 'Eb,Gb 8; Ev,Gv 32 64; Ev,Iz 32; Gb,Eb 8m; Gv,Ev 32m 64m',
};

const NAMES: ReadonlySet<string> = new Set(
  Object.entries(PRODUCTS).flatMap(([mnemonic, list]) =>
    list.split('; ').flatMap((entry) => {
      const words = entry.split(' ');
      const operands = /^[0-9]/.test(words[0] as string) ? '' : (words.shift() as string);
      return words.map((size) => nameOf(mnemonic, operands, size));
    }),
  ),
);

function nameOf(mnemonic: string, operands: string, size: string): string {
  return `${mnemonic} ${operands} ${size}`;
}

/** @param isFlavored the product differs between 64-bit mode and everything else: only the former is here */
export function isInline({ form, size, memory, flat, lock, repeat }: Variant, isFlavored: boolean): boolean {
  if (lock || repeat !== 'none' || (isFlavored && !flat)) return false;
  const operands = form.operands.map(({ text }) => text).join(',');
  return NAMES.has(nameOf(form.mnemonic, operands, `${size * 8}${memory ? 'm' : ''}`));
}
