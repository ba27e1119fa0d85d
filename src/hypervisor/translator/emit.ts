/**
 * Emits one region as a WebAssembly function (see REGION in abi.ts for what it takes and returns). Calls of the guest are calls of
 * the function that its target was translated to, while a few of these are nested; other ways out go to the next region by a tail
 * call. The jump cache tells which function that is; a place that holds none returns at once.
 */
import { Field } from '../interpreter/record.ts';
import { CODE_TLB, CODE_TLB_CONTEXT, CODE_TLB_ENTRIES, JUMP_CACHE, JUMP_CACHE_ENTRIES } from '../memory/layout.ts';
import { Mode, RegionExit, VpState } from '../vp/state.ts';
import type { Callee, FunctionCode } from '../wasm/function.ts';
import { REGION, UNWIND } from './abi.ts';
import { Code, I32, type Label, Op } from './code.ts';
import { SiteKind } from './kept.ts';
import { Liveness } from './liveness.ts';
import { type Changed, Locals, Own } from './locals.ts';
import { type BlockPlan, CLEAN, dirtied, LEADER, OFFSET_SHIFT, planRegion } from './plan.ts';
import { type Block, LEAVES, type Region, type RegionInstruction } from './region.ts';
import type { Stencils } from './stencil.ts';
import { analyse, type Structure } from './structure.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);
const PAGE = 4096;
/** Of what is undone: an offset in two pages, and that no access is why. */
const MOST_OFFSET = 2 * PAGE - 1;
const NO_ACCESS = 1 << 31;
/** Calls of the guest that are calls of WebAssembly at one time. */
const DEEPEST = 48;
/** Parameters: instructions that may still be executed, which is counted down in it, and calls nested. */
const BUDGET = 0;
const NESTED = 1;

export interface EmitOptions {
  readonly region: Region;
  /** Address of VpState: a constant of the function. */
  readonly vp: number;
  /** The processor's mode, which stays the same in a region. */
  readonly mode: number;
  helper(name: string): Callee;
  readonly stencils: Stencils;
  /** The interpreter's function and record for an instruction that is called; undefined: it is left to the interpreter. */
  outline(instruction: RegionInstruction): { readonly place: number; readonly handler: number } | undefined;
  /** The global that has a number of this run: see kept.ts. @param called of which instruction, by its offset and handler */
  site(kind: SiteKind, called?: { readonly at: number; readonly handler: number }): number;
  /** Numbers of the module's tables, and of the types of the functions in them. */
  readonly tables: { readonly regions: number; readonly outline: number };
  readonly types: { readonly region: number; readonly outline: number };
  /** Looks at the budget before every instruction. */
  readonly exact?: boolean;
  /** Whether accesses near each other are checked together; where their span does not fit into a page, the region's record counts that. */
  readonly grouped?: boolean;
}

/** Written again for every region. */
const code = new Code();

export function emitRegion(options: EmitOptions): FunctionCode {
  return new Emitter(options).emit();
}

class Emitter {
  readonly #options: EmitOptions;
  readonly #region: Region;
  readonly #structure: Structure;
  readonly #locals: Locals;
  readonly #plans: ReadonlyMap<number, BlockPlan>;
  readonly #loops = new Map<number, Label>();
  readonly #merges = new Map<number, Label>();
  readonly #page: number;
  readonly #rip: number;
  /** Budget with which it goes on: every path between two looks at the budget is shorter than the region. */
  readonly #least: number;
  readonly #liveness: Liveness;
  /** Which instruction is undone is set: by place in the row of stores. */
  readonly #redo: Label[] = [];
  /** Everything is in VpState, and RIP in its local too: to the region there. */
  #onwards: Label = 0;
  /** The same where the mode may be another one. */
  #elsewhere: Label = 0;

  constructor(options: EmitOptions) {
    this.#options = options;
    const { region, vp, stencils, exact = false, grouped = true } = options;
    this.#region = region;
    this.#structure = analyse({
      entry: region.entry,
      successors: (node) => (region.blocks.get(node) as Block).successors,
    });
    this.#locals = new Locals(vp, REGION.params.length);
    this.#page = this.#locals.own(Own.PAGE);
    this.#rip = this.#locals.own(Own.RIP);
    this.#least = exact ? 1 : region.size;
    this.#plans = planRegion({ region, structure: this.#structure, stencils, locals: this.#locals, exact, grouped });
    this.#liveness = new Liveness(region, this.#plans, exact);
  }

  emit(): FunctionCode {
    code.begin();
    // One branch for two reasons.
    this.#load('I32', 'attention');
    code.get(BUDGET);
    code.i32(this.#least);
    code.op(Op.LT_S32, Op.OR32);
    code.if(false);
    this.#load('I32', 'attention');
    code.if();
    this.#count(RegionExit.ATTENTION);
    this.#returnUnwinding();
    code.end();
    this.#count(RegionExit.BUDGET);
    this.#returnComplement();
    code.end();
    this.#load('I64', 'rip');
    code.i64(this.#region.entry);
    code.op(Op.SUB64);
    code.set(this.#page);
    this.#locals.load(code, this.#liveness.at(this.#region.entry));
    this.#elsewhere = code.block();
    this.#onwards = code.block();
    const { places } = this.#liveness;
    for (let place = 0; place <= places; place++) this.#redo[place] = code.block();
    this.#tree(this.#region.entry);
    code.end();
    for (let place = places; place > 0; place--) {
      this.#locals.spill(code, this.#liveness.stored(place));
      code.end();
    }
    this.#undo();
    code.end();
    this.#goTo(this.#rip, 'same', 'tail call');
    code.end();
    this.#goTo(this.#rip, 'any', 'tail call');
    return code.finish(REGION, this.#locals.types);
  }

  /** An instruction is left to the interpreter. */
  #undo(): void {
    const undone = this.#locals.own(Own.UNDONE);
    code.get(BUDGET);
    code.get(undone);
    code.i32(2 ** OFFSET_SHIFT - 1);
    code.op(Op.AND32, Op.SUB32);
    code.set(BUDGET);
    this.#address();
    code.get(this.#page);
    code.get(undone);
    code.i32(OFFSET_SHIFT);
    code.op(Op.SHR_U32);
    code.i32(MOST_OFFSET);
    code.op(Op.AND32, Op.EXTEND_U, Op.ADD64);
    code.store('I64', at('rip'));
    code.get(undone);
    code.i32(0);
    code.op(Op.LT_S32, Op.EQZ32);
    code.if();
    this.#count(RegionExit.ACCESS);
    code.end();
    if (this.#options.grouped !== false) this.#countSplit(undone);
    this.#returnComplement();
  }

  /** Counts what a leader leaves to the interpreter: the region may be better off with each access checked alone. */
  #countSplit(undone: number): void {
    code.get(undone);
    code.i32(LEADER);
    code.op(Op.AND32);
    code.if();
    this.#address();
    code.global(this.#options.site(SiteKind.RECORD));
    code.store('I32', at('splitRecord'));
    this.#load('I32', 'splitRecord');
    this.#load('I32', 'splitRecord');
    code.load('I32', Field.SPLITS);
    code.i32(1);
    code.op(Op.ADD32);
    code.store('I32', Field.SPLITS);
    code.end();
  }

  // ---- pieces ------------------------------------------------------------------------------------------------------------

  #address(): void {
    code.i32(this.#options.vp);
  }
  #load(name: 'I32' | 'I64', field: Parameters<typeof VpState.offset>[0]): void {
    this.#address();
    code.load(name, at(field));
  }
  /** Counts why control leaves. */
  #count(reason: number): void {
    const offset = at('regionExits') + reason * 8;
    this.#address();
    this.#address();
    code.load('I64', offset);
    code.i64(1);
    code.op(Op.ADD64);
    code.store('I64', offset);
  }
  /** The interpreter is to execute the instruction at RIP. */
  #returnComplement(): void {
    code.get(BUDGET);
    code.i32(-1);
    code.op(Op.XOR32, Op.RETURN);
  }
  #returnUnwinding(): void {
    code.get(BUDGET);
    code.i32(UNWIND);
    code.op(Op.OR32, Op.RETURN);
  }
  #retire(count: number): void {
    if (count === 0) return;
    code.get(BUDGET);
    code.i32(count);
    code.op(Op.SUB32);
    code.set(BUDGET);
  }
  /** Linear address of an offset of the page. */
  #linear(offset: number): void {
    code.get(this.#page);
    code.i64(offset);
    code.op(Op.ADD64);
  }
  #storeRip(): void {
    this.#address();
    code.get(this.#rip);
    code.store('I64', at('rip'));
  }
  /** Leaves for an offset of the page, where the interpreter executes an instruction: not for an access. */
  #redoAt(offset: number, dirty: Changed): void {
    code.i32((offset << OFFSET_SHIFT) | NO_ACCESS);
    code.set(this.#locals.own(Own.UNDONE));
    code.br(this.#redo[this.#liveness.place(dirty)] as Label);
  }
  /** Leaves for an offset of the page. */
  #leaveAt(offset: number, dirty: Changed): void {
    this.#linear(offset);
    this.#leave(dirty);
  }
  /** Leaves for the address on the stack; a return may be that of a call in another region. */
  #leave(dirty: Changed, isReturn = false): void {
    code.set(this.#rip);
    this.#locals.spill(code, dirty);
    this.#storeRip();
    if (isReturn) {
      code.get(NESTED);
      code.if();
      code.get(BUDGET);
      code.op(Op.RETURN);
      code.end();
    }
    code.br(this.#onwards);
  }
  /** The jump cache's entry for a linear address in a local, less the constant JUMP_CACHE, into the local `entry`. */
  #jumpCacheEntry(linear: number, entry: number): void {
    code.get(linear);
    code.op(Op.WRAP);
    code.tee(entry);
    code.get(entry);
    code.i32(12);
    code.op(Op.SHR_U32, Op.XOR32);
    code.i32(JUMP_CACHE_ENTRIES - 1);
    code.op(Op.AND32);
    code.i32(4);
    code.op(Op.SHL32);
    this.#address();
    code.op(Op.ADD32);
    code.set(entry);
  }
  /**
   * Goes to the region at RIP, which is in the local `linear` too, as a call of it. State is in VpState. Where there is none, what is
   * called says that the interpreter is to go on there.
   */
  #goTo(linear: number, mode: 'same' | 'any', how: 'call' | 'tail call'): void {
    const entry = this.#locals.own(Own.ENTRY);
    code.get(BUDGET);
    code.get(NESTED);
    if (how === 'call') {
      code.i32(1);
      code.op(Op.ADD32);
    }
    this.#jumpCacheEntry(linear, entry);
    code.get(entry);
    code.load('I64', JUMP_CACHE);
    code.get(linear);
    if (mode === 'any') {
      this.#load('I32', 'mode');
      code.op(Op.EXTEND_U);
      code.i64(48);
      code.op(Op.SHL64);
    } else code.i64(BigInt(this.#options.mode) << 48n);
    code.op(Op.XOR64, Op.EQ64);
    code.if(true, I32);
    code.get(entry);
    code.load('I32', JUMP_CACHE + 12);
    code.else();
    this.#address();
    code.call(this.#options.helper('find_region'));
    code.end();
    code.callIndirect(this.#options.types.region, this.#options.tables.regions, how === 'tail call');
  }

  // ---- structure ---------------------------------------------------------------------------------------------------------

  #tree(node: number): void {
    const merges = this.#structure
      .children(node)
      .filter((child) => this.#structure.isMerge(child))
      .sort((a, b) => this.#order(b) - this.#order(a));
    if (!this.#structure.isLoopHeader(node)) {
      this.#within(node, merges, 0);
      return;
    }
    this.#loops.set(node, code.loop());
    this.#within(node, merges, 0);
    code.end();
  }

  #order(node: number): number {
    return this.#structure.order.get(node) as number;
  }

  /** The block's code, inside a WebAssembly block for each node that several paths from here reach. */
  #within(node: number, merges: readonly number[], from: number): void {
    const outermost = merges[from];
    if (outermost === undefined) {
      this.#block(this.#region.blocks.get(node) as Block);
      return;
    }
    this.#merges.set(outermost, code.block());
    this.#within(node, merges, from + 1);
    code.end();
    this.#tree(outermost);
  }

  /** @param dirty where the edge begins */
  #edge(from: Block, to: number, dirty: Changed): void {
    const kind = from.successors.includes(to) ? this.#structure.edge(from.at, to) : 'irreducible';
    if (kind === 'irreducible') {
      this.#leaveAt(to, dirty);
      return;
    }
    if (!from.far && (this.#region.blocks.get(to) as Block).far) this.#checkNextPage(to, dirty);
    if (kind === 'back') {
      this.#load('I32', 'attention');
      code.get(BUDGET);
      code.i32(this.#least);
      code.op(Op.LT_S32, Op.OR32);
      code.if(false);
      this.#redoAt(to, dirty);
      code.end();
      code.br(this.#loops.get(to) as Label);
      return;
    }
    const merge = this.#merges.get(to);
    if (merge !== undefined && this.#structure.isMerge(to)) code.br(merge);
    else this.#tree(to);
  }

  /**
   * Control goes on in the second page: leaves unless that is the page that the region was made from. It stays so: who changes
   * a translation of addresses has translated code unwind.
   */
  #checkNextPage(to: number, dirty: Changed): void {
    const { mode, site, helper } = this.#options;
    const [entry, gpa] = [this.#locals.own(Own.ENTRY), this.#locals.own(Own.HOST)];
    const tlb = CODE_TLB + (mode & Mode.USER ? CODE_TLB_CONTEXT : 0);
    this.#linear(PAGE);
    code.op(Op.WRAP);
    code.i32(8);
    code.op(Op.SHR_U32);
    code.i32((CODE_TLB_ENTRIES - 1) << 4);
    code.op(Op.AND32);
    this.#address();
    code.op(Op.ADD32);
    code.tee(entry);
    code.load('I32', tlb + 8);
    code.set(gpa);
    code.get(entry);
    code.load('I64', tlb);
    this.#linear(PAGE);
    code.op(Op.NE64);
    code.if(false);
    this.#address();
    this.#linear(PAGE);
    code.call(helper('code_page'));
    code.set(gpa);
    code.end();
    code.get(gpa);
    code.global(site(SiteKind.NEXT_GPA));
    code.op(Op.NE32);
    code.if(false);
    this.#leaveAt(to, dirty);
    code.end();
  }

  // ---- code --------------------------------------------------------------------------------------------------------------

  #block(block: Block): void {
    const { instructions } = block;
    const { uses, ending, dirty: before } = this.#plans.get(block.at) as BlockPlan;
    const count = instructions.length;
    let retired = 0;
    let dirty = before;
    for (let n = 0; n < count; n++) {
      const instruction = instructions[n] as RegionInstruction;
      if (this.#options.exact) this.#stopAt(instruction, n - retired, dirty);
      const use = uses[n];
      if (use) {
        use.write(code, this.#redo[this.#liveness.place(dirty)] as Label, this.#options.helper);
        dirty = dirtied(dirty, use);
        continue;
      }
      this.#callOutline(instruction, n - retired, dirty, this.#liveness.behind(block.at, n));
      retired = n + 1;
      dirty = CLEAN;
    }
    this.#retire(count - retired);
    const last = instructions[count - 1] as RegionInstruction;
    if (block.ending === 'call') this.#call(block, dirty);
    else if (ending === 'leave') {
      code.get(this.#locals.own(Own.TARGET));
      this.#leave(dirty, last.form.mnemonic === 'RET');
    } else if (block.ending === 'branch') {
      code.get(this.#locals.own(Own.CONDITION));
      code.if();
      this.#edgeOut(block, block.target, last, dirty);
      code.else();
      this.#edge(block, block.end, dirty);
      code.end();
    } else if (block.ending === 'leave') this.#leaveAt(block.end, dirty);
    else this.#edge(block, block.target, dirty);
  }

  /** Leaves in front of an instruction if the budget is used up with those of its block that are `done`. */
  #stopAt(instruction: RegionInstruction, done: number, dirty: Changed): void {
    code.get(BUDGET);
    code.i32(done);
    code.op(Op.LE_S32);
    code.if(false);
    this.#retire(done);
    this.#redoAt(instruction.at, dirty);
    code.end();
  }

  /** A taken branch. To another page: a target that is not canonical faults at the branch, which is the interpreter's. */
  #edgeOut(block: Block, target: number, branch: RegionInstruction, dirty: Changed): void {
    if ((target < 0 || target >= PAGE) && !block.successors.includes(target)) {
      this.#linear(target);
      code.tee(this.#rip);
      code.i64(16);
      code.op(Op.SHL64);
      code.i64(16);
      code.op(Op.SHR_S64);
      code.get(this.#rip);
      code.op(Op.NE64);
      code.if(false);
      this.#retire(-1);
      this.#redoAt(branch.at, dirty);
      code.end();
    }
    this.#edge(block, target, dirty);
  }

  /** A call: the region at its target is called, and if that comes back to the next instruction, this one goes on. */
  #call(block: Block, dirty: Changed): void {
    const { mode } = this.#options;
    const target = this.#locals.own(Own.TARGET);
    if (block.successors.length === 0) {
      code.get(target);
      this.#leave(dirty);
      return;
    }
    code.get(target);
    code.set(this.#rip);
    this.#locals.spill(code, dirty);
    this.#storeRip();
    code.get(NESTED);
    code.i32(DEEPEST);
    code.op(Op.GE_U32);
    code.if(false);
    code.br(this.#onwards);
    code.end();
    this.#goTo(target, 'same', 'call');
    code.tee(BUDGET);
    code.i32(UNWIND);
    code.op(Op.GE_U32);
    code.if(false);
    code.get(BUDGET);
    code.op(Op.RETURN);
    code.end();
    this.#load('I64', 'rip');
    code.tee(this.#rip);
    this.#linear(block.end);
    code.op(Op.NE64);
    this.#load('I32', 'mode');
    code.i32(mode);
    code.op(Op.NE32, Op.OR32);
    code.if(false);
    code.br(this.#elsewhere);
    code.end();
    // What was called has used the budget too.
    code.get(BUDGET);
    code.i32(this.#least);
    code.op(Op.LT_S32);
    code.if(false);
    this.#returnComplement();
    code.end();
    this.#locals.load(code, this.#liveness.at(block.end));
    this.#edge(block, block.end, CLEAN);
  }

  /**
   * The interpreter's function for an instruction. It may do anything: where it has not just gone on to the next instruction,
   * or somebody waits for this processor, or translated code was dropped, control leaves.
   */
  #callOutline(instruction: RegionInstruction, done: number, dirty: Changed, live: Changed): void {
    const { mode, types, tables, site } = this.#options;
    const callee = this.#options.outline(instruction);
    if (!callee) {
      this.#retire(done);
      this.#redoAt(instruction.at, dirty);
      return;
    }
    this.#retire(done + 1);
    this.#locals.spill(code, dirty);
    this.#address();
    code.get(BUDGET);
    code.store('I32', at('budget'));
    const called = { at: instruction.at, handler: callee.handler };
    this.#address();
    code.global(site(SiteKind.CALLED_RECORD, called));
    code.store('I32', at('calledRecord'));
    this.#address();
    code.get(this.#page);
    code.global(site(SiteKind.CALLED_BLOCK, called));
    code.op(Op.EXTEND_U, Op.ADD64);
    code.store('I64', at('blockIp'));
    this.#address();
    this.#load('I32', 'calledRecord');
    code.i32(callee.place);
    code.callIndirect(types.outline, tables.outline);
    // Zero: it goes on with the next instruction.
    code.op(Op.EQZ32);
    code.if();
    this.#address();
    this.#linear(instruction.at + instruction.length);
    code.store('I64', at('rip'));
    code.end();
    this.#address();
    code.i32(0);
    code.store('I32', at('calledRecord'));
    this.#load('I32', 'attention');
    this.#load('I32', 'flags');
    this.#load('I32', 'interruptWindow');
    code.op(Op.AND32, Op.OR32);
    this.#load('I32', 'unwind');
    code.op(Op.OR32);
    code.if(false);
    this.#count(RegionExit.SYSTEM);
    this.#returnUnwinding();
    code.end();
    // What shadows one instruction ends with it, and that one is executed now.
    this.#address();
    code.i32(0);
    code.store('I32', at('interruptShadow'));
    this.#load('I64', 'rip');
    code.set(this.#rip);
    if (LEAVES.has(instruction.form.mnemonic)) {
      code.br(this.#elsewhere);
      return;
    }
    code.get(this.#rip);
    this.#linear(instruction.at + instruction.length);
    code.op(Op.NE64);
    this.#load('I32', 'mode');
    code.i32(mode);
    code.op(Op.NE32, Op.OR32);
    code.if(false);
    code.br(this.#elsewhere);
    code.end();
    this.#locals.load(code, live);
  }
}
