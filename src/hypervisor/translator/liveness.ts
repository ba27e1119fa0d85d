/**
 * Which registers have to be in their locals: what is read, and what a way out stores. All ways out in front of an instruction
 * lead through one row of stores, last what was changed first, and enter it where their own begin; what is in the row behind that
 * place is stored though it may be as it was.
 */
import type { Changed } from './locals.ts';
import { type BlockPlan, CLEAN, dirtied } from './plan.ts';
import type { Block, Region } from './region.ts';

/** In the row, among the bits of registers. */
const FLAGS = 32;

function union(a: Changed, b: Changed): Changed {
  return { registers: a.registers | b.registers, flags: a.flags || b.flags };
}

export class Liveness {
  /** Bits of registers, and FLAGS, in the order in which they are changed first. */
  readonly #row: number[] = [];
  /** By place: what the row stores from there on. */
  readonly #through: Changed[] = [CLEAN];
  readonly #plans: ReadonlyMap<number, BlockPlan>;
  /** By block: what is live where it begins, and behind each instruction that is called. */
  readonly #start = new Map<number, Changed>();
  readonly #behind = new Map<number, (Changed | undefined)[]>();

  /** @param exact control may leave in front of every instruction */
  constructor(region: Region, plans: ReadonlyMap<number, BlockPlan>, exact: boolean) {
    this.#plans = plans;
    for (const { uses } of plans.values()) for (const use of uses) if (use) this.#append(use.registers, use.flags);
    for (let place = 1; place <= this.places; place++)
      this.#through.push(union(this.#through[place - 1] as Changed, this.stored(place)));
    for (const at of plans.keys()) this.#start.set(at, CLEAN);
    for (let changed = true; changed; ) {
      changed = false;
      for (const at of [...plans.keys()].reverse()) {
        const before = this.#start.get(at) as Changed;
        const after = this.#block(region.blocks.get(at) as Block, exact);
        if (after.registers === before.registers && after.flags === before.flags) continue;
        this.#start.set(at, after);
        changed = true;
      }
    }
  }

  #append(registers: number, flags: boolean): void {
    for (let bit = 0; bit < FLAGS; bit++) if (registers & (1 << bit) && !this.#row.includes(bit)) this.#row.push(bit);
    if (flags && !this.#row.includes(FLAGS)) this.#row.push(FLAGS);
  }

  /** Places in the row. */
  get places(): number {
    return this.#row.length;
  }
  /** What the last place before `place` stores. */
  stored(place: number): Changed {
    const bit = this.#row[place - 1] as number;
    return bit === FLAGS ? { registers: 0, flags: true } : { registers: 1 << bit, flags: false };
  }
  /** Where the stores of what is changed begin. */
  place({ registers, flags }: Changed): number {
    for (let place = this.#row.length; place > 0; place--) {
      const bit = this.#row[place - 1] as number;
      if (bit === FLAGS ? flags : registers & (1 << bit)) return place;
    }
    return 0;
  }
  /** All that is stored where this is changed. */
  #storedFor(dirty: Changed): Changed {
    return this.#through[this.place(dirty)] as Changed;
  }

  /** What is live where a block begins. */
  at(block: number): Changed {
    return this.#start.get(block) as Changed;
  }
  /** The same behind an instruction of it that the interpreter's function is called for. */
  behind(block: number, instruction: number): Changed {
    return this.#behind.get(block)?.[instruction] ?? CLEAN;
  }

  #block(block: Block, exact: boolean): Changed {
    const { uses, dirty, settlesFlags } = this.#plans.get(block.at) as BlockPlan;
    const dirtyAt: Changed[] = [];
    let now = dirty;
    for (const use of uses) {
      dirtyAt.push(now);
      now = use ? dirtied(now, use) : CLEAN;
    }
    // What a way out at the end stores. Behind a call everything is loaded anew.
    let live = this.#storedFor(now);
    if (block.ending !== 'call') for (const to of block.successors) live = union(live, this.#start.get(to) as Changed);
    const behind: (Changed | undefined)[] = [];
    for (let n = uses.length - 1; n >= 0; n--) {
      const use = uses[n];
      const before = dirtyAt[n] as Changed;
      if (use) {
        live = {
          registers: (live.registers & ~use.settles) | use.reads,
          flags: (live.flags && !settlesFlags[n]) || use.readsFlags,
        };
        if (use.leaves || exact) live = union(live, this.#storedFor(before));
      } else {
        behind[n] = live;
        live = this.#storedFor(before);
      }
    }
    this.#behind.set(block.at, behind);
    return live;
  }
}
