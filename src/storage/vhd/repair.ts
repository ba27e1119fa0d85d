/** What can be mended in a dynamic VHD without losing anything: one of its two footers. */
import type { RandomFile } from '../../host/disk-files.ts';
import { encodeFooter } from './footer.ts';
import { readVhd } from './open.ts';
import { FOOTER_SIZE, SECTOR, UNUSED_ENTRY } from './protocol.ts';
import { bitmapSize, readTable } from './sparse.ts';

export async function repairVhd(file: RandomFile): Promise<void> {
  const { footer, sparse, end } = await readVhd(file);
  if (sparse === undefined) return;
  const bytes = encodeFooter(footer);
  const size = await file.size();
  if (typeof end === 'string') {
    // Behind the last block; what is there now may be half a block.
    const length = bitmapSize(sparse.blockSize) + sparse.blockSize;
    const last = (await readTable(file, sparse)).reduce(
      (most, entry) => (entry === UNUSED_ENTRY ? most : Math.max(most, entry * SECTOR + length)),
      sparse.tableOffset + Math.ceil((sparse.entries * 4) / SECTOR) * SECTOR,
    );
    const at = Math.max(last, Math.ceil(size / SECTOR) * SECTOR);
    await file.write(at, bytes);
  } else await file.write(size - FOOTER_SIZE, bytes);
  await file.sync();
  await file.write(0, bytes);
  await file.sync();
}
