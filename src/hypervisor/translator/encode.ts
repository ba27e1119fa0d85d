/** WebAssembly that encodes itself: opcodes (Core Specification, "Binary Format: Instructions") and accesses to locals. */
import { type ByteWriter, Hole } from '../wasm/bytes.ts';

export const [IF, ELSE, END, BR_IF, CALL] = [0x04, 0x05, 0x0b, 0x0d, 0x10] as const;
export const [CONST32, CONST64, EQZ32, LT_U64, ADD32, AND32, SHL32, SHR_U32, SUB64, WRAP] = [
  0x41, 0x42, 0x45, 0x54, 0x6a, 0x71, 0x74, 0x76, 0x7d, 0xa7,
] as const;
export const [LOAD32, LOAD64, STORE32, STORE64, I32] = [0x28, 0x29, 0x36, 0x37, 0x7f] as const;
export const [LOAD_V, STORE_V] = [
  [0xfd, 0],
  [0xfd, 11],
] as const;
export function getLocal(out: ByteWriter, local: number): void {
  out.byte(0x20);
  out.index(Hole.LOCAL, local);
}
export function setLocal(out: ByteWriter, local: number): void {
  out.byte(0x21);
  out.index(Hole.LOCAL, local);
}
export function teeLocal(out: ByteWriter, local: number): void {
  out.byte(0x22);
  out.index(Hole.LOCAL, local);
}
