/** A divergence of two engines in a reader's words. */
import type { MadeRegion } from '../stepped-machine.ts';
import type { Difference } from './compare.ts';
import { addressText, disassemble } from './disassemble.ts';

/** The interpreter in front of an instruction: `count` have retired. */
export interface Step {
  readonly count: bigint;
  readonly rip: bigint;
  /** Guest-physical address of the instruction. */
  readonly gpa: bigint | undefined;
  readonly mode: number;
  readonly bytes: Uint8Array;
  readonly gpr: readonly bigint[];
}

export interface Divergence {
  /** Instructions retired when the machines first differ. */
  readonly count: bigint;
  /**
   * `exact`: the last of them is the instruction that makes the difference. `about`: one of the last few hundred is, and the
   * difference went away when translated code was made to stop at each. `once`: it has not shown a second time.
   */
  readonly certainty: 'exact' | 'about' | 'once';
  readonly differences: readonly Difference[];
  /** The last one is behind the instruction, the one before in front of it. */
  readonly steps: readonly Step[];
  /** All that have been made. */
  readonly regions: readonly MadeRegion[];
}

const CERTAINTY = {
  exact: 'the engines differ after instruction',
  about: 'the engines differ somewhere in the few hundred instructions before number',
  once: 'the engines have differed, in a run that did not repeat, before instruction',
} as const;
const PAGE = 4096;
const GPR = 'rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15'.split(' ');

/** The instruction that makes the difference, as the interpreter was in front of it. */
export function culprit({ steps }: Divergence): Step | undefined {
  return steps.at(-2);
}

export function divergenceText(divergence: Divergence): string {
  const { count, certainty, differences, steps, regions } = divergence;
  const guilty = culprit(divergence);
  const place = guilty ? `, at ${addressText(guilty.rip, guilty.mode)}` : '';
  const lines = [`${CERTAINTY[certainty]} ${count}${place}`];
  if (steps.length > 0) lines.push('executed by the interpreter:');
  for (const step of steps) {
    const { text, length } = disassemble(step.bytes, step.mode, step.rip);
    const bytes = Array.from(step.bytes.subarray(0, length), (b) => b.toString(16).padStart(2, '0')).join(' ');
    const mark = step === guilty ? '>' : ' ';
    const number = String(step.count + 1n).padStart(12);
    lines.push(`${mark} ${number}  ${addressText(step.rip, step.mode)}  ${bytes.padEnd(30)} ${text}`);
  }
  if (guilty) lines.push('registers in front of it:', ...registersText(guilty.gpr));
  const name = Math.max(...differences.map(({ where }) => where.length), 0);
  const value = Math.max(...differences.map(({ interpreted }) => interpreted.length), 'interpreted'.length);
  lines.push(`  ${''.padEnd(name)}  ${'interpreted'.padEnd(value)}  translated`);
  for (const { where, interpreted, translated } of differences)
    lines.push(`  ${where.padEnd(name)}  ${interpreted.padEnd(value)}  ${translated}`);
  const around = guilty?.gpa === undefined ? [] : regions.filter((region) => holds(region, Number(guilty.gpa)));
  lines.push(around.length > 0 ? 'translated with that instruction:' : 'no region had that instruction');
  for (const { item, from, length, size, blocks } of around) {
    const at = (offset: number): string => `0x${linearOf(item, offset).toString(16)}`;
    const second = item.nextHost ? ` and 0x${item.nextGpa.toString(16)}` : '';
    lines.push(
      `  region at ${at(item.entry)} (guest-physical), ${size} instructions from ${at(from)} to ${at(from + length)}, ` +
        `page 0x${item.gpa.toString(16)}${second}; blocks at ${[...blocks]
          .sort((a, b) => a - b)
          .map(at)
          .join(' ')}`,
    );
  }
  return lines.join('\n');
}

function registersText(gpr: readonly bigint[]): string[] {
  const lines: string[] = [];
  for (let i = 0; i < gpr.length; i += 4)
    lines.push(
      `  ${GPR.slice(i, i + 4)
        .map((name, n) => `${name.padEnd(3)} 0x${(gpr[i + n] as bigint).toString(16).padStart(16, '0')}`)
        .join('  ')}`,
    );
  return lines;
}

function linearOf({ gpa, nextGpa }: MadeRegion['item'], offset: number): number {
  return offset < PAGE ? gpa + offset : nextGpa + offset - PAGE;
}

function holds({ item, from, length }: MadeRegion, gpa: number): boolean {
  const inFirst = gpa >= item.gpa + from && gpa < item.gpa + Math.min(from + length, PAGE);
  return inFirst || (item.nextHost !== 0 && gpa >= item.nextGpa && gpa < item.nextGpa + from + length - PAGE);
}
