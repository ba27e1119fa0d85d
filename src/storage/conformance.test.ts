import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { DiskFiles } from '../host/disk-files.ts';
import { MemoryFiles } from '../host/memory-files.ts';
import { nodeCodecs } from '../host/node/codecs.ts';
import { nodeDiskFiles } from '../host/node/disk-files.ts';
import { type Conformance, conformance, type DiskUnderTest, pattern } from './conformance.fixture.ts';
import { createDisk, type NewDisk } from './create.ts';
import { openDisk } from './open.ts';

const MIB = 2 ** 20;
let folder = '';
let serial = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Case {
  readonly wanted: Omit<NewDisk, 'size'>;
  /** Over a parent that holds something. */
  readonly child?: boolean;
  readonly discard?: 'memory' | 'file';
  readonly onDisk?: boolean;
}

function make({ wanted, child, discard, onDisk }: Case): (size: number) => Promise<DiskUnderTest> {
  return async (size) => {
    const files: DiskFiles = onDisk ? nodeDiskFiles : new MemoryFiles();
    const host = { files, codecs: nodeCodecs };
    const path = (name: string): string => join(onDisk ? folder : '/', `${name}${serial}`);
    serial++;
    let initial = new Uint8Array(size);
    const { format } = wanted;
    if (child || discard !== undefined) {
      await createDisk(host, path('base'), { format, size, ...(format === 'raw' ? {} : { blockSize: MIB }) });
      const base = await openDisk(host, path('base'), { format, write: true });
      for (const [offset, length] of [
        [4096, MIB / 2],
        [MIB + 8192, 4096],
        [2 * MIB, MIB],
      ] as const) {
        const bytes = pattern(length, offset);
        await base.write(offset, bytes);
        initial.set(bytes, offset);
      }
      await base.close();
    } else initial = new Uint8Array(size);
    if (child) await createDisk(host, path('disk'), { ...wanted, size, parent: path('base') });
    else if (discard === undefined) await createDisk(host, path('disk'), { ...wanted, size });
    const name = discard === undefined ? path('disk') : path('base');
    return { open: () => openDisk(host, name, { format, write: true, discard }), initial, resizable: true };
  };
}

const CASES: readonly [string, Case, Partial<Conformance>?][] = [
  ['raw', { wanted: { format: 'raw' } }],
  ['raw, in a file', { wanted: { format: 'raw' }, onDisk: true }, { runs: 8 }],
  ['dynamic VHDX', { wanted: { format: 'vhdx', blockSize: MIB } }, { runs: 60 }],
  ['dynamic VHDX, in a file', { wanted: { format: 'vhdx', blockSize: MIB }, onDisk: true }, { runs: 8 }],
  [
    'dynamic VHDX, sectors of 4 KiB',
    { wanted: { format: 'vhdx', blockSize: MIB, logicalSectorSize: 4096 } },
    { sector: 4096 },
  ],
  ['dynamic VHDX, one large block', { wanted: { format: 'vhdx' } }],
  ['fixed VHDX', { wanted: { format: 'vhdx', type: 'fixed', blockSize: MIB } }],
  [
    'differencing VHDX',
    { wanted: { format: 'vhdx', type: 'differencing', blockSize: MIB }, child: true },
    { runs: 60 },
  ],
  [
    'differencing VHDX, in a file',
    { wanted: { format: 'vhdx', blockSize: MIB }, child: true, onDisk: true },
    { runs: 8 },
  ],
  ['dynamic VHD', { wanted: { format: 'vhd', blockSize: MIB } }],
  ['dynamic VHD, in a file', { wanted: { format: 'vhd' }, onDisk: true }, { runs: 8 }],
  ['fixed VHD', { wanted: { format: 'vhd', type: 'fixed' } }],
  ['differencing VHD', { wanted: { format: 'vhd', type: 'differencing', blockSize: MIB }, child: true }],
];

for (const [name, options, more] of CASES) conformance({ name, create: make(options), sector: 512, ...more });

// What an overlay holds is gone when it is closed, so it is never opened again.
for (const [name, options] of [
  ['overlay in memory over VHDX', { wanted: { format: 'vhdx' }, discard: 'memory' }],
  ['overlay in a file over raw', { wanted: { format: 'raw' }, discard: 'file', onDisk: true }],
] as const) {
  conformance({
    name,
    sector: 512,
    runs: 15,
    create: async (size) => {
      const under = await make(options)(size);
      return { ...under, resizable: true, keepsNothing: true };
    },
  });
}
