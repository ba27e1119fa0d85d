/**
 * What a worker that was started ahead does while it waits: it makes a small machine, saves it, and goes on from that. Nobody needs that
 * machine. But code that has run once is compiled: the restore that somebody waits for takes half as long.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CreatePartition } from '../../contracts/partition.ts';
import { nodeCodecs } from '../../host/node/codecs.ts';
import { nodeDiskFiles } from '../../host/node/disk-files.ts';
import { createDisk } from '../../storage/index.ts';

const MIB = 2 ** 20;
/** Where the kernel is loaded. */
const BASE = 0x10_0000;
/** A multiboot 1 kernel: its header with addresses of its own (section 3.1 there), then `hlt` for ever. */
const HEADER = [0x1bad_b002, 0x1_0000, 0xe451_4ffe, BASE, BASE, 0, 0, BASE + 32];
const IDLE = [0xf4, 0xeb, 0xfd];

function idleKernel(): Uint8Array {
  const kernel = new Uint8Array(64);
  HEADER.forEach((word, i) => {
    new DataView(kernel.buffer).setUint32(i * 4, word, true);
  });
  kernel.set(IDLE, HEADER.length * 4);
  return kernel;
}

/** @param wanted whether there is something better to do; looked at between steps. */
export async function rehearse(create: CreatePartition, wanted: () => boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'rehearsal-'));
  const [parent, file, state] = ['parent', 'disk', 'state'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  try {
    const host = { files: nodeDiskFiles, codecs: nodeCodecs };
    await createDisk(host, parent, { format: 'vhdx', size: 16 * MIB });
    await createDisk(host, file, { format: 'vhdx', parent });
    const common = { disks: [{ lun: 0, file, format: 'vhdx' as const }] };
    if (wanted()) return;
    {
      await using first = await create({ ...common, kernel: idleKernel(), memory: 32 * MIB });
      if (wanted()) return;
      first.start();
      const saving = first.saveTo(state);
      await saving.ready;
      await first.pause();
      await saving.take();
      await saving.finish();
    }
    if (wanted()) return;
    await using second = await create({ ...common, restore: state, restoreUnread: true });
    second.resume();
    await second.pause();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
