/** What the host allows its VMs: the memory limits of Hyper-V's editions, as policy, over all VMs that run together. */
import type { Edition } from '../contracts/api/resources.ts';
import { ViridianError } from '../contracts/errors.ts';
import { sizeText } from '../contracts/partition-options.ts';

const GIB = 2 ** 30;
const TIB = 2 ** 40;

/**
 * Bytes that virtual machines may have together; null: what the host has. 2008 Standard is for hosts of 32 GB, of which the
 * parent partition keeps one.
 */
export const EDITION_LIMITS: Readonly<Record<Edition, number | null>> = {
  Unlimited: null,
  '2008 Standard': 31 * GIB,
  '2008 R2 Standard': 32 * GIB,
  '2008 R2 Enterprise': 2 * TIB,
  '2008 R2 Datacenter': 2 * TIB,
};

export interface MemoryHost {
  readonly edition: Edition;
  /** Bytes. */
  readonly total: number;
}

/** Bytes for all VMs together, and whose word that is. */
export function memoryLimit({ edition, total }: MemoryHost): { readonly bytes: number; readonly by: string } {
  const limit = EDITION_LIMITS[edition];
  if (limit === null || total < limit) return { bytes: total, by: 'this host has' };
  return { bytes: limit, by: `the edition ${edition} allows` };
}

/** A VM that could never start is refused when its memory is set. @throws ViridianError `invalid` */
export function demandPossible(host: MemoryHost, name: string, memory: number): void {
  const { bytes, by } = memoryLimit(host);
  if (memory > bytes)
    throw new ViridianError(
      'invalid',
      `${name} cannot have ${sizeText(memory)} of memory: ${by} ${sizeText(bytes)} for virtual machines: give it less`,
    );
}

/** @param used by VMs that run. @throws ViridianError `wrongState` */
export function demandRoom(host: MemoryHost, name: string, memory: number, used: number): void {
  demandPossible(host, name, memory);
  const { bytes, by } = memoryLimit(host);
  if (memory + used > bytes)
    throw new ViridianError(
      'wrongState',
      `cannot start ${name} with ${sizeText(memory)} of memory: ${by} ${sizeText(bytes)} for virtual machines, and ${sizeText(used)} are in use: stop or save others, or give it less`,
    );
}
