/** Checking a VHD: footer and its copy, dynamic header, table, blocks. */
import type { RandomFile } from '../../host/disk-files.ts';
import { type Findings, MOST_FINDINGS } from '../findings.ts';
import { readVhd } from './open.ts';
import { DYNAMIC_HEADER_SIZE, FOOTER_SIZE, SECTOR, UNUSED_ENTRY } from './protocol.ts';
import { bitmapSize, readTable } from './sparse.ts';

export async function checkVhd(file: RandomFile, findings: Findings): Promise<void> {
  const { footer, sparse, end, start } = await readVhd(file);
  const size = await file.size();
  if (typeof end === 'string') findings.error(`the footer at the end of the file: ${end}`, sparse !== undefined);
  if (sparse === undefined) {
    const wanted = Number(footer.currentSize) + FOOTER_SIZE;
    if (size < wanted) findings.error(`the file has ${size} bytes, ${wanted} needed`);
    findings.counts.bytes = Number(footer.currentSize);
    return;
  }
  if (typeof start === 'string') findings.error(`the copy of the footer at the start of the file: ${start}`, true);
  else if (typeof end !== 'string' && start.currentSize !== end.currentSize)
    findings.error(`footer and copy disagree about the size (${end.currentSize} and ${start.currentSize})`, true);
  const table = await readTable(file, sparse);
  const length = bitmapSize(sparse.blockSize) + sparse.blockSize;
  const tableEnd = sparse.tableOffset + Math.ceil((sparse.entries * 4) / SECTOR) * SECTOR;
  const used = [...table.entries()].filter(([, entry]) => entry !== UNUSED_ENTRY).sort((a, b) => a[1] - b[1]);
  let wrong = 0;
  const report = (text: string): void => {
    if (++wrong <= MOST_FINDINGS) findings.error(text);
  };
  let last = 0;
  for (const [block, sector] of used) {
    const at = sector * SECTOR;
    if (at + length > size) report(`block ${block} lies outside the file (${at})`);
    else if (at < last) report(`block ${block} lies over another (${at})`);
    else if (
      at < Number(footer.dataOffset) + DYNAMIC_HEADER_SIZE ||
      (at < tableEnd && at + length > sparse.tableOffset)
    )
      report(`block ${block} lies over the headers (${at})`);
    last = Math.max(last, at + length);
  }
  if (wrong > MOST_FINDINGS) findings.error(`and ${wrong - MOST_FINDINGS} more blocks like these`);
  const behind = size - FOOTER_SIZE - Math.max(last, tableEnd);
  if (wrong === 0 && behind >= sparse.blockSize)
    findings.note(`${Math.floor(behind / 2 ** 20)} MiB of the file are used by nothing: compacting frees them`);
  Object.assign(findings.counts, { blocks: sparse.entries, allocatedBlocks: used.length });
}
