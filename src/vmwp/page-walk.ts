/** Explains the translation of one linear address, entry by entry, without changing anything. Intel SDM vol. 3, "Paging". */
import type { InspectNode } from '../contracts/partition.ts';
import type { GuestMemory } from '../hypervisor/memory/guest-memory.ts';
import type { VpView } from '../hypervisor/vp/state.ts';

const ADDRESS = 0x000f_ffff_ffff_f000n;
const PG = 1n << 31n;
const PAE = 1n << 5n;
const LMA = 1n << 10n;
const BITS: readonly (readonly [bigint, string])[] = [
  [1n, 'P'],
  [2n, 'W'],
  [4n, 'U'],
  [0x20n, 'A'],
  [0x40n, 'D'],
  [0x80n, 'PS'],
  [0x100n, 'G'],
  [1n << 63n, 'NX'],
];

export function pageWalk(vp: VpView, memory: GuestMemory, linear: bigint): InspectNode {
  if ((vp.cr0 & PG) === 0n) return { linear, physical: linear, paging: 'off' };
  const long = (vp.efer & LMA) !== 0n;
  const wide = long || (vp.cr4 & PAE) !== 0n;
  const names = long ? ['pml4e', 'pdpte', 'pde', 'pte'] : wide ? ['pdpte', 'pde', 'pte'] : ['pde', 'pte'];
  const size = wide ? 8 : 4;
  const step = wide ? 9n : 10n;
  let shift = 12n + step * BigInt(names.length - 1);
  let table = vp.cr3 & (wide && !long ? 0xffff_ffe0n : ADDRESS);
  const result: Record<string, string | bigint | InspectNode> = { linear };
  for (const name of names) {
    const index = (linear >> shift) & ((1n << step) - 1n);
    const at = table + index * BigInt(size);
    let entry: bigint;
    try {
      const view = new DataView(memory.read(Number(at), size).buffer);
      entry = size === 8 ? view.getBigUint64(0, true) : BigInt(view.getUint32(0, true));
    } catch {
      return { ...result, [name]: 'not in guest memory' };
    }
    result[name] = {
      at,
      entry,
      flags: BITS.filter(([bit]) => (entry & bit) !== 0n)
        .map(([, n]) => n)
        .join(' '),
    };
    if ((entry & 1n) === 0n) return { ...result, physical: 'not mapped' };
    const leaf = shift === 12n || ((entry & 0x80n) !== 0n && name !== 'pml4e');
    if (leaf)
      return { ...result, physical: (entry & ADDRESS & ~((1n << shift) - 1n)) | (linear & ((1n << shift) - 1n)) };
    table = entry & ADDRESS;
    shift -= step;
  }
  return result;
}
