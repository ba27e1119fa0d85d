/** Dynamic memory between the device, which counts pages, the machine, which has them, and the library, which counts bytes. */
import { ViridianError } from '../contracts/errors.ts';
import type { PartitionMemory } from '../contracts/partition.ts';
import type { HostServices } from '../host/services.ts';
import { PAGE } from '../hypervisor/memory/layout.ts';
import { DynamicMemory } from '../vsp/dynamic-memory/device.ts';
import type { Machine } from './machine.ts';

export function dynamicMemory(machine: Machine, host: HostServices): DynamicMemory {
  const { memory, config, arena } = machine;
  const { first, most } = machine.addedMemory;
  const range = config.dynamicMemory;
  return new DynamicMemory({
    pages: config.memory / PAGE,
    release: (page, count) =>
      memory.release(page * PAGE, count * PAGE, (at, size) => host.discardMemory(arena.buffer, at, size)),
    more: {
      first: first / PAGE,
      pages: most / PAGE,
      backed: () => machine.addedMemory.size / PAGE,
      back: (count) => {
        machine.addMemory(count * PAGE);
      },
    },
    range: range && { minimum: range.minimum / PAGE, maximum: range.maximum / PAGE },
  });
}

export function partitionMemory(memory: DynamicMemory): PartitionMemory {
  return {
    get ready() {
      return memory.ready;
    },
    setTarget: (bytes) => {
      if (bytes !== undefined && (!Number.isFinite(bytes) || bytes < 0))
        throw new ViridianError('invalid', `memory must be a number of bytes, not ${bytes}`);
      memory.setTarget(bytes === undefined ? undefined : bytes / PAGE);
    },
    status: () => {
      const { assigned, demand, available, target, minimum, maximum, returned } = memory.status;
      return {
        assigned: assigned * PAGE,
        demand: demand * PAGE,
        available: available * PAGE,
        target: target * PAGE,
        minimum: minimum * PAGE,
        maximum: maximum * PAGE,
        returned: returned * PAGE,
      };
    },
  };
}
