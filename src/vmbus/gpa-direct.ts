/** The pages that a packet of type GPA-direct names: {u32 0, u32 range count, then {u32 byte count, u32 offset, u64 page...}...}. */
import { PAGE_SIZE } from './protocol.ts';
import { type Packet, viewOf } from './ring.ts';

/** One piece of guest memory within a page. */
export interface GpaPiece {
  readonly gpa: number;
  readonly length: number;
}

/**
 * The pieces of all ranges in order, and their bytes together; undefined when they make no sense or are more than `limit`
 * bytes. Whether they are RAM shows when they are used.
 */
export function gpaPieces(
  { descriptor }: Packet,
  limit: number,
): { readonly pieces: readonly GpaPiece[]; readonly length: number } | undefined {
  if (descriptor.length < 8) return undefined;
  const view = viewOf(descriptor);
  const pieces: GpaPiece[] = [];
  let length = 0;
  let at = 8;
  for (let n = view.getUint32(4, true); n > 0; n--) {
    if (at + 8 > descriptor.length) return undefined;
    let left = view.getUint32(at, true);
    let offset = view.getUint32(at + 4, true);
    at += 8;
    length += left;
    if (offset >= PAGE_SIZE || length > limit) return undefined;
    while (left > 0) {
      if (at + 8 > descriptor.length) return undefined;
      if (view.getUint32(at + 4, true) !== 0) return undefined;
      const count = Math.min(left, PAGE_SIZE - offset);
      pieces.push({ gpa: view.getUint32(at, true) * PAGE_SIZE + offset, length: count });
      left -= count;
      offset = 0;
      at += 8;
    }
  }
  return { pieces, length };
}
