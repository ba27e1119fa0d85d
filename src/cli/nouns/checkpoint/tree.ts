/** Checkpoints as a tree. */
import type { Checkpoint } from '../../../client/index.ts';

interface Leaf {
  readonly checkpoint: Checkpoint;
  readonly depth: number;
}

/** Parents before their children, each child indented. */
export function tree(all: readonly Checkpoint[], parent: string | null = null, depth = 0): Leaf[] {
  return all
    .filter((each) => each.parent === parent)
    .flatMap((checkpoint) => [{ checkpoint, depth }, ...tree(all, checkpoint.id, depth + 1)]);
}
