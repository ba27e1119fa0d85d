/**
 * The journal of a file system that was not unmounted: what it holds stands in front of what is on the disk, and nothing is
 * written. So a kernel that was installed just before a power cut is found where the guest will find it. Documentation/
 * filesystems/ext4/, "Journal (jbd2)"; its order of work: which transactions are whole, what they revoke, what they hold.
 */
import { type Run, runsOf } from './map.ts';
import {
  type Inode,
  JOURNAL_MAGIC,
  JournalBlock,
  JournalFeature,
  JournalHeader,
  JournalSuperblock,
  JournalTag,
} from './protocol.ts';
import type { JournalCopy, Volume } from './volume.ts';

/** Blocks: 4 GiB of journal with blocks of 4 KiB. */
const LONGEST = 2 ** 20;
const UNDERSTOOD = Object.values(JournalFeature).reduce((all, bit) => all | bit, 0);

interface Place {
  readonly target: number;
  readonly block: number;
  readonly escaped: boolean;
  readonly sequence: number;
}

/** What the journal has for blocks of the file system. @param inode The journal's. @throws DiskError */
export async function readJournal(volume: Volume, inode: Inode, size: number): Promise<Map<number, JournalCopy>> {
  const copies = new Map<number, JournalCopy>();
  const length = Math.floor(size / volume.blockSize);
  if (length > LONGEST) throw volume.unsupported(`a journal of ${length} blocks is too long`);
  const runs: Run[] = [];
  for await (const run of runsOf(volume, inode, length)) runs.push(run);

  const place = (index: number): number => {
    const run = runs.find(({ logical, count }) => index >= logical && index < logical + count);
    if (run === undefined) throw volume.corrupt(`block ${index} of the journal is missing`);
    return run.physical + index - run.logical;
  };
  const read = (index: number): Promise<Uint8Array> => volume.block(place(index));

  const head = await read(0);
  const superblock = JournalSuperblock.read(head);
  const { magic, type, first, sequence, start, blockSize, fastCommitBlocks } = superblock;
  if (magic !== JOURNAL_MAGIC || (type !== JournalBlock.superblockV1 && type !== JournalBlock.superblockV2))
    throw volume.corrupt('its journal has no superblock');
  if (start === 0) return copies;
  const features = type === JournalBlock.superblockV2 ? superblock.featureIncompat : 0;
  if ((features & ~UNDERSTOOD) !== 0)
    throw volume.unsupported(`its journal has unknown features (0x${features.toString(16)})`);
  const has = (feature: number): boolean => (features & feature) !== 0;
  const end = superblock.maximumLength - (has(JournalFeature.fastCommit) ? fastCommitBlocks || 256 : 0);
  if (blockSize !== volume.blockSize || first < 1 || start < first || start >= end || end > length)
    throw volume.corrupt("its journal's superblock makes no sense");

  const wide = has(JournalFeature.bits64);
  const tagSize = has(JournalFeature.checksumV3) ? 16 : 8 + (has(JournalFeature.checksumV2) ? 2 : 0) + (wide ? 4 : 0);
  const tail = has(JournalFeature.checksumV2) || has(JournalFeature.checksumV3) ? 4 : 0;

  const places: Place[] = [];
  const revoked = new Map<number, number>();
  // Of the transaction that is being read; they count once its commit block is there.
  let pending: Place[] = [];
  let pendingRevoked: number[] = [];
  let expected = sequence;
  let at = start;
  const step = (): number => {
    const now = at;
    at = at + 1 >= end ? first : at + 1;
    return now;
  };

  for (let visited = 0; visited < end - first; visited++) {
    const block = await read(step());
    const header = JournalHeader.read(block);
    if (header.magic !== JOURNAL_MAGIC || header.sequence !== expected) break;
    if (header.type === JournalBlock.descriptor) {
      for (const { target, escaped } of tagsOf(block)) {
        if (++visited >= end - first) break;
        pending.push({ target, escaped, block: place(step()), sequence: expected });
      }
    } else if (header.type === JournalBlock.revoke) pendingRevoked.push(...revokesOf(block));
    else if (header.type === JournalBlock.commit) {
      places.push(...pending);
      for (const target of pendingRevoked) revoked.set(target, expected);
      pending = [];
      pendingRevoked = [];
      expected = (expected + 1) >>> 0;
    } else break;
  }

  const since = (number: number): number => (number - sequence) >>> 0;
  for (const { target, block, escaped, sequence: of } of places) {
    const forgotten = revoked.get(target);
    if (forgotten === undefined || since(forgotten) < since(of)) copies.set(target, { block, escaped });
  }
  return copies;

  function tagsOf(block: Uint8Array): { target: number; escaped: boolean }[] {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    const tags: { target: number; escaped: boolean }[] = [];
    for (let tag = JournalHeader.size; tag + tagSize <= block.length - tail; ) {
      const v3 = has(JournalFeature.checksumV3);
      const flags = v3 ? view.getUint32(tag + 4) : view.getUint16(tag + 6);
      const high = wide ? view.getUint32(tag + 8) : 0;
      tags.push({ target: high * 2 ** 32 + view.getUint32(tag), escaped: (flags & JournalTag.escaped) !== 0 });
      tag += tagSize + ((flags & JournalTag.sameUuid) === 0 ? 16 : 0);
      if ((flags & JournalTag.last) !== 0) break;
    }
    return tags;
  }

  function revokesOf(block: Uint8Array): number[] {
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    const used = Math.min(view.getUint32(JournalHeader.size), block.length - tail);
    const width = wide ? 8 : 4;
    const targets: number[] = [];
    for (let entry = JournalHeader.size + 4; entry + width <= used; entry += width)
      targets.push(wide ? view.getUint32(entry) * 2 ** 32 + view.getUint32(entry + 4) : view.getUint32(entry));
    return targets;
  }
}
