/**
 * Regions: what is translated as one function. A region is the code within one page that can be reached from its entry by
 * direct jumps and branches, cut into basic blocks; everything else (calls, returns, indirect jumps, other pages,
 * instructions that are not translated) leaves it.
 */
import { Mode } from '../vp/state.ts';
import { type Decoder, Instruction } from '../x86/decoder.ts';
import type { Form } from '../x86/form.ts';

/** An instruction of a region, copied out of the decoder's reused object. */
export interface RegionInstruction {
  readonly form: Form;
  readonly decoded: Instruction;
  /** Offset in the page. */
  readonly at: number;
  readonly length: number;
}

export interface Block {
  /** Offset of the first instruction in the page: the block's name. */
  readonly at: number;
  readonly instructions: readonly RegionInstruction[];
  /** Offset after the last instruction. */
  readonly end: number;
  /** Offsets of the blocks that control can go to within the region: [taken, otherwise] of a branch, [next] else. */
  readonly successors: readonly number[];
  /** How the block ends: a direct branch, a direct jump, by running into the next block, or by leaving the region. */
  readonly ending: 'branch' | 'jump' | 'fall' | 'leave';
  /** Offset of a direct transfer's target, relative to the page; may lie outside it. */
  readonly target: number;
}

export interface Region {
  readonly entry: number;
  /** By offset. */
  readonly blocks: ReadonlyMap<number, Block>;
  /** First and last byte of code + 1. */
  readonly from: number;
  readonly to: number;
  /** Instructions in all blocks. */
  readonly size: number;
}

const MOST_INSTRUCTIONS = 200;
const MOST_BLOCKS = 50;
const PAGE = 4096;
const MODE = Mode.LONG64 | Mode.LONG | Mode.PROTECTED;

export interface RegionOptions {
  readonly decoder: Decoder;
  /** The page's bytes. */
  readonly page: Uint8Array;
  /** Offset of the entry. */
  readonly entry: number;
  /** Whether the product of an instruction can be translated. */
  translatable(instruction: Instruction): boolean;
}

interface Found {
  readonly instruction: RegionInstruction;
  readonly kind: 'plain' | 'branch' | 'jump' | 'leave';
  readonly target: number;
}

/** Finds the region at `entry`; undefined when not even its first instruction can be translated. */
export function findRegion(options: RegionOptions): Region | undefined {
  const { page, decoder } = options;
  const found = new Map<number, Found | undefined>();
  const leaders = new Set<number>([options.entry]);
  const work = [options.entry];
  let count = 0;
  while (work.length > 0 && count < MOST_INSTRUCTIONS && leaders.size < MOST_BLOCKS) {
    let at = work.shift() as number;
    while (at < PAGE && !found.has(at) && count < MOST_INSTRUCTIONS) {
      const decoded = new Instruction();
      const outcome = decoder.decode(page, at, PAGE, MODE, decoded);
      if (outcome !== 'ok' || !options.translatable(decoded)) {
        found.set(at, undefined);
        break;
      }
      count++;
      const { form, length } = decoded;
      const next = at + length;
      const instruction = { form, decoded, at, length };
      const direct = form.operands[0]?.kind === 'J';
      const target = direct ? next + decoded.immediate : -1;
      if (direct && form.mnemonic !== 'JMP' && form.mnemonic !== 'CALL') {
        found.set(at, { instruction, kind: 'branch', target });
        for (const leader of [next, target]) {
          if (leader < 0 || leader >= PAGE || leaders.has(leader)) continue;
          leaders.add(leader);
          work.push(leader);
        }
        break;
      }
      if (direct && form.mnemonic === 'JMP') {
        found.set(at, { instruction, kind: 'jump', target });
        if (target >= 0 && target < PAGE && !leaders.has(target)) {
          leaders.add(target);
          work.push(target);
        }
        break;
      }
      if (form.options.ends === true) {
        found.set(at, { instruction, kind: 'leave', target });
        break;
      }
      found.set(at, { instruction, kind: 'plain', target });
      at = next;
    }
  }
  return cut(options.entry, leaders, found);
}

/** Cuts the instructions found into blocks that begin at leaders. */
function cut(
  entry: number,
  leaders: ReadonlySet<number>,
  found: ReadonlyMap<number, Found | undefined>,
): Region | undefined {
  const blocks = new Map<number, Block>();
  let from = PAGE;
  let to = 0;
  let size = 0;
  const inside = (at: number): boolean => leaders.has(at) && found.get(at) !== undefined;
  for (const leader of leaders) {
    if (!inside(leader)) continue;
    const instructions: RegionInstruction[] = [];
    let at = leader;
    let ending: Block['ending'] = 'leave';
    let target = -1;
    let successors: number[] = [];
    for (;;) {
      const here = found.get(at);
      if (!here) {
        // Not translated: control leaves in front of it.
        ending = 'jump';
        target = at;
        break;
      }
      instructions.push(here.instruction);
      at += here.instruction.length;
      if (here.kind === 'branch') {
        ending = 'branch';
        target = here.target;
        successors = [target, at].filter(inside);
        break;
      }
      if (here.kind === 'jump') {
        ending = 'jump';
        target = here.target;
        successors = [target].filter(inside);
        break;
      }
      if (here.kind === 'leave') break;
      if (inside(at)) {
        ending = 'fall';
        target = at;
        successors = [at];
        break;
      }
    }
    from = Math.min(from, leader);
    to = Math.max(to, at);
    size += instructions.length;
    blocks.set(leader, { at: leader, instructions, end: at, successors, ending, target });
  }
  return blocks.has(entry) ? { entry, blocks, from, to, size } : undefined;
}
