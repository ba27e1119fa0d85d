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
  const [CARRY, ALL] = [8, 31];
  const EQUAL = 2;
  // biome-ignore format: a table
  it.each([
    ['add eax, ecx',       '01 c8',       { needsAll: false, sets: true,  reads: 0,     passes: 0 }],
    ['add [rax], ecx',     '01 08',       { needsAll: true,  sets: true,  reads: 0,     passes: 0 }],
    ['adc eax, ecx',       '11 c8',       { needsAll: false, sets: true,  reads: CARRY, passes: CARRY }],
    ['inc eax',            'ff c0',       { needsAll: false, sets: true,  reads: 0,     passes: CARRY }],
    ['mov eax, ecx',       '89 c8',       { needsAll: false, sets: false, reads: 0 }],
    ['mov eax, [rcx]',     '8b 01',       { needsAll: true,  sets: false, reads: 0 }],
    ['lea rax, [rcx+8]',   '48 8d 41 08', { needsAll: false, sets: false, reads: 0 }],
    ['jz',                 '74 10',       { needsAll: false, sets: false, reads: 0, condition: EQUAL }],
    ['setnz [rax]',        '0f 95 00',    { needsAll: true,  sets: false, reads: 0, condition: EQUAL }],
    ['xor eax, eax',       '31 c0',       { needsAll: false, sets: true,  reads: 0,     passes: 0 }],
    ['shl eax, 0',         'c1 e0 00',    { needsAll: false, sets: false, conditional: false }],
    ['shl eax, cl',        'd3 e0',       { needsAll: true,  sets: true,  conditional: true }],
    ['lahf',               '9f',          { needsAll: false, sets: false, reads: ALL }],
    ['bt eax, ecx',        '0f a3 c8',    { needsAll: false, sets: true,  reads: 0,     passes: ALL & ~CARRY }],
    ['addps xmm0, xmm1',   '0f 58 c1',    { sets: false, asks: true }],
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
