/**
 * Regions: what is translated as one function. A region is the code within a page and the one behind it that can be reached
 * from its entry by direct jumps and branches and behind calls, cut into basic blocks; returns, indirect jumps and other pages
 * leave it. It goes nowhere that another region begins, and of the two ways behind a branch the taken one only where control
 * has often gone.
 */
import { type Decoder, Instruction } from '../x86/decoder.ts';
import type { Form } from '../x86/form.ts';
import type { FormFacts } from './facts.ts';

/** An instruction of a region, copied out of the decoder's reused object. */
export interface RegionInstruction {
  readonly form: Form;
  readonly decoded: Instruction;
  /** Offset in the page. */
  readonly at: number;
  readonly length: number;
  /** Undefined: it is executed by the interpreter's function for it, which the region calls. */
  readonly facts: FormFacts | undefined;
}

export interface Block {
  /** Offset of the first instruction in the page: the block's name. */
  readonly at: number;
  readonly instructions: readonly RegionInstruction[];
  /** Offset after the last instruction. */
  readonly end: number;
  /** All of its instructions have bytes in the second page; else none has. */
  readonly far: boolean;
  /** Offsets of the blocks that control can go to within the region: [taken, otherwise] of a branch, [next] else. */
  readonly successors: readonly number[];
  /** How the block ends: a direct branch, a direct jump, a call, by running into the next block, or by leaving the region. */
  readonly ending: 'branch' | 'jump' | 'call' | 'fall' | 'leave';
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

const MOST_INSTRUCTIONS = 250;
const MOST_BLOCKS = 60;
const PAGE = 4096;
/** What control does not come back from to the next instruction, or hardly ever. */
export const LEAVES: ReadonlySet<string> = new Set(
  'JMP RET JMPF CALLF RETF IRET INT INT1 INT3 INTO SYSCALL SYSRET SYSENTER SYSEXIT HLT UD0 UD1 UD2'.split(' '),
);

export interface RegionOptions {
  readonly decoder: Decoder;
  /** The bytes of the page, and of the one behind it where that may be part of the region. */
  readonly page: Uint8Array;
  /** Offset of the entry, in the first page. */
  readonly entry: number;
  /** The processor's mode, by which code is decoded. */
  readonly mode: number;
  /** What is known of an instruction that is translated; `outline`: it is called; `none`: it is left to the interpreter. */
  classify(instruction: Instruction, at: number): FormFacts | 'outline' | 'none';
  /** Whether a jump to an offset is worth following. */
  executed(at: number): boolean;
  /** Whether another region begins at an offset. */
  isEntry(at: number): boolean;
}

interface Found {
  readonly instruction: RegionInstruction;
  readonly kind: 'plain' | 'branch' | 'jump' | 'call' | 'leave';
  readonly target: number;
}

/** Finds the region at `entry`; undefined when not even its first instruction can be translated. */
export function findRegion(options: RegionOptions): Region | undefined {
  const { page, decoder } = options;
  const limit = page.length;
  const found = new Map<number, Found | undefined>();
  const leaders = new Set<number>([options.entry]);
  const work = [options.entry];
  let count = 0;
  while (work.length > 0 && count < MOST_INSTRUCTIONS && leaders.size < MOST_BLOCKS) {
    let at = work.shift() as number;
    while (at < limit && !found.has(at) && count < MOST_INSTRUCTIONS) {
      if (at !== options.entry && options.isEntry(at)) break;
      const decoded = new Instruction();
      const outcome = decoder.decode(page, at, limit, options.mode, decoded);
      const how = outcome === 'ok' ? options.classify(decoded, at) : 'none';
      if (how === 'none') {
        found.set(at, undefined);
        break;
      }
      count++;
      const { form, length } = decoded;
      const next = at + length;
      const instruction = { form, decoded, at, length, facts: how === 'outline' ? undefined : how };
      const target = form.operands[0]?.kind === 'J' ? next + decoded.immediate : -1;
      const kind = kindOf(instruction);
      // What has bytes in the second page begins a block.
      if (next > PAGE && at <= PAGE) leaders.add(at);
      found.set(at, { instruction, kind, target });
      const lead = (leader: number): void => {
        if (leader < 0 || leader >= limit || leaders.has(leader) || options.isEntry(leader)) return;
        leaders.add(leader);
        work.push(leader);
      };
      if (kind === 'branch') {
        lead(next);
        if (options.executed(target)) lead(target);
      } else if (kind === 'jump') lead(target);
      else if (kind === 'call') lead(next);
      if (kind !== 'plain') break;
      at = next;
    }
  }
  return cut(options.entry, leaders, found);
}

function kindOf({ form, facts }: RegionInstruction): Found['kind'] {
  if (form.operands[0]?.kind === 'J' && facts) {
    if (form.mnemonic === 'JMP') return 'jump';
    if (form.mnemonic !== 'CALL') return 'branch';
  }
  if (form.mnemonic === 'CALL' && facts) return 'call';
  return LEAVES.has(form.mnemonic) ? 'leave' : 'plain';
}

/** Cuts the instructions found into blocks that begin at leaders. */
function cut(
  entry: number,
  leaders: ReadonlySet<number>,
  found: ReadonlyMap<number, Found | undefined>,
): Region | undefined {
  const blocks = new Map<number, Block>();
  let from = 2 * PAGE;
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
        // Another region's, or not translated.
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
      if (here.kind === 'call') {
        ending = 'call';
        target = at;
        successors = [at].filter(inside);
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
    blocks.set(leader, { at: leader, instructions, end: at, far: at > PAGE, successors, ending, target });
  }
  return blocks.has(entry) ? { entry, blocks, from, to, size } : undefined;
}
