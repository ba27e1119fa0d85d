/** Fuzzers whose state goes on from case to case, so that a guest's moves meet what earlier ones have left. */
import type { FuzzTarget } from './target.ts';

export interface StatefulFuzzer {
  /** Cases in a row between two resets: a failure is repeated by beginning at the multiple of this before its seed. */
  readonly group: number;
  reset(seed: number): void | Promise<void>;
  run(seed: number): void | Promise<void>;
  /** What was done last, newest at the end. */
  readonly log: readonly string[];
}

/** Something that must never be. */
export class Violation extends Error {}

export function ensure(holds: boolean, what: string): void {
  if (!holds) throw new Violation(what);
}

export function statefulTarget(about: string, covers: readonly string[], fuzzer: StatefulFuzzer): FuzzTarget {
  let fresh = false;
  return {
    about,
    covers,
    run: async (seed) => {
      if (!fresh || seed % fuzzer.group === 0) await fuzzer.reset(seed - (seed % fuzzer.group));
      fresh = true;
      try {
        await fuzzer.run(seed);
        return 'done';
      } catch (error) {
        fresh = false;
        if (error instanceof Error) error.stack = `${error.stack ?? ''}\n  ${fuzzer.log.join('\n  ')}`;
        throw error;
      }
    },
  };
}

/** Runs `count` cases and rejects at the first failure. For tests. */
export async function runCases(target: FuzzTarget, first: number, count: number): Promise<void> {
  for (let seed = first; seed < first + count; seed++) await target.run(seed);
}
