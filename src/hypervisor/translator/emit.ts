/**
 * Emits one region as a WebAssembly function (see REGION in interpreter/build.ts for what it takes and returns). Calls of the
 * guest are calls of the function that its target was translated to, while a few of these are nested; other ways out go to the
 * next region by a tail call. The jump cache tells which function that is; a place that holds none returns at once.
 */
import { CODE_TLB, CODE_TLB_CONTEXT, CODE_TLB_ENTRIES, JUMP_CACHE } from '../memory/layout.ts';
import { Mode, RegionExit, VpState } from '../vp/state.ts';
import type { Callee, Encoding, FunctionBuilder, FunctionType, Label, Table, Variable } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';
import { countExit, jumpCacheEntry, REGION, UNWIND } from './abi.ts';
import type { FormFacts } from './facts.ts';
import { Machine } from './machine.ts';
import type { Ending } from './port.ts';
import { type Block, LEAVES, type Region, type RegionInstruction } from './region.ts';
import { ALL_PARTS, CONDITIONS_SHIFT, type Known, StencilUse, type Stencils } from './stencil.ts';
import { analyse, type Structure } from './structure.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);
const PAGE = 4096;
/** Calls of the guest that are calls of WebAssembly at one time. */
const DEEPEST = 48;
/** What an interpreter's function for an instruction takes: VpState and record; it returns 1 where RIP says how to go on. */
const OUTLINE: FunctionType = { params: ['i32', 'i32'], results: ['i32'] };

/** Of the flags: all words, and all conditions. */
const EVERYTHING = ALL_PARTS | (0xff << CONDITIONS_SHIFT);

/** How the code behind the exit goes on. */
const Way = { REDO: 0, CHAIN: 1, RETURN: 2 } as const;
/** Where an instruction is left to the interpreter: instructions of its block that are done, and from this bit on its offset. */
const OFFSET_SHIFT = 8;

export interface EmitOptions {
  readonly region: Region;
  /** Address of VpState: a constant of the function. */
  readonly vp: number;
  /** The processor's mode, which stays the same in a region. */
  readonly mode: number;
  helper(name: string): Callee;
  readonly stencils: Stencils;
  /** The interpreter's function and record for an instruction that is called; undefined: it is left to the interpreter. */
  outline(instruction: RegionInstruction): { place: number; record: number; blockAt: number } | undefined;
  /** Guest-physical address of the second page. */
  readonly nextGpa: number;
  readonly tables: { readonly regions: Table; readonly outline: Table };
  /** Looks at the budget before every instruction. */
  readonly exact?: boolean;
}

export function emitRegion(f: FunctionBuilder, options: EmitOptions): void {
  new Emitter(f, options).emit();
}

class Emitter {
  readonly #f: FunctionBuilder;
  readonly #options: EmitOptions;
  readonly #region: Region;
  readonly #structure: Structure;
  readonly #machine: Machine;
  readonly #budget: Variable;
  readonly #rip: Variable;
  readonly #way: Variable;
  readonly #loops = new Map<number, Label>();
  readonly #merges = new Map<number, Label>();
  readonly #flagsLive: ReadonlySet<number>;
  readonly #modeBits: bigint;
  /** Budget with which it goes on: every path between two looks at the budget is shorter than the region. */
  readonly #least: number;
  /** RIP, budget and way are set. */
  #exit!: Label;
  /** Which instruction is undone is set. */
  #redo!: Label;
  /** Everything is in VpState: to the region at RIP. */
  #onwards!: Label;

  constructor(f: FunctionBuilder, options: EmitOptions) {
    this.#f = f;
    this.#options = options;
    const { region } = options;
    this.#region = region;
    this.#structure = analyse({
      entry: region.entry,
      successors: (node) => (region.blocks.get(node) as Block).successors,
    });
    this.#machine = new Machine(f, options.vp, options.mode, options.helper);
    this.#budget = f.variable('i32');
    this.#rip = f.variable('i64');
    this.#way = f.variable('i32');
    this.#modeBits = BigInt(options.mode) << 48n;
    this.#least = options.exact ? 1 : region.size;
    this.#flagsLive = liveFlags(region, this.#structure);
  }

  emit(): void {
    const f = this.#f;
    const m = this.#machine;
    const { vp } = m;
    f.if(
      f.param(0).ltS(this.#least),
      () => {
        countExit(f, vp, RegionExit.BUDGET);
        f.return(f.param(0).not());
      },
      undefined,
      false,
    );
    f.if(
      f.load('i32.load', vp, at('attention')),
      () => {
        countExit(f, vp, RegionExit.ATTENTION);
        f.return(f.param(0).or(UNWIND));
      },
      undefined,
      false,
    );
    this.#budget.set(f.param(0));
    m.page.set(f.load('i64.load', vp, at('rip')).sub(this.#region.entry));
    m.reload();
    f.block((onwards) => {
      this.#onwards = onwards;
      f.block((exit) => {
        this.#exit = exit;
        f.block((redo) => {
          this.#redo = redo;
          this.#tree(this.#region.entry, 0);
        });
        const undone = this.#machine.undone.get();
        this.#budget.set(this.#budget.get().sub(undone.and(2 ** OFFSET_SHIFT - 1)));
        this.#rip.set(m.page.get().add(undone.shrU(OFFSET_SHIFT).extU()));
        this.#way.set(Way.REDO);
        countExit(f, vp, RegionExit.ACCESS);
      });
      m.spill();
      f.store('i64.store', vp, this.#rip.get(), at('rip'));
      f.if(this.#way.get().eqz(), () => {
        f.return(this.#budget.get().not());
      });
      f.if(this.#way.get().eq(Way.RETURN).and(f.param(1).ne(0)), () => {
        f.return(this.#budget.get());
      });
    });
    const to = f.load('i64.load', vp, at('rip'));
    this.#chain(to, to.xor(f.load('i32.load', vp, at('mode')).extU().shl(48)));
  }

  /** Goes to the region at a linear address if the jump cache knows one, in place of returning. State is in VpState. */
  #chain(rip: Value, tag = this.#tag(rip)): void {
    const f = this.#f;
    const entry = jumpCacheEntry(this.#machine.vp, rip);
    f.if(
      f.load('i64.load', entry, JUMP_CACHE).eq(tag),
      () => {
        const place = f.load('i32.load', entry, JUMP_CACHE + 12);
        f.tailCallIndirect(this.#options.tables.regions, REGION, place, this.#budget.get(), f.param(1));
      },
      undefined,
      true,
    );
    countExit(f, this.#machine.vp, RegionExit.JUMP);
    f.return(this.#budget.get());
  }

  // ---- structure ---------------------------------------------------------------------------------------------------------

  #tree(node: number, known: Known): void {
    const merges = this.#structure
      .children(node)
      .filter((child) => this.#structure.isMerge(child))
      .sort((a, b) => this.#order(b) - this.#order(a));
    if (!this.#structure.isLoopHeader(node)) {
      this.#within(node, merges, known);
      return;
    }
    this.#f.loop((again) => {
      this.#loops.set(node, again);
      this.#within(node, merges, 0);
    });
  }

  #order(node: number): number {
    return this.#structure.order.get(node) as number;
  }

  /** The block's code, inside a WebAssembly block for each node that several paths from here reach. */
  #within(node: number, merges: readonly number[], known: Known): void {
    const [outermost, ...rest] = merges;
    if (outermost === undefined) {
      this.#block(this.#region.blocks.get(node) as Block, known);
      return;
    }
    this.#f.block((label) => {
      this.#merges.set(outermost, label);
      this.#within(node, rest, known);
    });
    this.#tree(outermost, 0);
  }

  #edge(from: Block, to: number, known: Known): void {
    const f = this.#f;
    const kind = from.successors.includes(to) ? this.#structure.edge(from.at, to) : 'irreducible';
    if (kind === 'irreducible') {
      this.#leaveAt(to, Way.CHAIN);
      return;
    }
    if (!from.far && (this.#region.blocks.get(to) as Block).far) this.#checkNextPage(to);
    if (kind === 'back') {
      f.if(
        this.#budget
          .get()
          .ltS(this.#least)
          .or(f.load('i32.load', this.#machine.vp, at('attention'))),
        () => {
          this.#leaveAt(to, Way.REDO);
        },
        undefined,
        false,
      );
      f.br(this.#loops.get(to) as Label);
      return;
    }
    const merge = this.#merges.get(to);
    if (merge && this.#structure.isMerge(to)) f.br(merge);
    else this.#tree(to, known);
  }

  /**
   * Control goes on in the second page: leaves unless that is the page that the region was made from. It stays so: who changes
   * a translation of addresses has translated code unwind.
   */
  #checkNextPage(to: number): void {
    const f = this.#f;
    const { vp, page, mode, helper } = this.#machine;
    const next = page.get().add(PAGE);
    const user = mode & Mode.USER ? CODE_TLB_CONTEXT : 0;
    const entry = vp.add(
      next
        .wrap()
        .shrU(8)
        .and((CODE_TLB_ENTRIES - 1) << 4),
    );
    const gpa = f.variable('i32', f.load('i32.load', entry, CODE_TLB + user + 8));
    f.if(
      f.load('i64.load', entry, CODE_TLB + user).ne(next),
      () => {
        gpa.set(f.call1(helper('code_page'), vp, next));
      },
      undefined,
      false,
    );
    f.if(
      gpa.get().ne(this.#options.nextGpa | 0),
      () => {
        this.#leaveAt(to, Way.CHAIN);
      },
      undefined,
      false,
    );
  }

  /** Leaves for an offset of the page. */
  #leaveAt(offset: number, way: number): void {
    this.#leave(this.#machine.page.get().add(offset), way);
  }
  #leave(rip: Value, way: number): void {
    this.#rip.set(rip);
    this.#way.set(way);
    this.#f.br(this.#exit);
  }
  #retire(count: number): void {
    if (count > 0) this.#budget.set(this.#budget.get().sub(count));
  }

  // ---- code ----------------------------------------------------------------------------------------------------------------

  #block(block: Block, before: Known): void {
    const f = this.#f;
    const m = this.#machine;
    const { stencils, exact } = this.#options;
    const { instructions } = block;
    const count = instructions.length;
    const needs = this.#needs(block);
    const redo = (at: Encoding, inner: number): void => {
      at.branch(this.#redo, inner);
    };
    let known = before;
    let done = 0;
    let retired = 0;
    let ending: Ending;
    for (let n = 0; n < count; n++) {
      const instruction = instructions[n] as RegionInstruction;
      if (exact) this.#stopAt(instruction, n - retired);
      if (!instruction.facts) {
        this.#callOutline(instruction, n - retired);
        retired = n + 1;
        known = 0;
        done = 0;
        continue;
      }
      const { decoded, at } = instruction;
      if (instruction.facts.conditional) known = 0;
      const stencil = stencils.get(decoded, known, done, needs[n + 1] as number);
      const use = new StencilUse(m, stencil, decoded, at, (at << OFFSET_SHIFT) | (n - retired), redo);
      f.effect((out, encoding) => {
        use.write(out, encoding);
      });
      ({ known, done, ending } = stencil);
    }
    this.#retire(count - retired);
    const last = instructions[count - 1] as RegionInstruction;
    if (block.ending === 'call') this.#call(block);
    else if (ending === 'leave') this.#leave(m.target.get(), last.form.mnemonic === 'RET' ? Way.RETURN : Way.CHAIN);
    else if (block.ending === 'branch') {
      f.if(
        m.condition.get(),
        () => {
          this.#edgeOut(block, block.target, last, known);
        },
        () => {
          this.#edge(block, block.end, known);
        },
      );
    } else if (block.ending === 'leave') this.#leaveAt(block.end, Way.CHAIN);
    else this.#edge(block, block.target, known);
  }

  /** What is read of the flags before each instruction, and behind the last one, before they are new. */
  #needs({ at, instructions }: Block): readonly number[] {
    const count = instructions.length;
    const needs = new Array<number>(count + 1);
    let need = this.#options.exact || this.#flagsLive.has(at) ? EVERYTHING : 0;
    needs[count] = need;
    for (let n = count - 1; n >= 0; n--) {
      need = this.#options.exact ? EVERYTHING : needBefore(need, (instructions[n] as RegionInstruction).facts);
      needs[n] = need;
    }
    return needs;
  }

  /** Leaves in front of an instruction if the budget is used up with those of its block that are `done`. */
  #stopAt(instruction: RegionInstruction, done: number): void {
    this.#f.if(
      this.#budget.get().leS(done),
      () => {
        this.#retire(done);
        this.#leaveAt(instruction.at, Way.REDO);
      },
      undefined,
      false,
    );
  }

  /** A taken branch. To another page: a target that is not canonical faults at the branch, which is the interpreter's. */
  #edgeOut(block: Block, target: number, branch: RegionInstruction, known: Known): void {
    if ((target < 0 || target >= PAGE) && !block.successors.includes(target)) {
      const rip = this.#machine.page.get().add(target);
      this.#f.if(
        rip.shl(16).shrS(16).ne(rip),
        () => {
          this.#budget.set(this.#budget.get().add(1));
          this.#leaveAt(branch.at, Way.REDO);
        },
        undefined,
        false,
      );
    }
    this.#edge(block, target, known);
  }

  /** A call: the region at its target is called, and if that comes back to the next instruction, this one goes on. */
  #call(block: Block): void {
    const f = this.#f;
    const m = this.#machine;
    if (block.successors.length === 0) {
      this.#leave(m.target.get(), Way.CHAIN);
      return;
    }
    f.if(
      f.param(1).geU(DEEPEST),
      () => {
        this.#leave(m.target.get(), Way.CHAIN);
      },
      undefined,
      false,
    );
    const target = m.target.get();
    m.spill();
    f.store('i64.store', m.vp, target, at('rip'));
    const entry = jumpCacheEntry(m.vp, target);
    f.if(
      f.load('i64.load', entry, JUMP_CACHE).ne(this.#tag(target)),
      () => {
        countExit(f, m.vp, RegionExit.CALL);
        f.return(this.#budget.get().or(UNWIND));
      },
      undefined,
      false,
    );
    const place = f.load('i32.load', entry, JUMP_CACHE + 12);
    const { regions } = this.#options.tables;
    const [left] = f.callIndirect(regions, REGION, place, this.#budget.get(), f.param(1).add(1)) as [Value];
    f.if(
      left.geU(UNWIND),
      () => {
        f.return(left);
      },
      undefined,
      false,
    );
    this.#budget.set(left);
    const rip = f.load('i64.load', m.vp, at('rip'));
    const otherMode = f.load('i32.load', m.vp, at('mode')).ne(this.#options.mode);
    f.if(
      rip.ne(m.page.get().add(block.end)).or(otherMode),
      () => {
        f.br(this.#onwards);
      },
      undefined,
      false,
    );
    // What was called has used the budget too.
    f.if(
      this.#budget.get().ltS(this.#least),
      () => {
        f.return(this.#budget.get().not());
      },
      undefined,
      false,
    );
    m.reload();
    this.#edge(block, block.end, 0);
  }

  /** What the jump cache has of a linear address in this mode. */
  #tag(linear: Value): Value {
    return linear.xor(this.#modeBits);
  }

  /**
   * The interpreter's function for an instruction. It may do anything: where it has not just gone on to the next instruction,
   * or somebody waits for this processor, or translated code was dropped, control leaves.
   */
  #callOutline(instruction: RegionInstruction, done: number): void {
    const f = this.#f;
    const m = this.#machine;
    const { vp } = m;
    const callee = this.#options.outline(instruction);
    if (!callee) {
      this.#retire(done);
      this.#leaveAt(instruction.at, Way.REDO);
      return;
    }
    this.#retire(done + 1);
    m.spill();
    f.store('i32.store', vp, this.#budget.get(), at('budget'));
    f.store('i32.store', vp, callee.record, at('calledRecord'));
    f.store('i64.store', vp, m.page.get().add(callee.blockAt), at('blockIp'));
    const [leave] = f.callIndirect(this.#options.tables.outline, OUTLINE, callee.place, vp, callee.record) as [Value];
    f.store('i32.store', vp, 0, at('calledRecord'));
    const next = m.page.get().add(instruction.at + instruction.length);
    const window = f.load('i32.load', vp, at('flags')).and(f.load('i32.load', vp, at('interruptWindow')));
    f.if(leave.eqz(), () => {
      f.store('i64.store', vp, next, at('rip'));
    });
    const wanted = f
      .load('i32.load', vp, at('attention'))
      .or(window)
      .or(f.load('i32.load', vp, at('unwind')));
    f.if(
      wanted,
      () => {
        countExit(f, vp, RegionExit.SYSTEM);
        f.return(this.#budget.get().or(UNWIND));
      },
      undefined,
      false,
    );
    // What shadows one instruction ends with it, and that one is executed now.
    f.store('i32.store', vp, 0, at('interruptShadow'));
    const rip = f.load('i64.load', vp, at('rip'));
    const mode = f.load('i32.load', vp, at('mode'));
    const elsewhere = rip.ne(next).or(mode.ne(this.#options.mode));
    if (LEAVES.has(instruction.form.mnemonic)) {
      this.#chain(rip, rip.xor(mode.extU().shl(48)));
      return;
    }
    f.if(
      elsewhere,
      () => {
        this.#chain(rip, rip.xor(mode.extU().shl(48)));
      },
      undefined,
      false,
    );
    m.reload();
  }
}

/** What is read of the flags before an instruction. @param need the same behind it */
function needBefore(need: number, facts: FormFacts | undefined): number {
  if (!facts) return EVERYTHING;
  let before = facts.reads | (facts.needsAll ? ALL_PARTS : 0);
  if (facts.condition >= 0) before |= 1 << (CONDITIONS_SHIFT + facts.condition);
  if (!facts.sets) return before | need;
  return need === 0 ? before : before | facts.passes;
}

/**
 * Blocks at whose end somebody may still read the flags, as they are there: an instruction, or whoever goes on where control
 * leaves.
 */
function liveFlags(region: Region, structure: Structure): Set<number> {
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
        need = needBefore(need, (block.instructions[n] as RegionInstruction).facts);
      if (need === 0) continue;
      begins.add(block.at);
      changed = true;
    }
  }
  return ends;
}
