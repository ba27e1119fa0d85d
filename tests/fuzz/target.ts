// What can be fuzzed: a function of a seed. It throws when something happens that must not.

export interface FuzzTarget {
  /** One line for --help. */
  readonly about: string;
  /** @returns a word for what became of the case, for the summary. @throws when a promise is broken. */
  run(seed: number): Promise<string> | string;
  /** Folders and files (from the repository's root) whose branches the target is to reach. */
  readonly covers?: readonly string[];
}
