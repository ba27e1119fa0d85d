/**
 * Two machines from one boot plan, one interpreted and one with hot code translated, given the same inputs at the same counts
 * of instructions, and compared. Where they differ, the count is narrowed down by beginning again: translation is on this
 * thread, so that a run with the same stops repeats exactly. Runs end at the count in question at once, because where
 * translated code stops depends on it.
 */
import { SteppedMachine, type SteppedOptions } from '../stepped-machine.ts';
import { type Difference, deviceDifferences, memoryDifferences, registerDifferences } from './compare.ts';
import type { Divergence, Step } from './report.ts';

export type LockstepOptions = Omit<SteppedOptions, 'translated' | 'exact' | 'reuse' | 'onConsole'>;

/** What was done to both machines, to do it again. */
type Action =
  | { readonly kind: 'run'; readonly to: bigint }
  | { readonly kind: 'input'; readonly bytes: Uint8Array }
  | { readonly kind: 'restart' };

/** Instructions that are told of, before the one that differs. */
const SHOWN_BEFORE = 8n;

type Progress = (low: bigint, high: bigint) => boolean | Promise<boolean>;

/** Two machines and what they have written to their consoles since the last comparison. */
class Pair {
  readonly interpreted: SteppedMachine;
  readonly translated: SteppedMachine;
  readonly #console: [number[], number[]] = [[], []];

  constructor(options: LockstepOptions, exact: boolean, reuse?: Pair) {
    const machine = (translated: boolean): SteppedMachine =>
      new SteppedMachine({
        ...options,
        translated,
        exact,
        reuse: (translated ? reuse?.translated : reuse?.interpreted)?.memory,
        onConsole: (bytes) => {
          this.#console[translated ? 1 : 0].push(...bytes);
        },
      });
    this.interpreted = machine(false);
    this.translated = machine(true);
  }

  perform(action: Action): void {
    for (const machine of [this.interpreted, this.translated]) {
      if (action.kind === 'run') machine.runTo(action.to);
      else if (action.kind === 'input') machine.receive(action.bytes);
      else machine.restart();
    }
  }

  /** @param thorough memory and devices too. */
  differences(thorough: boolean): Difference[] {
    const { interpreted, translated } = this;
    const found = registerDifferences(interpreted.vp, translated.vp);
    const state = (what: string, of: (machine: SteppedMachine) => string): void => {
      const [a, b] = [of(interpreted), of(translated)];
      if (a !== b) found.push({ where: what, interpreted: a, translated: b });
    };
    state('power event', ({ powerEvent }) => String(powerEvent));
    state('asleep', ({ asleep }) => String(asleep));
    state('crash', ({ crash }) => crash?.message ?? String(crash !== undefined));
    const [a, b] = this.#console;
    if (a.length !== b.length || a.some((byte, i) => byte !== b[i]))
      found.push({ where: 'console', interpreted: text(a), translated: text(b) });
    return thorough
      ? [...found, ...deviceDifferences(interpreted, translated), ...memoryDifferences(interpreted, translated)]
      : found;
  }

  takeConsole(): Uint8Array {
    const bytes = Uint8Array.from(this.#console[0]);
    this.#console[0].length = this.#console[1].length = 0;
    return bytes;
  }
}

function text(bytes: readonly number[]): string {
  return JSON.stringify(new TextDecoder('latin1').decode(Uint8Array.from(bytes.slice(-200))));
}

export class Lockstep {
  readonly #options: LockstepOptions;
  readonly #history: Action[] = [];
  #pair: Pair;
  /** Count at which everything was the same. */
  #good = 0n;
  comparisons = 0;
  thorough = 0;

  constructor(options: LockstepOptions) {
    this.#options = options;
    this.#pair = new Pair(options, false);
  }

  get interpreted(): SteppedMachine {
    return this.#pair.interpreted;
  }
  get translated(): SteppedMachine {
    return this.#pair.translated;
  }
  get count(): bigint {
    return this.interpreted.vp.retired;
  }

  /** Runs both to a count, or to a power event, or to a sleep without end. */
  runTo(to: bigint): void {
    this.#perform({ kind: 'run', to });
  }
  /** Hands console input to both: how many bytes they have taken. */
  receive(bytes: Uint8Array): number {
    const taken = bytes.subarray(0, this.interpreted.machine.com1.rxSpace());
    if (taken.length > 0) this.#perform({ kind: 'input', bytes: taken });
    return taken.length;
  }
  /** Begins anew after a power event. */
  restart(): void {
    this.#perform({ kind: 'restart' });
  }
  #perform(action: Action): void {
    this.#history.push(action);
    this.#pair.perform(action);
  }

  /** What the guest has written to COM1; after a comparison, so that it is the same of both. */
  takeConsole(): Uint8Array {
    return this.#pair.takeConsole();
  }

  /** Whether both are the same now. @param thorough memory and devices are compared too. */
  compare(thorough: boolean): boolean {
    this.comparisons++;
    if (thorough) this.thorough++;
    if (this.#pair.differences(thorough).length > 0) return false;
    if (thorough) this.#good = this.count;
    return true;
  }

  /**
   * After a comparison that failed: the first instruction after which they differ. Everything begins again for that, many
   * times; nothing can be run afterwards.
   * @param progress called before each time; false: enough of it, and the answer is undefined.
   */
  async explain(progress: Progress): Promise<Divergence | undefined> {
    const seen = this.#pair.differences(true);
    const bad = [this.interpreted, this.translated].reduce((n, { vp }) => (vp.retired > n ? vp.retired : n), 0n);
    const about = await this.#narrow(false, this.#good, bad, progress);
    if (about === null) return undefined;
    // A run that is not the same twice: then there is no more to say.
    if (about === undefined) return { count: bad, certainty: 'once', differences: seen, steps: [], regions: [] };
    // Translated code that can stop anywhere: only the instruction itself is left.
    const exact = await this.#narrow(true, this.#good, about, progress);
    if (exact === null) return undefined;
    const count = exact ?? about;
    const differences = this.#replay(count, exact !== undefined);
    const { regions } = this.translated;
    const steps = this.#steps(count);
    return { count, certainty: exact === undefined ? 'about' : 'exact', differences, steps, regions };
  }

  /** The smallest count in (good, bad] at which a run that ends there differs; undefined: not even at `bad`. Null: stopped. */
  async #narrow(exact: boolean, good: bigint, bad: bigint, progress: Progress): Promise<bigint | undefined | null> {
    let [low, high] = [good, bad];
    if (!(await progress(low, high))) return null;
    if (this.#replay(high, exact).length === 0) return undefined;
    while (high - low > 1n) {
      if (!(await progress(low, high))) return null;
      const middle = (low + high) / 2n;
      if (this.#replay(middle, exact).length > 0) high = middle;
      else low = middle;
    }
    return high;
  }

  /** Everything again up to a count: what differs there. */
  #replay(count: bigint, exact: boolean): Difference[] {
    const pair = new Pair(this.#options, exact, this.#pair);
    this.#pair = pair;
    for (const action of this.#history) {
      pair.perform(action.kind === 'run' && action.to > count ? { kind: 'run', to: count } : action);
      if (pair.interpreted.vp.retired >= count || pair.translated.vp.retired >= count) break;
    }
    return pair.differences(true);
  }

  /** What the interpreter executes last up to a count, and next. */
  #steps(count: bigint): Step[] {
    const first = count > SHOWN_BEFORE ? count - SHOWN_BEFORE : 0n;
    const machine = new SteppedMachine({ ...this.#options, translated: false, reuse: this.interpreted.memory });
    const steps: Step[] = [];
    for (const action of this.#history) {
      if (action.kind === 'input') machine.receive(action.bytes);
      else if (action.kind === 'restart') machine.restart();
      else {
        if (action.to >= first) {
          const end = action.to < count ? action.to : count;
          for (let to = machine.vp.retired > first ? machine.vp.retired : first; to <= end; to++) {
            machine.runTo(to);
            if (machine.vp.retired === to && steps.at(-1)?.count !== to) steps.push(stepOf(machine));
          }
        } else machine.runTo(action.to);
        if (machine.vp.retired >= count) break;
      }
    }
    return steps;
  }
}

/** Where a machine stands. */
function stepOf({ vp, engine, machine }: SteppedMachine): Step {
  const linear = BigInt.asUintN(64, (vp.rip + vp.codeBase) & vp.codeMask);
  const at = engine.translate(linear);
  const pieces: number[] = [];
  // Byte by byte: an instruction may cross into a page that is elsewhere.
  for (let i = 0n; i < 15n; i++) {
    const gpa = engine.translate(linear + i);
    if (gpa === undefined || gpa >= BigInt(machine.config.memory)) break;
    pieces.push(machine.memory.read(Number(gpa), 1)[0] as number);
  }
  const gpr = [...vp.gpr];
  return { count: vp.retired, rip: vp.rip, gpa: at, mode: vp.mode, bytes: Uint8Array.from(pieces), gpr };
}
