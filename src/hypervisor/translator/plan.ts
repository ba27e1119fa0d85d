/**
 * Which stencil stands for each instruction of a region: what is known of the flags goes down the dominator tree, and what is
 * read of them comes up. With that all locals of the region are known.
 */
import type { FormFacts } from './facts.ts';
import { Access, type Grouped, groupAccesses } from './groups.ts';
import type { Changed, Locals } from './locals.ts';
import type { Ending } from './port.ts';
import type { Block, Region, RegionInstruction } from './region.ts';
import { ALL_PARTS, CONDITIONS_SHIFT, type Known, type Stencils, StencilUse } from './stencil.ts';
import type { Structure } from './structure.ts';

/** Of the flags: all words, and all conditions. */
const EVERYTHING = ALL_PARTS | (0xff << CONDITIONS_SHIFT);
/** Where an instruction is left to the interpreter: instructions of its block that are done, and from this bit on its offset. */
export const OFFSET_SHIFT = 8;
/** And that it checks several accesses together. */
export const LEADER = 1 << 30;

type Groups = readonly (Grouped | undefined)[];

export interface BlockPlan {
  /** Undefined: the interpreter's function for it is called. */
  readonly uses: readonly (StencilUse | undefined)[];
  /** Whether the flags behind each instruction owe nothing to those before it, whatever path it takes. */
  readonly settlesFlags: readonly boolean[];
  readonly ending: Ending;
  /** What is newer in locals than in VpState where the block begins: on some path to it. */
  dirty: Changed;
}

export const CLEAN: Changed = { registers: 0, flags: false };
export function dirtied({ registers, flags }: Changed, use: StencilUse): Changed {
  if ((registers | use.registers) === registers && (flags || !use.flags)) return { registers, flags };
  return { registers: registers | use.registers, flags: flags || use.flags };
}

export interface PlanOptions {
  readonly region: Region;
  readonly structure: Structure;
  readonly stencils: Stencils;
  readonly locals: Locals;
  /** Flags are right in front of every instruction. */
  readonly exact: boolean;
  /** Accesses near each other are checked together. */
  readonly grouped: boolean;
}

/** By offset of the block. */
export function planRegion(options: PlanOptions): ReadonlyMap<number, BlockPlan> {
  const { region, structure } = options;
  const groups = new Map<number, Groups>();
  for (const { at, instructions } of region.blocks.values())
    groups.set(at, options.grouped ? groupAccesses(instructions) : []);
  const live = liveFlags(region, structure, groups);
  const plans = new Map<number, BlockPlan>();
  const work: { at: number; known: Known }[] = [{ at: region.entry, known: 0 }];
  for (let next = work.pop(); next; next = work.pop()) {
    const { at } = next;
    const block = region.blocks.get(at) as Block;
    // Several paths meet: what is known on one need not hold on another.
    const known = structure.isLoopHeader(at) || structure.isMerge(at) ? 0 : next.known;
    const { plan, after } = planBlock(block, known, live.has(at), groups.get(at) as Groups, options);
    plans.set(at, plan);
    for (const child of structure.children(at))
      work.push({ at: child, known: block.successors.includes(child) ? after : 0 });
  }
  spreadDirt(region, plans);
  return plans;
}

/** Calls leave nothing in locals alone: what is behind them is loaded anew. */
function spreadDirt(region: Region, plans: ReadonlyMap<number, BlockPlan>): void {
  for (let changed = true; changed; ) {
    changed = false;
    for (const [at, plan] of plans) {
      const block = region.blocks.get(at) as Block;
      if (block.ending === 'call') continue;
      let { dirty } = plan;
      for (const use of plan.uses) dirty = use ? dirtied(dirty, use) : CLEAN;
      for (const successor of block.successors) {
        const next = plans.get(successor) as BlockPlan;
        const registers = next.dirty.registers | dirty.registers;
        const flags = next.dirty.flags || dirty.flags;
        if (registers === next.dirty.registers && flags === next.dirty.flags) continue;
        next.dirty = { registers, flags };
        changed = true;
      }
    }
  }
}

function planBlock(
  block: Block,
  before: Known,
  liveAtEnd: boolean,
  groups: Groups,
  { stencils, locals, exact }: PlanOptions,
): { plan: BlockPlan; after: Known } {
  const { instructions } = block;
  const count = instructions.length;
  const needs = new Array<number>(count + 1);
  let need = exact || liveAtEnd ? EVERYTHING : 0;
  needs[count] = need;
  for (let n = count - 1; n >= 0; n--) {
    need = exact ? EVERYTHING : needBefore(need, (instructions[n] as RegionInstruction).facts, groups[n]);
    needs[n] = need;
  }
  const uses: (StencilUse | undefined)[] = [];
  let known = before;
  let done = 0;
  let retired = 0;
  let ending: Ending;
  for (let n = 0; n < count; n++) {
    const { decoded, at, facts } = instructions[n] as RegionInstruction;
    if (!facts) {
      uses.push(undefined);
      retired = n + 1;
      known = 0;
      done = 0;
      continue;
    }
    if (facts.conditional) known = 0;
    // Fewer stencils: what makes no difference is not said.
    const stencil = stencils.get(
      decoded,
      isReader(facts) ? known : 0,
      facts.asks ? done : 0,
      facts.sets ? (needs[n + 1] as number) : 0,
      groups[n]?.access,
    );
    const leads = groups[n]?.access === Access.LEADER ? LEADER : 0;
    uses.push(new StencilUse(locals, stencil, decoded, at, leads | (at << OFFSET_SHIFT) | (n - retired), groups[n]));
    if (facts.sets) ({ known } = stencil);
    if (facts.asks) ({ done } = stencil);
    ({ ending } = stencil);
  }
  // What sets one of them passes the words of the others on.
  const settlesFlags = instructions.map(
    ({ facts }) => facts?.sets === true && !facts.conditional && facts.passes === 0,
  );
  return { plan: { uses, settlesFlags, ending, dirty: CLEAN }, after: block.ending === 'call' ? 0 : known };
}

/** Whether the flags before it make a difference. */
function isReader({ reads, passes, condition }: FormFacts): boolean {
  return reads !== 0 || passes !== 0 || condition >= 0;
}

/** What is read of the flags before an instruction. @param need the same behind it */
function needBefore(need: number, facts: FormFacts | undefined, grouped: Grouped | undefined): number {
  if (!facts) return EVERYTHING;
  // The access of a member has been checked before.
  const all = grouped?.access === Access.MEMBER ? facts.leavesBeside || facts.conditional : facts.needsAll;
  let before = facts.reads | (all ? ALL_PARTS : 0);
  if (facts.condition >= 0) before |= 1 << (CONDITIONS_SHIFT + facts.condition);
  if (!facts.sets) return before | need;
  return need === 0 ? before : before | facts.passes;
}

/**
 * Blocks at whose end somebody may still read the flags, as they are there: an instruction, or whoever goes on where control
 * leaves.
 */
function liveFlags(region: Region, structure: Structure, groups: ReadonlyMap<number, Groups>): Set<number> {
  const begins = new Set<number>();
  const ends = new Set<number>();
  for (let changed = true; changed; ) {
    changed = false;
    for (const block of region.blocks.values()) {
      if (begins.has(block.at) && ends.has(block.at)) continue;
      const exits = block.ending === 'branch' ? block.successors.length < 2 : block.successors.length < 1;
      // A call spills, a back edge leaves when the budget is used up, and the way to the second page where that is another one.
      const far = (at: number): boolean => !block.far && (region.blocks.get(at) as Block).far;
      const atEnd =
        exits ||
        block.ending === 'call' ||
        block.successors.some((s) => begins.has(s) || far(s) || structure.edge(block.at, s) !== 'forward');
      if (atEnd && !ends.has(block.at)) {
        ends.add(block.at);
        changed = true;
      }
      if (begins.has(block.at)) continue;
      let need = atEnd ? EVERYTHING : 0;
      for (let n = block.instructions.length - 1; n >= 0; n--)
        need = needBefore(need, (block.instructions[n] as RegionInstruction).facts, groups.get(block.at)?.[n]);
      if (need === 0) continue;
      begins.add(block.at);
      changed = true;
    }
  }
  return ends;
}
