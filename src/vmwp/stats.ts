/** Counters of a machine and of its processors, by the names that `hv run --stats` and the inspect tree show. */
import type { PartitionStats } from '../contracts/partition.ts';
import { RegionExit, type VpView } from '../hypervisor/vp/state.ts';
import type { Machine } from './machine.ts';

const EXITS = Object.entries(RegionExit);

/** What the engine of one processor counts. */
export function engineCounters(vp: VpView): Record<string, bigint> {
  return {
    blockLookups: vp.blockLookups,
    blocksInvalidated: vp.blocksInvalidated,
    blocksFlushed: vp.blocksFlushed,
    tlbMisses: vp.tlbMisses,
    faults: vp.faults,
    'translation.regions': vp.regionsMade,
    'translation.kept': vp.regionsKept,
    'translation.instructions': vp.regionsInstructions,
    'translation.modules': vp.modulesMade,
    'translation.bytes': vp.modulesBytes,
    'translation.microseconds': vp.translationTime,
    'translation.stale': vp.regionsStale,
    'translation.dropped': vp.regionsDropped,
    regionLookups: vp.regionLookups,
    regionEntries: vp.regionEntries,
    regionInstructions: vp.regionInstructions,
    ...Object.fromEntries(
      EXITS.map(([name, reason]) => [`exits.${name.toLowerCase()}`, vp.regionExits[reason] as bigint]),
    ),
  };
}

export function statsOf({ vps, processorControls }: Machine): PartitionStats {
  const counters: Record<string, bigint> = {};
  for (const vp of vps)
    for (const [name, value] of Object.entries(engineCounters(vp))) counters[name] = (counters[name] ?? 0n) + value;
  return {
    instructions: vps.reduce((n, vp) => n + vp.retired, 0n),
    busySeconds: processorControls.reduce((n, c) => n + (c.busy[0] as number), 0) / 1e6,
    counters,
  };
}
