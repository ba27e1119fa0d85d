/** What a fuzzer is: a file of its own exports a `target`, and `fuzz.ts` knows it by name. */

export interface FuzzTarget {
  /** What is done to what, for people. */
  readonly title: string;
  /** Whose coverage counts: paths from the repository's root, or folders with a slash at their end. */
  readonly sources: readonly string[];
  /**
   * One case, which follows from its seed. State may go on from case to case within a group of `group` seeds; `reset` comes
   * before each group, and after a failure.
   */
  readonly group: number;
  reset(seed: number): void;
  run(seed: number): void | Promise<void>;
  /** What was done last, newest at the end. */
  readonly log: readonly string[];
}

/** Something that must never be. */
export class Violation extends Error {}

export function ensure(holds: boolean, what: string): void {
  if (!holds) throw new Violation(what);
}

/** Runs `count` cases; rejects at the first failure, naming its seed. For tests. */
export async function fuzz(target: FuzzTarget, first: number, count: number): Promise<void> {
  for (let seed = first; seed < first + count; seed++) {
    if (seed === first || seed % target.group === 0) target.reset(seed - (seed % target.group));
    try {
      await target.run(seed);
    } catch (error) {
      throw new Error(`seed ${seed}:\n  ${target.log.join('\n  ')}`, { cause: error });
    }
  }
}
