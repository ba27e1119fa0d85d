/**
 * Another parent for a differencing disk: its parent locator is written anew, through the log, so that a power cut leaves the
 * old or the new one. [MS-VHDX] 2.6.2.6. What the disk holds stays; that it means the same over the other parent is the
 * caller's word.
 */
import { guidText } from '../../support/guid.ts';
import { guidFromRandom, ZERO_GUID } from '../../support/guids.ts';
import { DiskError } from '../disk.ts';
import { type VhdxParent, windowsPath } from './create.ts';
import type { VhdxImage } from './image.ts';
import { LogWriter, type PageUpdate } from './log.ts';
import { encodeMetadata, metadataItems } from './metadata.ts';
import { LOG_SECTOR, MIB } from './protocol.ts';

/** What encodeMetadata writes for a differencing disk. */
const KNOWN_ITEMS = 6;

/** @param image open for writing. @throws DiskError */
export async function relinkVhdx(
  { file, view, headers, regions, metadata }: VhdxImage,
  parent: VhdxParent,
  random: (count: number) => Uint8Array,
): Promise<void> {
  if (!metadata.hasParent) throw new DiskError('parent', `${file.path}: is no differencing disk`);
  const locator = new Map([
    ['parent_linkage', `{${guidText(parent.dataWriteGuid)}}`],
    ['relative_path', windowsPath(parent.path)],
  ]);
  const encoded = encodeMetadata({ ...metadata, locator });
  const items = await metadataItems(view, regions.metadata);
  if (encoded.length > regions.metadata.length || items !== KNOWN_ITEMS)
    throw new DiskError('unsupported', `${file.path}: its metadata hold more than can be written anew`);
  const pages = await changedPages(view, regions.metadata.offset, encoded);
  if (pages.length === 0) return;

  const { logOffset, logLength } = headers.header;
  const log = new LogWriter(file, Number(logOffset), logLength, guidFromRandom(random(16)));
  const size = Math.floor((await file.size()) / MIB) * MIB;
  // The order of journal.ts: an empty entry, the header that names the log, the pages, and the log retired.
  await log.append([], size, size);
  await headers.update({ fileWriteGuid: guidFromRandom(random(16)), logGuid: log.guid });
  await log.append(pages, size, size);
  for (const page of pages) await file.write(page.offset, page.bytes);
  await file.sync();
  await headers.update({ logGuid: ZERO_GUID });
}

async function changedPages(view: VhdxImage['view'], start: number, encoded: Uint8Array): Promise<PageUpdate[]> {
  const pages: PageUpdate[] = [];
  for (let at = 0; at < encoded.length; at += LOG_SECTOR) {
    const bytes = new Uint8Array(LOG_SECTOR);
    bytes.set(encoded.subarray(at, at + LOG_SECTOR));
    const old = new Uint8Array(LOG_SECTOR);
    await view.read(start + at, old);
    if (old.some((byte, i) => byte !== bytes[i])) pages.push({ offset: start + at, bytes });
  }
  return pages;
}
