/** Guest pages that an MSR names: TLFS requires them inside guest memory; enabling any other is #GP. */
import { PAGE_ADDRESS, PAGE_ENABLE, PAGE_SIZE } from './constants.ts';
import type { TlfsMemory } from './ports.ts';

/** The guest-physical address of an enabled page register, or undefined. */
export function enabledPage(register: bigint): number | undefined {
  return (register & PAGE_ENABLE) === 0n ? undefined : Number(register & PAGE_ADDRESS);
}

/** Whether the register may be set to this: disabled, or a page of RAM. */
export function pageAcceptable(memory: TlfsMemory, register: bigint): boolean {
  if ((register & PAGE_ENABLE) === 0n) return true;
  const page = register & PAGE_ADDRESS;
  return page <= BigInt(Number.MAX_SAFE_INTEGER - PAGE_SIZE) && isRam(memory, Number(page), PAGE_SIZE);
}

export function isRam(memory: TlfsMemory, gpa: number, length: number): boolean {
  return readRam(memory, gpa, length) !== undefined;
}

/** A copy of the range, or undefined when it is not wholly RAM. */
export function readRam(memory: TlfsMemory, gpa: number, length: number): Uint8Array | undefined {
  try {
    return memory.read(gpa, length);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
