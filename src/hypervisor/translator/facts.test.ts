import { describe, expect, it } from 'vitest';
import { Mode } from '../vp/state.ts';
import { Decoder, Instruction } from '../x86/decoder.ts';
import { forms, helperDefinitions } from '../x86/table.ts';
import { factsOf } from './facts.ts';

const decoder = new Decoder(forms);
const MODE = Mode.LONG64 | Mode.LONG | Mode.PROTECTED;
const types = new Map(helperDefinitions.map(({ name, type }) => [name, type]));
const PLAIN = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] } as const;

function facts(bytes: string) {
  const code = Uint8Array.from(`${bytes} 90 90 90 90`.split(' '), (b) => Number.parseInt(b, 16));
  const i = new Instruction();
  expect(decoder.decode(code, 0, code.length, MODE, i)).toBe('ok');
  return factsOf(i, MODE, (name) => types.get(name) ?? PLAIN);
}

describe('what is known of an instruction before it is translated', () => {
  // Flags are all new where none of the old ones goes into them: ADC's carry does, and INC keeps it, if anybody reads it.
  // biome-ignore format: a table
  it.each([
    ['add eax, ecx',       '01 c8',       { needsFlags: false, setsAllFlags: true }],
    ['add [rax], ecx',     '01 08',       { needsFlags: true,  setsAllFlags: true }],
    ['adc eax, ecx',       '11 c8',       { needsFlags: true,  setsAllFlags: false }],
    ['inc eax',            'ff c0',       { needsFlags: false, setsAllFlags: false }],
    ['mov eax, ecx',       '89 c8',       { needsFlags: false, setsAllFlags: false }],
    ['mov eax, [rcx]',     '8b 01',       { needsFlags: true,  setsAllFlags: false }],
    ['lea rax, [rcx+8]',   '48 8d 41 08', { needsFlags: false, setsAllFlags: false }],
    ['jz',                 '74 10',       { needsFlags: true,  setsAllFlags: false }],
    ['xor eax, eax',       '31 c0',       { needsFlags: false, setsAllFlags: true }],
    ['shl eax, 0',         'c1 e0 00',    { conditional: false, setsAllFlags: false }],
    ['shl eax, cl',        'd3 e0',       { setsAllFlags: false }],
  ] as const)('%s', (_text, bytes, expected) => {
    expect(facts(bytes)).toMatchObject({ translatable: true, ...expected });
  });

  it.each([
    ['rep movsb', 'f3 a4'],
    ['hlt', 'f4'],
    ['mov eax, [ecx], with a prefix for the address', '67 8b 01'],
    ['mov rax, cr0', '0f 20 c0'],
  ])('%s is not translated', (_text, bytes) => {
    expect(facts(bytes).translatable).toBe(false);
  });
});
