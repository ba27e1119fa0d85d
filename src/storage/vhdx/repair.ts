/** What can be mended in a VHDX without losing anything: a log to replay, one of two headers, one of two region tables. */
import type { RandomFile } from '../../host/disk-files.ts';
import { guidFromRandom, ZERO_GUID } from '../../support/guids.ts';
import { decodeRegions } from './header.ts';
import { openImage } from './image.ts';
import { REGION_TABLE_OFFSETS, REGION_TABLE_SIZE } from './protocol.ts';

export async function repairVhdx(file: RandomFile, random: (count: number) => Uint8Array): Promise<void> {
  // Opened to write, it replays the log.
  const { headers } = await openImage(file, random);
  await headers.update({ fileWriteGuid: guidFromRandom(random(16)), logGuid: ZERO_GUID });
  const tables = await Promise.all(
    REGION_TABLE_OFFSETS.map(async (offset) => {
      const bytes = new Uint8Array(REGION_TABLE_SIZE);
      const count = await file.read(offset, bytes);
      return { offset, bytes, valid: typeof decodeRegions(bytes.subarray(0, count)) !== 'string' };
    }),
  );
  const good = tables.find((table) => table.valid)!;
  for (const table of tables) if (!table.valid) await file.write(table.offset, good.bytes);
  await file.sync();
}
