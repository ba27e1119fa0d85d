/** Counters of a machine, by the names that `hv run --stats` and the inspect tree show. */
import type { PartitionStats } from '../contracts/partition.ts';
import type { Machine } from './machine.ts';

export function statsOf({ vps, processorControls }: Machine): PartitionStats {
  const sum = (f: (vp: (typeof vps)[number]) => bigint): bigint => vps.reduce((n, vp) => n + f(vp), 0n);
  return {
    instructions: sum((vp) => vp.retired),
    busySeconds: processorControls.reduce((n, c) => n + (c.busy[0] as number), 0) / 1e6,
    counters: {
      blockLookups: sum((vp) => vp.blockLookups),
      tlbMisses: sum((vp) => vp.tlbMisses),
      faults: sum((vp) => vp.faults),
      regionEntries: sum((vp) => vp.regionEntries),
      regionInstructions: sum((vp) => vp.regionInstructions),
    },
  };
}
