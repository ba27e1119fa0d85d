// Runs generated cases on the native processor and on ours and collects what differs.

import type { InterpreterModule } from '../../src/hypervisor/interpreter/interpreter.ts';
import type { Form } from '../../src/hypervisor/x86/form.ts';
import { forms } from '../../src/hypervisor/x86/table.ts';
import { CaseMaker, type GeneratedCase, isTransfer, type Piece } from './cases.ts';
import { type CompareOptions, compare, type Excuse, isInconclusive, isInexact, undefinedFlags } from './compare.ts';
import { alwaysFaults, type Cell, cellsOf, exclusion } from './forms.ts';
import { Random } from './generate.ts';
import { InterpretedProcessor, type Selectors } from './interpreted.ts';
import { type Case, CODE_ADDRESS, FX_SIZE, type Mode, type Result } from './native/protocol.ts';
import type { NativeProcessor } from './native/runner.ts';
import { dependsOnVendor, settlements } from './vendor.ts';

const BATCH = 512;

export interface Divergence {
  readonly case: GeneratedCase;
  readonly native: Result;
  readonly ours: Result;
  readonly differences: readonly string[];
}

export interface ComparisonOptions {
  readonly native: NativeProcessor;
  readonly seed: number;
  /** Regular expression that the whole mnemonic matches; all of them without. */
  readonly mnemonic?: RegExp | undefined;
  readonly modes?: readonly Mode[] | undefined;
  /** Most instructions in a case. */
  readonly length?: number;
  /** Another interpreter than the usual one. */
  readonly module?: InterpreterModule | undefined;
  /** Compare translated code instead of the interpreter. */
  readonly translate?: boolean | undefined;
}

export class Comparison {
  readonly cells: readonly Cell[];
  /** Forms that are left out, and why. */
  readonly excluded: ReadonlyMap<Form, string>;
  /** Conclusive runs of each cell. */
  readonly runs: Uint32Array;
  instructions = 0;
  cases = 0;
  /** How often something that differed was excused. */
  readonly excused = new Map<Excuse, number>();
  /** Cases that say nothing, by reason. */
  readonly inconclusive = new Map<string, number>();
  readonly #native: NativeProcessor;
  readonly #ours: InterpretedProcessor;
  readonly #random: Random;
  readonly #maker: CaseMaker;
  readonly #length: number;
  readonly #indices: Map<Cell, number>;
  /** Cells of each mode that can stand anywhere in a sequence. */
  readonly #middle = new Map<Mode, Cell[]>();
  readonly #undefined = new Map<Form, number>();
  readonly #isAmd: boolean;
  #next = 0;

  private constructor(options: ComparisonOptions, selectors: Selectors) {
    const capabilities = options.native.capabilities();
    this.#isAmd = capabilities.vendor === 'AuthenticAMD';
    const available: readonly Mode[] = capabilities.compatibilityMode ? [64, 32, 16] : [64];
    const modes = (options.modes ?? available).filter((mode) => mode === 64 || capabilities.compatibilityMode);
    const excluded = new Map<Form, string>();
    const cells: Cell[] = [];
    for (const form of forms) {
      if (options.mnemonic && !options.mnemonic.test(form.mnemonic)) continue;
      const reason = exclusion(form, capabilities);
      if (reason) excluded.set(form, reason);
      else cells.push(...cellsOf(form, modes));
      this.#undefined.set(form, undefinedFlags(form.options.undefined));
    }
    this.#native = options.native;
    this.cells = cells;
    this.excluded = excluded;
    this.runs = new Uint32Array(cells.length);
    this.#indices = new Map(cells.map((cell, i) => [cell, i]));
    this.#length = options.length ?? 1;
    for (const mode of modes)
      this.#middle.set(
        mode,
        cells.filter(
          (cell) =>
            cell.mode === mode &&
            !isTransfer(cell) &&
            !isInexact(cell.form.mnemonic) &&
            !alwaysFaults(cell.form) &&
            !(this.#isAmd && dependsOnVendor(cell)) &&
            !standsAlone(cell),
        ),
      );
    this.#random = new Random(options.seed);
    this.#maker = new CaseMaker(this.#random);
    this.#ours = new InterpretedProcessor({ selectors, module: options.module, translate: options.translate === true });
  }

  static async start(options: ComparisonOptions): Promise<Comparison> {
    return new Comparison(options, await learnSelectors(options.native));
  }

  #make(): GeneratedCase {
    const last = this.cells[this.#next++ % this.cells.length] as Cell;
    const cells = [last];
    if (this.#length > 1 && !standsAlone(last)) {
      const middle = this.#middle.get(last.mode) as Cell[];
      const count = 1 + this.#random.below(this.#length - 1);
      for (let i = 0; i < count && middle.length > 0; i++) cells.unshift(this.#random.pick(middle));
    }
    return this.#maker.make(cells);
  }

  /** Runs at least so many instructions; `onDivergence` is told each case that differs. */
  /** Cases that were run translated. */
  get translated(): number {
    return this.#ours.translated;
  }

  async run(instructions: number, onDivergence: (d: Divergence) => void, onProgress?: () => void): Promise<void> {
    const end = this.instructions + instructions;
    let batch = this.#batch(end);
    while (batch.length > 0) {
      const running = this.#native.run(batch);
      // The native processor has its first cases once this thread waits; the next ones are made meanwhile.
      const following = this.#batch(end);
      const results = await running;
      batch.forEach((c, i) => {
        const divergence = this.#judge(c, results[i] as Result);
        if (divergence) onDivergence(divergence);
      });
      onProgress?.();
      batch = following;
    }
  }

  #batch(end: number): GeneratedCase[] {
    const batch: GeneratedCase[] = [];
    while (batch.length < BATCH && this.instructions < end) {
      const c = this.#make();
      this.instructions += c.pieces.length;
      this.cases++;
      batch.push(c);
    }
    return batch;
  }

  /** Runs a case on our side and compares. */
  #judge(c: GeneratedCase, native: Result): Divergence | undefined {
    if (isInconclusive(native)) {
      this.#skip(native.outcome);
      return undefined;
    }
    const ours = this.#ours.run(c);
    if (ours.outcome === 'refused') {
      this.#skip(this.#ours.outside);
      return undefined;
    }
    for (const piece of c.pieces) {
      const index = this.#indices.get(piece.cell);
      if (index !== undefined) (this.runs[index] as number)++;
    }
    const last = c.pieces.at(-1) as Piece;
    // An exception at the last instruction itself leaves the flags alone; one in fetching what follows does not.
    const ip = BigInt((c.mode === 16 ? 0 : CODE_ADDRESS) + c.codeOffset + last.offset);
    const isDone = native.outcome === 'completed' || native.rip !== ip;
    const flags = isDone ? (this.#undefined.get(last.cell.form) ?? 0) : 0;
    const options: CompareOptions = {
      undefinedFlags: flags,
      mnemonics: c.pieces.map((piece) => piece.cell.form.mnemonic),
      faultedInMmx: native.outcome === 'exception' && c.pieces.some(storesMmx),
      onExcuse: this.#onExcuse,
    };
    const differences = compare(c, native, ours, options);
    if (differences.length === 0 || (this.#isAmd && this.#isSettled(c, native, ours, options))) return undefined;
    return { case: c, native, ours, differences };
  }

  /** Whether it is what AMD's processors do otherwise, and nothing else. */
  #isSettled(c: GeneratedCase, native: Result, ours: Result, options: CompareOptions): boolean {
    const { mxcsrMask } = this.#native.capabilities();
    const run = (other: Case) => this.#ours.run(other);
    for (const [excuse, settled] of settlements({ case: c, native, ours, run, mxcsrMask })) {
      // It came to what is not ours to say.
      if (settled.ours.outcome === 'refused') {
        this.#skip(this.#ours.outside);
        return true;
      }
      const flags = options.undefinedFlags | (settled.undefinedFlags ?? 0);
      if (compare(c, settled.native, settled.ours, { ...options, undefinedFlags: flags }).length > 0) continue;
      this.#onExcuse(excuse);
      return true;
    }
    return false;
  }

  readonly #onExcuse = (excuse: Excuse): void => {
    this.excused.set(excuse, (this.excused.get(excuse) ?? 0) + 1);
  };

  #skip(reason: string): void {
    this.inconclusive.set(reason, (this.inconclusive.get(reason) ?? 0) + 1);
  }

  /** Runs one case on both; for making a case smaller. */
  async tryCase(c: GeneratedCase): Promise<Divergence | undefined> {
    const [native] = await this.#native.run([c]);
    return this.#judge(c, native as Result);
  }
}

/**
 * What cannot follow other instructions: images with the FPU's pointers, which are not looked at, and what takes from
 * EDX:EAX which components it is about.
 */
function standsAlone(cell: Cell): boolean {
  return /^(FNSTENV|FNSAVE|F?XSAVE|XRSTOR)/.test(cell.form.mnemonic);
}

/** Stores leave x87 mode before they find that their operand faults; loads do not. */
export function storesMmx({ cell }: Piece): boolean {
  const { form } = cell;
  if (form.mnemonic === 'MASKMOVQ') return true;
  return cell.memory && form.operands[0]?.access === 'write' && form.operands[0].kind !== 'P' && isMmx(form);
}
function isMmx(form: Form): boolean {
  return form.operands.some((o) => 'PQN'.includes(o.kind));
}

/** Initial selectors of each mode, from a case that does nothing. */
export async function learnSelectors(native: NativeProcessor): Promise<Selectors> {
  const modes: readonly Mode[] = native.capabilities().compatibilityMode ? [64, 32, 16] : [64];
  const fx = new Uint8Array(FX_SIZE);
  const view = new DataView(fx.buffer);
  view.setUint16(0, 0x37f, true);
  view.setUint32(24, 0x1f80, true);
  const cases = modes.map(
    (mode): Case => ({
      mode,
      end: 'breakpoint',
      code: Uint8Array.of(0x90),
      codeOffset: 0,
      gprs: new BigUint64Array(16),
      rflags: 2,
      fx,
      fsBase: 0n,
      gsBase: 0n,
      seed: 0,
      patches: [],
    }),
  );
  const results = await native.run(cases);
  return Object.fromEntries(modes.map((mode, i) => [mode, results[i]?.segments ?? []]));
}
