// A divergence in words: bytes, disassembly, what went in, and what each side made of it.

import { createRequire } from 'node:module';
import type { GeneratedCase, Piece } from './cases.ts';
import { flagText } from './compare.ts';
import type { Divergence } from './comparison.ts';
import { cellName } from './forms.ts';
import { CODE_ADDRESS } from './native/protocol.ts';

const { Decoder, DecoderOptions, Formatter, FormatterSyntax } = createRequire(import.meta.url)(
  'iced-x86',
) as typeof import('iced-x86');

const GPR_NAMES = 'RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15'.split(' ');

/** The last instruction's mnemonic, or of a sequence all of them. */
export function mnemonicOf(d: Divergence): string {
  return d.case.pieces.map((p) => p.cell.form.mnemonic).join(' ');
}

export function hex(bytes: Uint8Array): string {
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(' ');
}

export function disassemble(c: GeneratedCase, piece: Piece): string {
  const bytes = c.code.slice(piece.offset, piece.offset + piece.length);
  const decoder = new Decoder(c.mode, bytes, DecoderOptions.None);
  decoder.ip = BigInt(CODE_ADDRESS + c.codeOffset + piece.offset);
  const instruction = decoder.decode();
  const formatter = new Formatter(FormatterSyntax.Intel);
  const text = formatter.format(instruction);
  for (const object of [formatter, instruction, decoder]) object.free();
  return text;
}

export function describeDivergence(d: Divergence): string {
  const c = d.case;
  const lines = [`divergence in ${c.mode}-bit mode:`];
  for (const piece of c.pieces) {
    const bytes = hex(c.code.subarray(piece.offset, piece.offset + piece.length));
    lines.push(`  ${bytes}   ${disassemble(c, piece)}   [${cellName(piece.cell)}]`);
  }
  const registers = GPR_NAMES.map((name, i) => `${name}=${(c.gprs[i] as bigint).toString(16)}`);
  lines.push(`  at ${(CODE_ADDRESS + c.codeOffset).toString(16)}h, RFLAGS ${flagText(c.rflags)}, seed ${c.seed}`);
  lines.push(`  ${registers.slice(0, 8).join(' ')}`);
  if (c.mode === 64) lines.push(`  ${registers.slice(8).join(' ')}`);
  if (c.mode === 64) lines.push(`  FS base ${c.fsBase.toString(16)}h, GS base ${c.gsBase.toString(16)}h`);
  for (const { offset, bytes } of c.patches)
    lines.push(`  data+${offset.toString(16)}h: ${hex(bytes.subarray(0, 32))}`);
  if (c.pieces.some((p) => p.cell.form.operands.some((o) => 'VWUPQN'.includes(o.kind)) || isX87(p))) {
    const fx = new DataView(c.fx.buffer, c.fx.byteOffset, c.fx.byteLength);
    lines.push(
      `  FCW ${fx.getUint16(0, true).toString(16)}h FSW ${fx.getUint16(2, true).toString(16)}h tags ${(c.fx[4] ?? 0).toString(16)}h MXCSR ${fx.getUint32(24, true).toString(16)}h`,
    );
    const registersOf = (from: number, n: number, size: number) =>
      Array.from({ length: n }, (_, i) =>
        hex(c.fx.slice(from + i * 16, from + i * 16 + size).reverse()).replaceAll(' ', ''),
      );
    if (c.pieces.some(isX87)) lines.push(`  ST0.. ${registersOf(32, 8, 10).join(' ')}`);
    else lines.push(`  XMM0.. ${registersOf(160, c.mode === 64 ? 16 : 8, 16).join(' ')}`);
  }
  for (const difference of d.differences) lines.push(`    ${difference}`);
  return lines.join('\n');
}

function isX87(p: Piece): boolean {
  const { form } = p.cell;
  return (
    form.operands.some((o) => 'PQN'.includes(o.kind)) || (form.map === 0 && form.opcode >= 0xd8 && form.opcode <= 0xdf)
  );
}
