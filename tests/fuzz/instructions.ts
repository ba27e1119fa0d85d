// Guest code that means harm: real instructions of the form table with random operands, mutations of them, prefix floods
// and plain random bytes. Whether a stream decodes as it was built does not matter: it only has to reach every handler.

import type { Form } from '../../src/hypervisor/x86/form.ts';
import { forms } from '../../src/hypervisor/x86/table.ts';
import type { Random } from '../oracle/generate.ts';

export const PREFIXES = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65] as const;

/** How code is encoded: what an address in ModRM looks like, and whether REX prefixes exist. */
export interface CodeShape {
  readonly long64: boolean;
  readonly code32: boolean;
}

/** Addresses that displacements and immediates name now and then. */
const PLACES = [
  0, 0x1000, 0x1ffc, 0x2000, 0x4000, 0x8ff9, 0x2_0000, 0x2_0fff, 0xf_fff8, 0x10_0000, 0xfee0_0000, -1, -8,
];

function number(random: Random, bytes: number, into: number[]): void {
  let value = random.oneIn(3) ? random.pick(PLACES) : random.oneIn(2) ? random.below(256) : random.u32();
  for (let i = 0; i < bytes; i++) {
    into.push(value & 0xff);
    value >>= 8;
  }
}

function immediateBytes(form: Form, random: Random, shape: CodeShape): number {
  let bytes = 0;
  const wide = shape.long64 || shape.code32 ? 4 : 2;
  for (const { kind, width } of form.operands) {
    if (kind === 'I' || kind === 'J') bytes += width === 'b' || width === 'bs' ? 1 : width === 'w' ? 2 : wide;
    else if (kind === 'A') bytes += wide + 2;
    else if (kind === 'O') bytes += shape.long64 ? 8 : wide;
  }
  return random.oneIn(20) ? random.below(16) : bytes;
}

function modrm(form: Form, random: Random, shape: CodeShape, out: number[]): void {
  let byte = random.below(256);
  if (form.modrm) byte = form.modrm[0] + random.below(form.modrm[1]);
  else {
    if (form.digit !== undefined) byte = (byte & 0xc7) | (form.digit << 3);
    if (form.rm === 'register') byte |= 0xc0;
    else if (form.rm === 'memory' && byte >= 0xc0) byte &= 0x3f | (random.below(3) << 6);
  }
  out.push(byte);
  if (byte >= 0xc0) return;
  const mod = byte >> 6;
  const rm = byte & 7;
  const wide = shape.long64 || shape.code32;
  if (wide && rm === 4) out.push(random.below(256));
  const bare = mod === 0 && rm === (wide ? 5 : 6);
  number(random, mod === 1 ? 1 : mod === 2 || bare ? (wide ? 4 : 2) : 0, out);
}

/** One instruction of a form, with whatever prefixes and operands. */
export function instructionOf(form: Form, random: Random, shape: CodeShape): number[] {
  const out: number[] = [];
  while (random.oneIn(5)) out.push(random.pick(PREFIXES));
  if (form.options.repeat && random.oneIn(2)) out.push(random.oneIn(2) ? 0xf3 : 0xf2);
  if (form.options.lock && random.oneIn(3)) out.push(0xf0);
  if (form.prefix === '66' || form.prefix === 'F3' || form.prefix === 'F2') out.push(Number.parseInt(form.prefix, 16));
  if (shape.long64 && (form.w !== undefined || random.oneIn(2)))
    out.push(0x40 | (random.below(16) & ~8) | (form.w === 1 || (form.w === undefined && random.oneIn(2)) ? 8 : 0));
  if (form.map > 0) out.push(0x0f);
  if (form.map > 1) out.push(form.map === 2 ? 0x38 : 0x3a);
  out.push(form.opcode + (form.opcodeRegister ? random.below(8) : 0));
  if (form.hasModrm) modrm(form, random, shape, out);
  number(random, immediateBytes(form, random, shape), out);
  return out;
}

/** Forms that matter most to a host: everything TypeScript executes is as likely as all the rest. */
const privileged = forms.filter((f) => f.options.privileged || f.options.ends || f.options.repeat);

/** Fills `into` with code. */
export function fillWithCode(into: Uint8Array, random: Random, shape: CodeShape): void {
  const kind = random.below(16);
  if (kind === 0) {
    for (let i = 0; i < into.length; i++) into[i] = random.below(256);
    return;
  }
  if (kind === 1) {
    for (let i = 0; i < into.length; i++) into[i] = random.oneIn(16) ? random.below(256) : random.pick(PREFIXES);
    return;
  }
  const few = random.oneIn(4) ? Array.from({ length: 3 }, () => random.pick(forms)) : undefined;
  for (let at = 0; at < into.length; ) {
    const form = few ? random.pick(few) : random.oneIn(3) ? random.pick(privileged) : random.pick(forms);
    const bytes = instructionOf(form, random, shape);
    if (random.oneIn(12)) bytes[random.below(bytes.length)] = random.below(256);
    into.set(bytes.slice(0, into.length - at), at);
    at += bytes.length;
  }
}
