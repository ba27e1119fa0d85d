/** Checkpoints as a tree, from their parents. */
import type { Checkpoint } from '../../contracts/api/resources.ts';

export interface CheckpointNode {
  readonly checkpoint: Checkpoint;
  readonly children: readonly CheckpointNode[];
}

/** A checkpoint whose parent is not among them is a root. */
export function checkpointTree(all: readonly Checkpoint[]): readonly CheckpointNode[] {
  const known = new Set(all.map(({ id }) => id));
  const below = (parent: string | null): readonly CheckpointNode[] =>
    all
      .filter((each) => (parent === null ? each.parent === null || !known.has(each.parent) : each.parent === parent))
      .map((checkpoint) => ({ checkpoint, children: below(checkpoint.id) }));
  return below(null);
}
