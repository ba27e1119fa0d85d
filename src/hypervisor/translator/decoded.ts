/** The interpreter's records of instructions that translated code calls its functions with. */
import { Field, RECORD } from '../interpreter/record.ts';
import { filled, type KeptRegion, SiteKind } from './kept.ts';

/** Words of a block: see TranslationItem. */
export const BLOCK = 4;
/** Bytes of code in a block at most. */
const LONGEST = 256;

export interface DecodedInstruction {
  readonly record: number;
  /** Offset of the block that it is a record of, and that block's first record. */
  readonly blockAt: number;
  readonly first: number;
}

/** @param blocks as a TranslationItem has them @param words the partition's memory */
export function decodedAt(
  blocks: Int32Array,
  words: Int32Array,
  handler: number,
  at: number,
): DecodedInstruction | undefined {
  for (let i = 0; i < blocks.length; i += BLOCK) {
    const blockAt = blocks[i] as number;
    if (at < blockAt || at >= blockAt + LONGEST) continue;
    const first = blocks[i + 1] as number;
    const count = blocks[i + 2] as number;
    for (let n = 0; n < count; n++) {
      const record = first + n * RECORD;
      const word = words[(record + Field.HANDLER) >> 2] as number;
      if ((word & 0xffff) === handler && ((word >>> 16) & 0xff) === at - blockAt) return { record, blockAt, first };
    }
  }
  return undefined;
}

export interface FilledSites {
  readonly values: readonly number[];
  /** First records of the blocks that have the records which are called. */
  readonly calls: readonly number[];
}

/**
 * The numbers of a region's sites; undefined where an instruction that it calls is not decoded. Asked once: the processor goes on
 * meanwhile, and its records are dropped. Who puts the region in place looks whether `calls` are still there.
 */
export function fillSites(
  { sites }: Pick<KeptRegion, 'sites'>,
  place: { readonly record: number; readonly nextGpa: number; readonly blocks: Int32Array },
  words: Int32Array,
): FilledSites | undefined {
  const called = new Map<number, DecodedInstruction>();
  for (const { kind, value } of sites) {
    if (kind !== SiteKind.CALLED_RECORD || called.has(value)) continue;
    const found = decodedAt(place.blocks, words, value >>> 16, value & 0xffff);
    if (!found) return undefined;
    called.set(value, found);
  }
  const { record, nextGpa } = place;
  const values = filled(sites, { record, nextGpa, called: (value) => called.get(value) as DecodedInstruction });
  return { values, calls: [...new Set([...called.values()].map(({ first }) => first))] };
}
