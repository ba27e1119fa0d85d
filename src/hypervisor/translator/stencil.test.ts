import { describe, expect, it } from 'vitest';
import { Mode } from '../vp/state.ts';
import { Decoder, Instruction } from '../x86/decoder.ts';
import { forms, helperDefinitions } from '../x86/table.ts';
import { Code } from './code.ts';
import { Locals, OWN, Own } from './locals.ts';
import { ALL_PARTS, CONDITIONS_SHIFT, StencilCache, StencilUse } from './stencil.ts';

const decoder = new Decoder(forms);
const MODE = Mode.LONG64 | Mode.LONG | Mode.PROTECTED;
const types = new Map(helperDefinitions.map(({ name, type }) => [name, type]));
const PLAIN = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] } as const;
const VP = 0x1_0000;

function decode(bytes: string): Instruction {
  const code = Uint8Array.from(`${bytes} 90 90 90 90`.split(' '), (b) => Number.parseInt(b, 16));
  const i = new Instruction();
  expect(decoder.decode(code, 0, code.length, MODE, i)).toBe('ok');
  return i;
}
const cache = new StencilCache(VP, MODE, (name) => types.get(name) ?? PLAIN);
const stencil = (bytes: string, known = 0, done = 0, need = 0) => cache.get(decode(bytes), known, done, need);

describe('stencils', () => {
  it.each([
    ['add eax, ecx', '01 c8', 'add r9d, ebx', '41 01 d9'],
    ['add eax, 5', '83 c0 05', 'add edi, 0x12345678', '81 c7 78 56 34 12', false],
    ['mov rax, [rcx]', '48 8b 01', 'mov r15, [rip+0x1000]', '4c 8b 3d 00 10 00 00'],
    ['mov rax, [rcx]', '48 8b 01', 'mov rdx, [rsi+rdi*8-16]', '48 8b 54 fe f0'],
    ['jz +2', '74 02', 'jz -0x70', '74 90'],
  ] as const)('are shared: %s (%s), %s (%s)', (_one, a, _other, b, shared: boolean = true) => {
    expect(stencil(a) === stencil(b)).toBe(shared);
  });

  it.each([
    ['add al, cl', '00 c8', 'add ah, cl', '00 cc'],
    ['mov rax, [rcx]', '48 8b 01', 'mov rax, fs:[rcx]', '64 48 8b 01'],
    ['mov rax, [rcx]', '48 8b 01', 'mov rax, [rsp]', '48 8b 04 24'],
    ['shl eax, 3', 'c1 e0 03', 'shl eax, 4', 'c1 e0 04'],
    ['add eax, ecx', '01 c8', 'add rax, rcx', '48 01 c8'],
    ['add eax, ecx', '01 c8', 'add ax, cx', '66 01 c8'],
    ['and eax, 0', '83 e0 00', 'and eax, 1', '83 e0 01'],
    ['mov eax, ds', '8c d8', 'mov eax, es', '8c c0'],
  ] as const)('differ: %s (%s), %s (%s)', (_one, a, _other, b) => {
    expect(stencil(a)).not.toBe(stencil(b));
  });

  it('have the flags that are needed, and say what is known of them', () => {
    const dead = stencil('39 c8');
    const all = stencil('39 c8', 0, 0, ALL_PARTS);
    const below = stencil('39 c8', 0, 0, 1 << (CONDITIONS_SHIFT + 1));
    expect(dead.writesFlags).toBe(false);
    expect(all.writesFlags).toBe(true);
    expect(dead.known).toBe(all.known);
    const flags = (slots: readonly number[]): number[] =>
      slots.filter((slot) => slot >= OWN + Own.RESULT && slot <= OWN + Own.KIND).sort((a, b) => a - b);
    expect(flags(all.slots)).toHaveLength(5);
    // Whether one is below the other is a comparison of the two.
    expect(flags(below.slots)).toEqual([OWN + Own.A, OWN + Own.B]);
    expect(flags(stencil('72 02', all.known).slots)).toEqual([OWN + Own.A, OWN + Own.B]);
  });

  it('are written with the registers and numbers of the instruction', () => {
    const text = (bytes: string, at: number): string => {
      const i = decode(bytes);
      const locals = new Locals(VP, 2);
      const code = new Code();
      code.begin();
      const redo = code.block();
      new StencilUse(locals, cache.get(i, 0, 0, 0), i, at, 0).write(code, redo, () => ({
        name: '',
        type: PLAIN,
        index: () => 7,
      }));
      return Buffer.from(code.out.view()).toString('hex');
    };
    // lea rbx, [rip+0x10] at 0x20: page + 0x37 into the address, and that into the register.
    expect(text('48 8d 1d 10 00 00 00', 0x20)).toBe('02402004 4237 7c 2102 2002 2103'.replaceAll(' ', ''));
  });
});
