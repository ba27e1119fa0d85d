/** What differs between two machines that should be the same: registers, memory, platform state. */
import { PAGE } from '../../hypervisor/memory/layout.ts';
import { readFlags, VpState, type VpView } from '../../hypervisor/vp/state.ts';
import type { Saved } from '../../support/struct.ts';
import type { SteppedMachine } from '../stepped-machine.ts';

export interface Difference {
  /** `rax`, `memory 0x1000`, `com1.ier`. */
  readonly where: string;
  readonly interpreted: string;
  readonly translated: string;
}

/** Of memory, so many are told. */
const MOST_WORDS = 8;
/** Together they are RFLAGS. */
const LAZY: ReadonlySet<string> = new Set(['flagResult', 'flagCarries', 'flagAux', 'flags']);
const GPR = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');
const SEGMENTS = 'es cs ss ds fs gs ldtr tr gdtr idtr flat'.split(' ');
const FLAGS = ['CF', '', 'PF', '', 'AF', '', 'ZF', 'SF', 'TF', 'IF', 'DF', 'OF'];

/** All that a saved state holds of a processor. */
export function registerDifferences(a: VpView, b: VpView): Difference[] {
  const differences: Difference[] = [];
  const flags = [readFlags(a), readFlags(b)] as const;
  if (flags[0] !== flags[1])
    differences.push({ where: 'rflags', interpreted: flagsText(flags[0]), translated: flagsText(flags[1]) });
  const left = VpState.save(a).fields;
  const right = VpState.save(b).fields;
  for (const name of Object.keys(left)) {
    if (LAZY.has(name)) continue;
    eachValue(left[name], right[name], (index, x, y) => {
      differences.push({ where: registerName(name, index), interpreted: hexadecimal(x), translated: hexadecimal(y) });
    });
  }
  return differences;
}

/** Whether memory is the same, and the first words that are not. */
export function memoryDifferences(a: SteppedMachine, b: SteppedMachine): Difference[] {
  const differences: Difference[] = [];
  for (const { gpa, size, host } of a.machine.ram()) {
    const left = new Int32Array(a.buffer, host, size / 4);
    const right = new Int32Array(b.buffer, host, size / 4);
    for (let page = 0; page < size / 4 && differences.length < MOST_WORDS; page += PAGE / 4) {
      if (same(left, right, page, page + PAGE / 4)) continue;
      for (let i = page; i < page + PAGE / 4 && differences.length < MOST_WORDS; i++) {
        if (left[i] === right[i]) continue;
        const word = (words: Int32Array): string => `0x${((words[i] as number) >>> 0).toString(16).padStart(8, '0')}`;
        const where = `memory 0x${(gpa + i * 4).toString(16)}`;
        differences.push({ where, interpreted: word(left), translated: word(right) });
      }
    }
  }
  return differences;
}

function same(a: Int32Array, b: Int32Array, from: number, to: number): boolean {
  let any = 0;
  for (let i = from; i < to; i++) any |= (a[i] as number) ^ (b[i] as number);
  return any === 0;
}

/** Interrupt controllers, Hyper-V's interface, devices. */
export function deviceDifferences(a: SteppedMachine, b: SteppedMachine): Difference[] {
  const differences: Difference[] = [];
  const right: Readonly<Record<string, Saved>> = b.machine.arena.save();
  for (const [name, saved] of Object.entries(a.machine.arena.save())) {
    if (saved.struct === VpState.name) continue;
    const other = (right[name] as Saved).fields;
    for (const [field, value] of Object.entries(saved.fields))
      eachValue(value, other[field], (index, x, y) => {
        const place = index === undefined ? '' : `[${index}]`;
        const where = `${name}.${field}${place}`;
        differences.push({ where, interpreted: hexadecimal(x), translated: hexadecimal(y) });
      });
  }
  return differences;
}

/** Calls `differ` for each value of two saved fields that is not the same. */
function eachValue(
  a: unknown,
  b: unknown,
  differ: (index: number | undefined, x: string | number, y: string | number) => void,
): void {
  if (Array.isArray(a) && Array.isArray(b)) {
    a.forEach((value: string | number, i) => {
      if (value !== b[i]) differ(i, value, b[i] as string | number);
    });
  } else if (a !== b) differ(undefined, a as string | number, b as string | number);
}

function registerName(field: string, index: number | undefined): string {
  if (index === undefined) return field;
  if (field === 'gpr') return GPR[index] as string;
  if (field === 'xmm') return `xmm${index >> 1}${index & 1 ? ' high' : ' low'}`;
  if (field === 'x87') return `x87 R${index >> 1}${index & 1 ? ' sign and exponent' : ' significand'}`;
  if (field.startsWith('segment')) return `${SEGMENTS[index]} ${field.slice('segment'.length).toLowerCase()}`;
  return `${field}${index}`;
}

function hexadecimal(value: string | number): string {
  return `0x${BigInt(value).toString(16)}`;
}

function flagsText(flags: number): string {
  const names = FLAGS.filter((name, bit) => name !== '' && flags & (1 << bit));
  return `0x${flags.toString(16)} (${names.join(' ')})`;
}
