/** Emits one region as a WebAssembly function: (budget) -> budget left, or its complement to have RIP's instruction interpreted. */
import { VpState } from '../vp/state.ts';
import type { Callee, FunctionBuilder, Label, Variable } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';
import { type Machine, TranslatorPort } from './port.ts';
import type { Block, Region, RegionInstruction } from './region.ts';
import { analyse, type Structure } from './structure.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);
const PAGE = 4096;

export interface EmitOptions {
  readonly region: Region;
  /** Address of VpState: a constant of the function. */
  readonly vp: number;
  helper(name: string): Callee;
}

export function emitRegion(f: FunctionBuilder, options: EmitOptions): void {
  new Emitter(f, options).emit();
}

class Emitter {
  readonly #f: FunctionBuilder;
  readonly #region: Region;
  readonly #structure: Structure;
  readonly #machine: Machine;
  readonly #budget: Variable;
  readonly #rip: Variable;
  /** 1: the instruction at RIP is the interpreter's. */
  readonly #redo: Variable;
  readonly #loops = new Map<number, Label>();
  readonly #merges = new Map<number, Label>();
  #exit!: Label;

  constructor(f: FunctionBuilder, { region, vp, helper }: EmitOptions) {
    this.#f = f;
    this.#region = region;
    this.#structure = analyse({
      entry: region.entry,
      successors: (node) => (region.blocks.get(node) as Block).successors,
    });
    const i64 = (): Variable => f.variable('i64');
    this.#machine = {
      f,
      vp: f.i32(vp),
      registers: Array.from({ length: 16 }, i64),
      flagResult: i64(),
      flagCarries: i64(),
      flagAux: f.variable('i32'),
      page: i64(),
      helper,
      used: new Set(),
      written: new Set(),
      flagsUsed: false,
      flagsWritten: false,
    };
    this.#budget = f.variable('i32');
    this.#rip = i64();
    this.#redo = f.variable('i32');
  }

  emit(): void {
    const f = this.#f;
    const m = this.#machine;
    f.block((exit) => {
      this.#exit = exit;
      // Every path between two looks at the budget is shorter than the region.
      f.if(
        this.#budget.get().ltS(this.#region.size),
        () => {
          this.#leaveAt(this.#region.entry, true);
        },
        undefined,
        false,
      );
      this.#tree(this.#region.entry);
    });
    for (const index of m.written)
      f.store('i64.store', m.vp, (m.registers[index] as Variable).get(), at('gpr') + index * 8);
    if (m.flagsWritten) {
      f.store('i64.store', m.vp, m.flagResult.get(), at('flagResult'));
      f.store('i64.store', m.vp, m.flagCarries.get(), at('flagCarries'));
      f.store('i32.store', m.vp, m.flagAux.get(), at('flagAux'));
    }
    f.store('i64.store', m.vp, this.#rip.get(), at('rip'));
    f.return(f.select(this.#redo.get(), this.#budget.get().not(), this.#budget.get()));
    f.first(() => {
      this.#budget.set(f.param(0));
      m.page.set(f.load('i64.load', m.vp, at('rip')).sub(this.#region.entry));
      for (const index of m.used) (m.registers[index] as Variable).set(f.load('i64.load', m.vp, at('gpr') + index * 8));
      if (!m.flagsUsed && !m.flagsWritten) return;
      m.flagResult.set(f.load('i64.load', m.vp, at('flagResult')));
      m.flagCarries.set(f.load('i64.load', m.vp, at('flagCarries')));
      m.flagAux.set(f.load('i32.load', m.vp, at('flagAux')));
    });
  }

  // ---- structure ---------------------------------------------------------------------------------------------------------

  #tree(node: number): void {
    const merges = this.#structure
      .children(node)
      .filter((child) => this.#structure.isMerge(child))
      .sort((a, b) => this.#order(b) - this.#order(a));
    if (!this.#structure.isLoopHeader(node)) {
      this.#within(node, merges);
      return;
    }
    this.#f.loop((again) => {
      this.#loops.set(node, again);
      this.#within(node, merges);
    });
  }

  #order(node: number): number {
    return this.#structure.order.get(node) as number;
  }

  /** The block's code, inside a WebAssembly block for each node that several paths from here reach. */
  #within(node: number, merges: readonly number[]): void {
    const [outermost, ...rest] = merges;
    if (outermost === undefined) {
      this.#block(this.#region.blocks.get(node) as Block);
      return;
    }
    this.#f.block((label) => {
      this.#merges.set(outermost, label);
      this.#within(node, rest);
    });
    this.#tree(outermost);
  }

  #edge(from: Block, to: number): void {
    const f = this.#f;
    if (!from.successors.includes(to)) {
      this.#leaveAt(to, false);
      return;
    }
    const kind = this.#structure.edge(from.at, to);
    if (kind === 'irreducible') {
      this.#leaveAt(to, false);
      return;
    }
    if (kind === 'back') {
      f.if(
        this.#budget.get().ltS(this.#region.size),
        () => {
          this.#leaveAt(to, true);
        },
        undefined,
        false,
      );
      f.br(this.#loops.get(to) as Label);
      return;
    }
    const merge = this.#merges.get(to);
    if (merge && this.#structure.isMerge(to)) f.br(merge);
    else this.#tree(to);
  }

  /** Leaves for an offset of the page; `redo` where the interpreter must not come straight back. */
  #leaveAt(offset: number, redo: boolean): void {
    this.#leave(this.#machine.page.get().add(offset), redo);
  }
  #leave(rip: Value, redo: boolean): void {
    this.#rip.set(rip);
    this.#redo.set(redo ? 1 : 0);
    this.#f.br(this.#exit);
  }
  #retire(count: number): void {
    if (count > 0) this.#budget.set(this.#budget.get().sub(count));
  }

  // ---- code ----------------------------------------------------------------------------------------------------------------

  #block(block: Block): void {
    const f = this.#f;
    const count = block.instructions.length;
    let last: TranslatorPort['last'];
    let condition: Value | undefined;
    let left = false;
    block.instructions.forEach((instruction, n) => {
      const port = new TranslatorPort(
        this.#machine,
        instruction.decoded,
        instruction.at,
        {
          redo: () => {
            this.#retire(n);
            this.#leaveAt(instruction.at, true);
          },
          leave: (target) => {
            this.#retire(count);
            this.#leave(target, false);
            left = true;
          },
          branch: (value) => {
            condition = value;
          },
          jump: () => undefined,
        },
        last,
      );
      instruction.form.semantics(port);
      last = port.last;
    });
    if (left) return;
    this.#retire(count);
    if (block.ending === 'branch') {
      const taken = condition as Value;
      f.if(
        taken,
        () => {
          this.#edgeOut(block, block.target, block.instructions[count - 1] as RegionInstruction);
        },
        () => {
          this.#edge(block, block.end);
        },
      );
    } else if (block.ending === 'leave') this.#leaveAt(block.end, false);
    else this.#edge(block, block.target);
  }

  /** A taken branch. To another page: a target that is not canonical faults at the branch, which is the interpreter's. */
  #edgeOut(block: Block, target: number, branch: RegionInstruction): void {
    if (target < 0 || target >= PAGE) {
      const rip = this.#machine.page.get().add(target);
      this.#f.if(
        rip.shl(16).shrS(16).ne(rip),
        () => {
          this.#budget.set(this.#budget.get().add(1));
          this.#leaveAt(branch.at, true);
        },
        undefined,
        false,
      );
    }
    this.#edge(block, target);
  }
}
