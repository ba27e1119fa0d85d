// File systems and partition tables that mean harm: fields of superblocks, descriptors, inodes, extents, folders and journals
// changed, checksums made right again or left. Whatever a disk says, looking for a kernel ends soon, with one or with a line
// for the user. `npm run fuzz -- --target ext4`.

import { isViridianError } from '../../src/contracts/errors.ts';
import type { MemoryContent } from '../../src/host/memory-files.ts';
import { findBootFiles } from '../../src/storage/boot-files.ts';
import { Ext4 } from '../../src/storage/ext4/file-system.ts';
import { Bench, deviceOf, pattern, withoutTools } from '../../src/storage/ext4/image.fixture.ts';
import { GPT_TAIL, writeGpt } from '../../src/storage/partitions/gpt.ts';
import { readPartitions } from '../../src/storage/partitions/partitions.ts';
import { PartitionType } from '../../src/storage/partitions/protocol.ts';
import { crc32 } from '../../src/support/codec/crc32.ts';
import { crc32c } from '../../src/support/codec/crc32c.ts';
import { Random } from '../oracle/generate.ts';
import type { FuzzTarget } from './target.ts';

const KIB = 1024;
const MIB = 2 ** 20;
/** What a case may take beyond what an honest file system of this size needs. */
const LARGEST = 64 * MIB;

interface Image {
  readonly content: MemoryContent;
  /** Where the file system begins. */
  readonly start: number;
  readonly places: readonly (readonly [offset: number, length: number])[];
  /** Inodes, whose checksums can be made right: where each is, its number. */
  readonly inodes: readonly (readonly [offset: number, number: number])[];
  readonly inodeSize: number;
  readonly checksums: boolean;
}

function makeTree(): Bench {
  const bench = new Bench();
  bench.file('boot/vmlinuz-6.1', pattern(40_000));
  bench.file('boot/vmlinuz-6.2', pattern(30_000));
  bench.file('boot/initrd.img-6.1', pattern(70_000));
  bench.link('vmlinuz', 'boot/vmlinuz-6.1');
  bench.link('initrd.img', '/boot/initrd.img-6.1');
  bench.file('etc/os-release', 'ID=debian\n');
  for (let i = 0; i < 60; i++) bench.file(`etc/more-names-to-look-through-${i}`, `${i}`);
  return bench;
}

function makeImage(args: readonly string[], unclean: boolean, wrapped: boolean): Image {
  using bench = makeTree();
  bench.make('3M', ...args);
  if (unclean) {
    // A whole transaction that rewrites the first blocks as they are.
    const block = args.includes('1024') ? KIB : 4096;
    bench.file('../same', bench.bytes().subarray(0, 8 * block));
    bench.debugfs('jo', `jw -b 0,1,2,3,4,5,6,7 ${bench.folder}/same`, 'jw -r 900,901', 'jc');
  }
  const facts = bench.debugfs(
    'stats',
    'imap <2>',
    'imap <8>',
    'imap <12>',
    'imap /boot/vmlinuz-6.1',
    'bmap <2> 0',
    'bmap /boot 0',
  );
  const blockSize = Number(/Block size:\s+(\d+)/.exec(facts)![1]);
  const inodeSize = Number(/Inode size:\s+(\d+)/.exec(facts)![1]);
  const blocks = [...facts.matchAll(/^(?:debugfs: )?(\d+)$/gm)].map((match) => Number(match[1]) * blockSize);
  const inodes = [
    ...facts.matchAll(/Inode (\d+) is part[^\n]*\n[^\n]*located at block (\d+), offset 0x([0-9a-f]+)/g),
  ].map(
    ([, number, block, offset]) => [Number(block) * blockSize + Number.parseInt(offset!, 16), Number(number)] as const,
  );
  if (inodes.length !== 4 || blocks.length !== 2) throw new Error(`debugfs says something else: ${facts}`);
  const start = wrapped ? MIB : 0;
  const content = bench.content();
  const journal = /Journal inode:\s+8/.test(facts) ? journalPlaces(bench, blockSize) : [];
  const places: (readonly [number, number])[] = [
    [1024, 360],
    [1024, 104],
    [Math.max(2048, blockSize), 64],
    ...inodes.map(([at]) => [at, inodeSize] as const),
    ...inodes.map(([at]) => [at + 40, 60] as const),
    ...blocks.map((at) => [at, 300] as const),
    ...journal,
  ];
  return {
    content: wrapped ? inPartition(content) : content,
    start,
    places: [
      ...places.map(([at, length]) => [at + start, length] as const),
      ...(wrapped
        ? ([
            [440, 72],
            [512, 92],
            [1024, 256],
          ] as const)
        : []),
    ],
    inodes: inodes.map(([at, number]) => [at + start, number] as const),
    inodeSize,
    checksums: /metadata_csum/.test(facts),
  };
}

function journalPlaces(bench: Bench, blockSize: number): (readonly [number, number])[] {
  const blocks = bench.debugfs('bmap <8> 0', 'bmap <8> 1', 'bmap <8> 10');
  return [...blocks.matchAll(/^(?:debugfs: )?(\d+)$/gm)].map((match) => [Number(match[1]) * blockSize, 120] as const);
}

function inPartition(inner: MemoryContent): MemoryContent {
  const outer = inner.clone();
  const bytes = new Uint8Array(inner.size);
  inner.read(0, bytes);
  outer.resize(0);
  outer.resize(inner.size + MIB + GPT_TAIL);
  outer.write(MIB, bytes);
  return outer;
}

let images: Promise<readonly Image[]> | undefined;

async function makeImages(): Promise<readonly Image[]> {
  const made = [
    makeImage(['-t', 'ext4', '-b', '1024'], false, false),
    makeImage(['-t', 'ext4', '-b', '1024', '-O', '^metadata_csum'], false, false),
    makeImage(['-t', 'ext4', '-b', '1024'], true, false),
    makeImage(['-t', 'ext4', '-b', '4096', '-O', 'inline_data', '-I', '512'], false, false),
    makeImage(['-t', 'ext2', '-b', '1024', '-I', '128'], false, false),
    makeImage(['-t', 'ext4', '-b', '1024', '-O', 'meta_bg,^resize_inode'], false, true),
    makeImage(['-t', 'ext4', '-b', '1024', '-O', '^metadata_csum'], true, true),
  ];
  for (const { content, start } of made)
    if (start > 0) {
      const device = deviceOf(content);
      const { type, id } = { type: PartitionType.linuxRootX64, id: '6c7b5d0e-0f00-4a00-8a00-000000000001' };
      await writeGpt(device, id, [{ offset: start, size: device.size - start - GPT_TAIL, type, id, name: 'root' }]);
    }
  return made;
}

const NUMBERS = [
  0, 1, 2, 3, 8, 12, 0x7f, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_ffff,
] as const;

function mutate(random: Random, image: Image): MemoryContent {
  const content = image.content.clone();
  const word = new Uint8Array(4);
  const view = new DataView(word.buffer);
  for (let n = 1 + random.below(5); n > 0; n--) {
    const [offset, length] = random.oneIn(12) ? [0, content.size] : random.pick(image.places);
    const width = random.pick([1, 2, 4] as const);
    const at = offset + Math.floor(random.below(length) / width) * width;
    if (at + width > content.size) continue;
    content.read(at, word);
    if (random.oneIn(3)) word[random.below(width)]! ^= 1 << random.below(8);
    else if (random.oneIn(2)) view.setUint32(0, random.pick(NUMBERS), true);
    else view.setUint32(0, random.oneIn(2) ? random.below(4096) : random.u32(), true);
    content.write(at, word.subarray(0, width));
  }
  if (random.oneIn(20)) content.resize(512 * (1 + random.below(content.size / 512)));
  if (!random.oneIn(5)) mendChecksums(content, image);
  return content;
}

/** So that what is behind a checksum is looked at too. */
function mendChecksums(content: MemoryContent, { start, inodes, inodeSize, checksums }: Image): void {
  const raw = (seed: number, bytes: Uint8Array): number => ~crc32c(bytes, ~seed) >>> 0;
  const take = (at: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    content.read(at, bytes);
    return bytes;
  };
  const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
  if (start > 0) {
    const header = take(512, 92);
    const view = new DataView(header.buffer);
    const count = view.getUint32(80, true) * view.getUint32(84, true);
    if (count <= 65536) view.setUint32(88, crc32(take(1024, count)), true);
    view.setUint32(16, 0, true);
    view.setUint32(16, crc32(header), true);
    content.write(512, header);
  }
  if (!checksums) return;
  content.write(start + 2044, word(raw(0xffff_ffff, take(start + 1024, 1020))));
  const seed = raw(0xffff_ffff, take(start + 1024 + 104, 16));
  for (const [at, number] of inodes) {
    const inode = take(at, inodeSize);
    const view = new DataView(inode.buffer);
    const wide = inodeSize > 128 && view.getUint16(128, true) >= 4;
    const generation = view.getUint32(100, true);
    view.setUint16(124, 0, true);
    if (wide) view.setUint16(130, 0, true);
    const sum = raw(raw(raw(seed, word(number)), word(generation)), inode);
    view.setUint16(124, sum & 0xffff, true);
    if (wide) view.setUint16(130, sum >>> 16, true);
    content.write(at, inode);
  }
}

/** Runs what may be refused. @returns whether it was not. */
async function allowed(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!isViridianError(error)) throw error;
    if (error.message.includes('\n') || error.message.length > 1000)
      throw new Error(`no line for a user: ${error.message}`);
    return false;
  }
}

async function run(seed: number): Promise<string> {
  const random = new Random(seed);
  const image = random.pick(await (images ??= makeImages()));
  const content = mutate(random, image);
  const device = deviceOf(content, random.oneIn(4) && content.size % 4096 === 0 ? 4096 : 512);
  const partitions = await readPartitions(device);
  for (const { offset, size } of partitions)
    if (offset <= 0 || size <= 0 || offset + size > device.size) throw new Error('a partition outside of the disk');
  const found = await allowed(async () => {
    const { kernel, initrd } = await findBootFiles(device, 'disk');
    if (kernel.bytes.length + (initrd?.bytes.length ?? 0) > LARGEST) throw new Error('more than the disk has');
  });
  if (random.oneIn(4))
    await allowed(async () => {
      const size = device.size - image.start;
      const system = await Ext4.open({ device, offset: image.start, size, name: 'disk' });
      for (const path of ['/', '/boot', '/etc', '/vmlinuz', '/etc/os-release', '/boot/../initrd.img']) {
        await allowed(async () => await system?.status(path));
        await allowed(async () => await system?.list(path));
        await allowed(async () => await system?.readFile(path, 4 * MIB));
      }
    });
  return found ? 'taken' : 'refused';
}

export const target: FuzzTarget = {
  about: withoutTools === undefined ? 'ext4 and partition tables' : `ext4: not here, ${withoutTools}`,
  covers: ['src/storage/ext4/', 'src/storage/partitions/', 'src/storage/boot-files.ts'],
  run,
};
