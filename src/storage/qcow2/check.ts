/** Checking a qcow2 as far as a reader is concerned: every table and cluster lies where it can. */
import type { RandomFile } from '../../host/disk-files.ts';
import type { Findings } from '../findings.ts';
import { readHeader } from './header.ts';
import { L1_OFFSET_MASK, L2_COMPRESSED, L2_OFFSET_MASK } from './protocol.ts';

export async function checkQcow2(file: RandomFile, findings: Findings): Promise<void> {
  const header = await readHeader(file);
  const size = await file.size();
  const { clusterSize } = header;
  if (header.dirty) findings.note('the file was not closed: its reference counts may be wrong');
  if (header.snapshots > 0) findings.note(`${header.snapshots} snapshots in the file, which are not read`);
  const l1 = new Uint8Array(header.l1Entries * 8);
  await file.read(header.l1Offset, l1);
  const l1View = new DataView(l1.buffer);
  const table = new Uint8Array(clusterSize);
  const entries = new DataView(table.buffer);
  let allocated = 0;
  for (let i = 0; i < header.l1Entries; i++) {
    const offset = Number(l1View.getBigUint64(i * 8) & L1_OFFSET_MASK);
    if (offset === 0) continue;
    if (offset % clusterSize !== 0 || offset + clusterSize > size) {
      findings.error(`L2 table ${i} has an impossible place (${offset})`);
      continue;
    }
    await file.read(offset, table);
    for (let j = 0; j < clusterSize / 8; j++) {
      const entry = entries.getBigUint64(j * 8);
      if (entry === 0n) continue;
      allocated++;
      if ((entry & L2_COMPRESSED) !== 0n) continue;
      const place = Number(entry & L2_OFFSET_MASK);
      if (place % clusterSize !== 0 || place >= size)
        findings.error(`cluster ${i * (clusterSize / 8) + j} has an impossible place (${place})`);
    }
    if (findings.list.length > 100) break;
  }
  Object.assign(findings.counts, { clusters: Math.ceil(header.size / clusterSize), allocatedClusters: allocated });
}
