/**
 * Records against what each field's description in record.ts says of the decoded instruction, worked out from the form's
 * operands one by one. The instruction itself is compared with iced-x86 (x86/decoder.test.ts).
 */
import { describe, expect, it } from 'vitest';
import { Mode } from '../vp/state.ts';
import { Decoder, Instruction } from '../x86/decoder.ts';
import type { OperandForm } from '../x86/form.ts';
import { forms } from '../x86/table.ts';
import { ENDS, LENGTH, RecordWriter } from './encode-record.ts';
import { HandlerTable } from './handlers.ts';
import { Field, RECORD } from './record.ts';

const CASES = Number(process.env.VIRIDIAN_DECODE_CASES ?? 60_000);
const PREFIXES = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x40, 0x41, 0x42, 0x44, 0x48, 0x4f];
const MODES = [0, Mode.CODE32, Mode.LONG | Mode.CODE32, Mode.LONG64 | Mode.LONG, Mode.LONG64 | Mode.LONG | Mode.USER];
/** Behind the sixteen registers in VpState. */
const ZERO = 16 * 8;
const BLOCK_IP = 17 * 8;
const STACK = 0x80;

const decoder = new Decoder(forms);
const handlers = new HandlerTable(forms);
const instruction = new Instruction();
const words = new Int32Array(RECORD / 4);
const writer = new RecordWriter(words, handlers);

function generator(state: number): (below: number) => number {
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) % below;
  };
}

/** A register operand's field: an offset into the register file, or a number. */
function register({ kind, width }: OperandForm, i: Instruction, number: number): number {
  if (kind === 'S' || kind === 'ST') return number & 7;
  if (kind === 'C' || kind === 'D') return number;
  if ('VWU'.includes(kind)) return number * 16;
  if ('PQN'.includes(kind)) return (number & 7) * 16;
  const isHigh = width === 'b' && i.rex === 0 && number >= 4 && number < 8;
  return isHigh ? (number - 4) * 8 + 1 : number * 8;
}

function expected(i: Instruction, ip: number): readonly number[] {
  const { form } = i;
  const fields = new Array<number>(8).fill(0);
  let reg = 0;
  let rm = 0;
  for (const o of form.operands) {
    if ('GZVPSCD'.includes(o.kind)) reg = register(o, i, i.reg);
    if ('ERWUQN'.includes(o.kind) || o.kind === 'ST') rm = register(o, i, i.rm);
  }
  let index = 0;
  let displacement = BigInt(i.displacement);
  let address = i.addressSize;
  if (i.isMemory) {
    rm = i.base < 0 ? ZERO : i.base === 16 ? BLOCK_IP : i.base * 8;
    index = i.index < 0 ? ZERO : i.index * 8;
    if (i.base === 16) displacement += BigInt(ip + i.length);
    if (i.long64 && i.segmentOverride < 0 && (i.base === 4 || i.base === 5)) address |= STACK;
  }
  if (form.operands.some((o) => o.kind === 'O'))
    displacement = (BigInt(i.displacementHigh) << 32n) | BigInt(i.displacement >>> 0);
  const first = form.operands.find((o) => 'IJA'.includes(o.kind));
  let immediate = (BigInt(i.immediateHigh) << 32n) | BigInt(i.immediate >>> 0);
  if (first?.kind === 'J') immediate = BigInt(i.immediate) + BigInt(ip + i.length);
  else if (first)
    immediate = BigInt.asUintN(first.width === 'b' ? 8 : first.width === 'w' ? 16 : i.size * 8, immediate);
  fields[Field.HANDLER / 4] = handlers.of(i) | (ip << 16) | (i.length << 24);
  fields[Field.REG / 4] = reg | (rm << 8) | (index << 16) | (i.scale << 24);
  fields[Field.IMMEDIATE2 / 4] = i.immediate2;
  fields[Field.SEGMENT / 4] = i.segment | (address << 8) | (form.id << 16);
  fields[Field.IMMEDIATE / 4] = Number(BigInt.asIntN(32, immediate));
  fields[Field.IMMEDIATE / 4 + 1] = Number(BigInt.asIntN(32, immediate >> 32n));
  fields[Field.DISPLACEMENT / 4] = Number(BigInt.asIntN(32, displacement));
  fields[Field.DISPLACEMENT / 4 + 1] = Number(BigInt.asIntN(32, displacement >> 32n));
  return fields;
}

describe('a record', () => {
  it('says of every form, in every mode, what its fields are for', () => {
    const random = generator(1);
    const bytes = new Uint8Array(24);
    const wrong: string[] = [];
    const reached = new Set<number>();
    const compare = (mode: number): void => {
      const ip = random(200);
      writer.ip = ip;
      const outcome = decoder.decode(bytes, 0, bytes.length, mode, instruction);
      const done = decoder.parse(bytes, 0, bytes.length, mode, writer);
      if (outcome !== 'ok') {
        if (done >= 0) wrong.push(`${bytes.toHex()} in mode ${mode} is ${outcome}`);
        return;
      }
      const { form, length } = instruction;
      reached.add(form.id);
      const result = length | (form.options.ends ? ENDS : 0);
      if (done !== result || (done & LENGTH) !== length || words.join() !== expected(instruction, ip).join())
        wrong.push(`${form.mnemonic} ${form.encoding}, ${bytes.toHex()} in mode ${mode}: ${words.join()}`);
    };
    for (const form of forms) {
      for (let n = 0; n < 60; n++) {
        for (let i = 0; i < 24; i++) bytes[i] = random(256);
        const mandatory = { 66: [0x66], F2: [0xf2], F3: [0xf3] }[form.prefix as '66'] ?? [];
        const repeat = form.options.repeat ? [[0xf2], [0xf3], []][random(3)]! : [];
        const lock = form.options.lock ? [[0xf0], []][random(2)]! : [];
        const rex = random(2) ? [0x40 | random(16) | ((form.w ?? 0) << 3)] : [];
        const map = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]][form.map]!;
        const opcode = form.opcode + (form.opcodeRegister ? random(8) : 0);
        const modrm = form.modrm
          ? form.modrm[0] + random(form.modrm[1])
          : (random(256) & (form.digit === undefined ? 0xff : 0xc7)) | ((form.digit ?? 0) << 3);
        bytes.set([...mandatory, ...repeat, ...lock, ...rex, ...map, opcode, modrm]);
        compare(MODES[3 + random(2)]!);
        bytes.set([...mandatory, ...repeat, ...lock, ...map, opcode, modrm]);
        compare(MODES[random(MODES.length)]!);
      }
    }
    for (let n = 0; n < CASES; n++) {
      for (let i = 0; i < 24; i++) bytes[i] = random(256);
      for (let at = random(4); at > 0; at--) bytes[at - 1] = PREFIXES[random(PREFIXES.length)]!;
      compare(MODES[random(MODES.length)]!);
    }
    expect(wrong.slice(0, 10)).toEqual([]);
    expect(forms.filter((f) => !reached.has(f.id)).map((f) => `${f.mnemonic} ${f.encoding}`)).toEqual([]);
    expect(reached.size).toBe(forms.length);
  });
});
