// Disk files that mean harm: fields of headers, tables and logs changed, checksums made right again. Whatever a file
// says, it is refused with an error that is meant for its user, or is a disk; nothing else is thrown, and memory and
// time are bounded. `npm run fuzz -- --target vhdx`.

import { isViridianError } from '../../src/contracts/errors.ts';
import { MemoryContent, MemoryFiles } from '../../src/host/memory-files.ts';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { checkDisk } from '../../src/storage/check.ts';
import { allocatedRanges } from '../../src/storage/copy.ts';
import { createDisk } from '../../src/storage/create.ts';
import type { Disk } from '../../src/storage/disk.ts';
import { diskInfo } from '../../src/storage/info.ts';
import { openDisk } from '../../src/storage/open.ts';
import { qcow2File } from '../../src/storage/qcow2/image.fixture.ts';
import { checksum as vhdChecksum } from '../../src/storage/vhd/footer.ts';
import { DynamicHeader, Footer } from '../../src/storage/vhd/protocol.ts';
import { VhdxDisk } from '../../src/storage/vhdx/disk.ts';
import { putChecksum } from '../../src/storage/vhdx/header.ts';
import {
  HEADER_OFFSETS,
  HEADER_SIZE,
  REGION_TABLE_OFFSETS,
  REGION_TABLE_SIZE,
} from '../../src/storage/vhdx/protocol.ts';
import { Random } from '../oracle/generate.ts';
import type { FuzzTarget } from './target.ts';

const MIB = 2 ** 20;
const SIZE = 5 * MIB;
/** What a case may take: far more than an honest file of this size needs. */
const LIMIT = 64 * MIB;

type Fuzzed = 'vhdx' | 'vhd' | 'qcow2';

interface Image {
  readonly content: MemoryContent;
  /** Where something stands that is worth changing. */
  readonly places: readonly (readonly [offset: number, length: number])[];
}

/** Files of one format: what is changed is a copy. The parent is /base. */
interface Gallery {
  readonly base: MemoryContent | undefined;
  readonly images: readonly Image[];
}

const galleries = new Map<Fuzzed, Promise<Gallery>>();

function contentOf(bytes: Uint8Array): MemoryContent {
  const content = new MemoryContent();
  content.write(0, bytes);
  return content;
}

async function fill(disk: Disk): Promise<void> {
  for (const [at, length] of [
    [0, 4096],
    [MIB - 4096, 8192],
    [3 * MIB, MIB],
  ] as const)
    await disk.write(at, new Uint8Array(length).fill(at / 4096 + 1));
}

async function makeVhdx(): Promise<Gallery> {
  const files = new MemoryFiles();
  const host = { files, codecs: nodeCodecs };
  const places = [
    [0, 32],
    [HEADER_OFFSETS[0], 80],
    [HEADER_OFFSETS[1], 80],
    [REGION_TABLE_OFFSETS[0], 80],
    [REGION_TABLE_OFFSETS[1], 80],
    [MIB, 3 * 4096],
    [MIB, 160],
    [2 * MIB, 256],
    [2 * MIB + 65536, 256],
    [3 * MIB, 64],
    [3 * MIB, 64],
    [3 * MIB + 4096 * 8 - 8, 16],
  ] as const;
  const images: Image[] = [];
  const add = async (name: string, options: object): Promise<void> => {
    await createDisk(host, `/${name}`, { format: 'vhdx', size: SIZE, blockSize: MIB, ...options });
    const disk = await openDisk(host, `/${name}`, { format: 'vhdx', write: true });
    await fill(disk);
    await disk.flush();
    await disk.discard(3 * MIB, MIB);
    await disk.flush();
    // Once with its log in use, once closed.
    images.push({ content: files.contents.get(`/${name}`)!.clone(), places });
    await disk.close();
    images.push({ content: files.contents.get(`/${name}`)!.clone(), places });
  };
  await add('base', {});
  await add('fixed', { type: 'fixed' });
  await add('large', { logicalSectorSize: 4096 });
  await add('child', { parent: '/base' });
  return { base: files.contents.get('/base'), images };
}

async function makeVhd(): Promise<Gallery> {
  const files = new MemoryFiles();
  const host = { files, codecs: nodeCodecs };
  const images: Image[] = [];
  const add = async (name: string, options: object): Promise<void> => {
    await createDisk(host, `/${name}`, { format: 'vhd', size: SIZE, ...options });
    const disk = await openDisk(host, `/${name}`, { format: 'vhd', write: true });
    await fill(disk);
    await disk.close();
    const content = files.contents.get(`/${name}`)!.clone();
    const end = [content.size - 512, 90] as const;
    images.push({
      content,
      places: [[0, 90], [512, 80], [512 + 576, 64], [1536, 64], [1536, 64], [2048, 64], end, end],
    });
  };
  await add('base', { blockSize: MIB });
  await add('fixed', { type: 'fixed' });
  await add('child', { parent: '/base', blockSize: MIB });
  return { base: files.contents.get('/base'), images };
}

async function makeQcow2(): Promise<Gallery> {
  const cluster = 65536;
  const bytes = new Uint8Array(cluster).fill(7);
  const clusters = new Map([
    [0, { kind: 'data', bytes }],
    [3, { kind: 'zero', bytes }],
    [5, { kind: 'compressed', bytes }],
    [6, { kind: 'compressed', bytes: bytes.map((_, i) => i * i) }],
  ] as const);
  const small = new Map([...clusters].map(([at, each]) => [at, { ...each, bytes: each.bytes.slice(0, 512) }]));
  const backing = { path: 'base', format: 'raw' };
  const files: Uint8Array[] = [
    qcow2File({ size: SIZE, clusters }),
    qcow2File({ size: SIZE, clusters, version: 2 }),
    qcow2File({ size: SIZE, clusters, backing }),
    qcow2File({ size: 64 * 512, clusters: small, clusterBits: 9, version: 2 }),
  ];
  return {
    base: contentOf(new Uint8Array(MIB).fill(9)),
    images: files.map((file, i) => {
      const size = i === 3 ? 512 : cluster;
      return {
        content: contentOf(file),
        places: [
          [0, 112],
          [0, 160],
          [size, 64],
          [2 * size, 64],
          [2 * size, 64],
          [3 * size, 4096],
        ],
      };
    }),
  };
}

function gallery(format: Fuzzed): Promise<Gallery> {
  let made = galleries.get(format);
  if (made === undefined) {
    made = format === 'vhdx' ? makeVhdx() : format === 'vhd' ? makeVhd() : makeQcow2();
    galleries.set(format, made);
  }
  return made;
}

const NUMBERS = [0, 1, 2, 6, 7, 0x7f, 0xff, 0x100, 0x1000, 0x10_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as const;

function mutate(random: Random, image: Image, format: Fuzzed): MemoryContent {
  const content = image.content.clone();
  const word = new Uint8Array(8);
  const view = new DataView(word.buffer);
  const changed: number[] = [];
  for (let n = 1 + random.below(5); n > 0; n--) {
    const [offset, length] = random.oneIn(12) ? [0, content.size] : random.pick(image.places);
    const width = random.pick([1, 2, 4, 4, 8] as const);
    const at = offset + Math.floor(random.below(length) / width) * width;
    if (at + width > content.size) continue;
    content.read(at, word);
    const little = format === 'vhdx';
    if (random.oneIn(3)) word[random.below(width)]! ^= 1 << random.below(8);
    else if (width === 8)
      view.setBigUint64(
        0,
        BigInt(random.oneIn(2) ? random.pick(NUMBERS) : random.u32()) << BigInt(random.below(33)),
        little,
      );
    else if (width === 4) view.setUint32(0, random.oneIn(2) ? random.pick(NUMBERS) : random.u32(), little);
    else word[0] = random.below(256);
    content.write(at, word.subarray(0, width));
    changed.push(at);
  }
  const whole = content.size;
  if (random.oneIn(10)) content.resize(random.below(content.size));
  if (content.size < whole) changed.push(content.size);
  if (!random.oneIn(5)) mendChecksums(content, format, changed);
  content.limit = LIMIT;
  return content;
}

/** So that what is behind a checksum is looked at too. Only what is `changed` has one to be made right. */
function mendChecksums(content: MemoryContent, format: Fuzzed, changed: readonly number[]): void {
  const mend = (offset: number, length: number, put: (bytes: Uint8Array) => void): void => {
    if (offset < 0 || length <= 0 || offset + length > content.size) return;
    if (!changed.some((at) => at >= offset && at < offset + length)) return;
    const bytes = new Uint8Array(length);
    content.read(offset, bytes);
    put(bytes);
    content.write(offset, bytes);
  };
  if (format === 'vhdx') {
    for (const at of HEADER_OFFSETS) mend(at, HEADER_SIZE, putChecksum);
    for (const at of REGION_TABLE_OFFSETS) mend(at, REGION_TABLE_SIZE, putChecksum);
    const inLog = changed.some((at) => at >= MIB && at < 2 * MIB);
    for (let at = MIB; inLog && at < MIB + 64 * 4096; at += 4096) {
      const head = new Uint8Array(16);
      content.read(at, head);
      const length = new DataView(head.buffer).getUint32(8, true);
      if (head[0] === 0x6c && length % 4096 === 0 && length <= MIB) mend(at, length, putChecksum);
    }
  } else if (format === 'vhd') {
    const put = (at: number) => (bytes: Uint8Array) => new DataView(bytes.buffer).setUint32(at, vhdChecksum(bytes, at));
    mend(0, 512, put(Footer.offset('checksum')));
    mend(content.size - 512, 512, put(Footer.offset('checksum')));
    mend(512, 1024, put(DynamicHeader.offset('checksum')));
  }
}

/** Runs what may be refused. @returns whether it was. */
async function allowed(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!isViridianError(error)) throw error;
    if (error.message.includes('\n') || error.message.length > 400)
      throw new Error(`no line for a user: ${error.message}`);
    return false;
  }
}

async function use(random: Random, disk: Disk): Promise<void> {
  const sector = disk.logicalSectorSize;
  const sectors = disk.size / sector;
  const buffer = new Uint8Array(64 * sector);
  for (let n = 0; n < 8; n++) {
    const at = Math.floor((random.u32() / 2 ** 32) * (random.oneIn(2) ? Math.min(sectors, SIZE / sector) : sectors));
    const count = Math.min(1 + random.below(64), sectors - at);
    const part = buffer.subarray(0, count * sector);
    const what = disk.writable ? random.below(12) : 0;
    if (what < 4) await allowed(() => disk.read(at * sector, part));
    else if (what < 6) await allowed(() => disk.discard(at * sector, part.length));
    else if (what < 7) await allowed(() => disk.flush());
    else await allowed(() => disk.write(at * sector, part));
  }
  if (random.oneIn(3)) {
    let ranges = 0;
    await allowed(async () => {
      for await (const range of allocatedRanges(disk, 0, Math.min(disk.size, 256 * MIB)))
        if (range.length > 0 && ++ranges > 1000) break;
    });
  }
  if (disk.writable && random.oneIn(4)) await allowed(() => disk.resize(Math.max(1, random.below(16384)) * sector));
  if (disk instanceof VhdxDisk && disk.writable && disk.size <= 256 * MIB && random.oneIn(6))
    await allowed(() => disk.compact());
  disk.inspect();
}

export function diskTarget(format: Fuzzed): FuzzTarget {
  return {
    about: `disk files: ${format}`,
    covers: [`src/storage/${format}/`],
    run: async (seed) => {
      const random = new Random(seed);
      const { base, images } = await gallery(format);
      const files = new MemoryFiles();
      const host = { files, codecs: nodeCodecs };
      if (base !== undefined) files.contents.set('/base', base.clone());
      files.contents.set('/disk', mutate(random, random.pick(images), format));
      await allowed(() => diskInfo(host, '/disk', format));
      if (random.oneIn(2)) await allowed(() => checkDisk(host, '/disk', format, { repair: random.oneIn(4) }));
      let opened = false;
      for (const write of format === 'qcow2' ? [false] : [false, true]) {
        if (!write && format !== 'qcow2' && random.oneIn(2)) continue;
        await allowed(async () => {
          const disk = await openDisk(host, '/disk', { format, write, ignoreLinkage: random.oneIn(2) });
          opened = true;
          try {
            await use(random, disk);
          } finally {
            await disk.close();
          }
        });
      }
      return opened ? 'taken' : 'refused';
    },
  };
}
