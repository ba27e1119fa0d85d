/**
 * Reads files out of ext2, ext3 and ext4: superblock, block groups, inodes, folders, symbolic links. Nothing is written.
 * Linux's Documentation/filesystems/ext4/. What the disk says is not believed: every block number is held against the size, every
 * walk has an end, and what is wrong is a DiskError with one line.
 *
 * Folders are read from end to end, those with a hash tree too: its index blocks look like empty entries, which is what they
 * were made to do.
 */
import { crc32c } from '../../support/codec/crc32c.ts';
import { guidTextInOrder } from '../../support/guid.ts';
import { printable } from '../../support/text.ts';
import { DiskError } from '../disk.ts';
import { readJournal } from './journal.ts';
import { runsOf } from './map.ts';
import {
  ATTRIBUTE_DATA,
  ATTRIBUTE_MAGIC,
  ATTRIBUTE_SYSTEM,
  AttributeEntry,
  Compatible,
  DESCRIPTOR_INODE_TABLE_HIGH,
  DESCRIPTOR_INODE_TABLE_LOW,
  DESCRIPTOR_SIZE,
  DirectoryEntry,
  INODE_CHECKSUM_HIGH,
  INODE_CHECKSUM_LOW,
  INODE_EXTRA_SIZE,
  Incompatible,
  Inode,
  InodeFlag,
  MAGIC,
  ModeType,
  READABLE,
  ReadOnlyCompatible,
  ROOT_INODE,
  SUPERBLOCK_CHECKSUM_OFFSET,
  SUPERBLOCK_OFFSET,
  SUPERBLOCK_SIZE,
  Superblock,
} from './protocol.ts';
import { Volume, type VolumeRange } from './volume.ts';

const MIB = 2 ** 20;
/** More is no folder for people. */
const LARGEST_FOLDER = 64 * MIB;
const LONGEST_LINK = 4096;
/** As the kernel has it. */
const MOST_LINKS = 40;
const SHORTEST_EXTRA_WITH_CHECKSUM = 4;

export type FileKind = 'file' | 'directory' | 'symlink' | 'other';

export interface FileStatus {
  /** Without symbolic links. */
  readonly path: string;
  readonly kind: FileKind;
  /** Bytes. */
  readonly size: number;
  /** Seconds since 1970. */
  readonly modified: number;
}

interface Node {
  readonly number: number;
  readonly inode: Inode;
  /** The whole inode, extra fields and attributes too. */
  readonly bytes: Uint8Array;
  readonly kind: FileKind;
  readonly size: number;
}

interface Found {
  readonly path: string;
  readonly node: Node;
}

export class Ext4 {
  readonly uuid: string;
  readonly label: string;
  /** It was not unmounted: what its journal holds was taken into account. */
  readonly unclean: boolean;
  readonly #volume: Volume;
  readonly #superblock: Superblock;
  readonly #descriptorSize: number;
  readonly #checksumSeed: number | undefined;

  private constructor(volume: Volume, superblock: Superblock) {
    this.#volume = volume;
    this.#superblock = superblock;
    const { featureIncompat, featureRoCompat, uuid, volumeName } = superblock;
    this.uuid = guidTextInOrder(uuid);
    this.label = printable(textOf(volumeName));
    this.unclean = (featureIncompat & Incompatible.recover) !== 0;
    this.#descriptorSize =
      (featureIncompat & Incompatible.bits64) === 0 ? DESCRIPTOR_SIZE : Math.max(64, superblock.descriptorSize);
    this.#checksumSeed =
      (featureRoCompat & ReadOnlyCompatible.metadataChecksum) === 0
        ? undefined
        : (featureIncompat & Incompatible.checksumSeed) === 0
          ? checksum(0xffff_ffff, uuid)
          : superblock.checksumSeed;
  }

  /** Undefined when it is none. @throws DiskError when it is one that cannot be read. */
  static async open(range: VolumeRange): Promise<Ext4 | undefined> {
    const volume = new Volume(range);
    if (volume.size < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE) return undefined;
    const bytes = await volume.bytes(SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE);
    const superblock = Superblock.read(bytes);
    if (superblock.magic !== MAGIC) return undefined;
    checkSuperblock(volume, superblock, bytes);
    const { logBlockSize, blocksCountHigh, blocksCountLow, featureIncompat, journalInode } = superblock;
    volume.blockSize = 1024 << logBlockSize;
    const high = (featureIncompat & Incompatible.bits64) === 0 ? 0 : blocksCountHigh;
    volume.blocks = high * 2 ** 32 + blocksCountLow;
    if (volume.blocks * volume.blockSize > volume.size)
      throw volume.corrupt(
        `it says that it has ${volume.blocks} blocks of ${volume.blockSize} bytes, more than its place on the disk`,
      );
    const system = new Ext4(volume, superblock);
    if (system.unclean && journalInode !== 0) {
      const journal = await system.#inode(journalInode);
      volume.overlay(await readJournal(volume, journal.inode, journal.size));
    }
    return system;
  }

  /** Undefined when there is none, or a symbolic link leads nowhere. @throws DiskError */
  async status(path: string): Promise<FileStatus | undefined> {
    const found = await this.#find(path);
    if (found === undefined) return undefined;
    const { kind, size, inode } = found.node;
    return { path: found.path, kind, size, modified: inode.modificationTime };
  }

  /** @param most Bytes that the caller can do with; a larger file is refused. @throws DiskError */
  async readFile(path: string, most: number): Promise<Uint8Array<ArrayBuffer>> {
    const found = await this.#find(path);
    if (found?.node.kind !== 'file')
      throw new DiskError('io', `${this.#volume.name}: ${printable(path)}: ${found ? 'not a file' : 'no such file'}`, {
        code: 'notFound',
      });
    return await this.#content(found.node, most, printable(path));
  }

  /** The names in a folder, without `.` and `..`; empty when there is no such folder. @throws DiskError */
  async list(path: string): Promise<string[]> {
    const found = await this.#find(path);
    if (found?.node.kind !== 'directory') return [];
    const names: string[] = [];
    for (const { name } of await this.#entries(found.node)) if (name !== '.' && name !== '..') names.push(name);
    return names;
  }

  /** Walks a path from the root; symbolic links are followed, the last one too. */
  async #find(path: string): Promise<Found | undefined> {
    this.#volume.begin();
    let rest = partsOf(path);
    const trail: { readonly name: string; readonly node: Node }[] = [];
    let here = await this.#inode(ROOT_INODE);
    for (let links = 0; rest.length > 0; ) {
      const [name, ...after] = rest as [string, ...string[]];
      rest = after;
      if (name === '..') {
        trail.pop();
        here = trail.at(-1)?.node ?? (await this.#inode(ROOT_INODE));
        continue;
      }
      if (here.kind !== 'directory') return undefined;
      const entry = (await this.#entries(here)).find((each) => each.name === name);
      if (entry === undefined) return undefined;
      const node = await this.#inode(entry.inode);
      if (node.kind !== 'symlink') {
        trail.push({ name, node });
        here = node;
        continue;
      }
      if (++links > MOST_LINKS) return undefined;
      const target = textOf(await this.#content(node, LONGEST_LINK, 'a symbolic link'));
      rest = [...partsOf(target), ...rest];
      if (target.startsWith('/')) {
        trail.length = 0;
        here = await this.#inode(ROOT_INODE);
      }
    }
    return { path: `/${trail.map(({ name }) => name).join('/')}`, node: here };
  }

  async #inode(number: number): Promise<Node> {
    const { inodesCount, inodesPerGroup, inodeSize, revision } = this.#superblock;
    const volume = this.#volume;
    if (number < 1 || number > inodesCount) throw volume.corrupt(`there is no inode ${number}`);
    const group = Math.floor((number - 1) / inodesPerGroup);
    const size = revision === 0 ? 128 : inodeSize;
    const at = ((number - 1) % inodesPerGroup) * size;
    const table = await this.#inodeTable(group);
    const block = await volume.block(table + Math.floor(at / volume.blockSize));
    const bytes = block.subarray(at % volume.blockSize, (at % volume.blockSize) + size);
    const inode = Inode.read(bytes);
    if (inode.linksCount === 0 && inode.mode === 0) throw volume.corrupt(`inode ${number} is in use and not there`);
    this.#checkInode(number, inode, bytes);
    const kind = kindOf(inode.mode);
    const high = kind === 'file' || kind === 'directory' ? inode.sizeHigh : 0;
    const length = high * 2 ** 32 + inode.sizeLow;
    if (!Number.isSafeInteger(length)) throw volume.corrupt(`inode ${number} has an impossible size`);
    return { number, inode, bytes, kind, size: length };
  }

  /** The first block of a group's inodes. */
  async #inodeTable(group: number): Promise<number> {
    const volume = this.#volume;
    const { firstDataBlock, firstMetaGroup, featureIncompat, blocksPerGroup } = this.#superblock;
    const perBlock = Math.floor(volume.blockSize / this.#descriptorSize);
    const index = Math.floor(group / perBlock);
    // Behind the superblock, which with small blocks has one of its own.
    let where = Math.floor(SUPERBLOCK_OFFSET / volume.blockSize) + 1 + index;
    if ((featureIncompat & Incompatible.metaGroups) !== 0 && index >= firstMetaGroup) {
      const first = index * perBlock;
      where = firstDataBlock + first * blocksPerGroup + (this.#hasSuperblock(first) ? 1 : 0);
      if (index === 0 && firstDataBlock === 0 && volume.blockSize === SUPERBLOCK_OFFSET) where++;
    }
    const block = await volume.block(where);
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
    const at = (group % perBlock) * this.#descriptorSize;
    const high = this.#descriptorSize > DESCRIPTOR_SIZE ? view.getUint32(at + DESCRIPTOR_INODE_TABLE_HIGH, true) : 0;
    return high * 2 ** 32 + view.getUint32(at + DESCRIPTOR_INODE_TABLE_LOW, true);
  }

  /** Whether a group begins with a copy of the superblock. */
  #hasSuperblock(group: number): boolean {
    const { featureCompat, featureRoCompat, backupGroups } = this.#superblock;
    if (group === 0) return true;
    if ((featureCompat & Compatible.sparseSuper2) !== 0) {
      const view = new DataView(backupGroups.buffer, backupGroups.byteOffset);
      return group === view.getUint32(0, true) || group === view.getUint32(4, true);
    }
    if (group === 1 || (featureRoCompat & ReadOnlyCompatible.sparseSuper) === 0) return true;
    return [3, 5, 7].some((base) => {
      let power = base;
      while (power < group) power *= base;
      return power === group;
    });
  }

  #checkInode(number: number, inode: Inode, bytes: Uint8Array): void {
    if (this.#checksumSeed === undefined) return;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const extra = bytes.length > INODE_EXTRA_SIZE ? view.getUint16(INODE_EXTRA_SIZE, true) : 0;
    const wide = extra >= SHORTEST_EXTRA_WITH_CHECKSUM;
    const copy = bytes.slice();
    copy.fill(0, INODE_CHECKSUM_LOW, INODE_CHECKSUM_LOW + 2);
    if (wide) copy.fill(0, INODE_CHECKSUM_HIGH, INODE_CHECKSUM_HIGH + 2);
    const identity = new Uint8Array(8);
    new DataView(identity.buffer).setUint32(0, number, true);
    new DataView(identity.buffer).setUint32(4, inode.generation, true);
    const found = checksum(checksum(this.#checksumSeed, identity), copy);
    const stated = inode.checksumLow | (wide ? view.getUint16(INODE_CHECKSUM_HIGH, true) << 16 : 0);
    if ((wide ? found | 0 : found & 0xffff) !== stated)
      throw this.#volume.corrupt(`the checksum of inode ${number} is wrong`);
  }

  async #content(node: Node, most: number, name: string): Promise<Uint8Array<ArrayBuffer>> {
    const { inode, size } = node;
    const volume = this.#volume;
    if ((inode.flags & InodeFlag.encrypted) !== 0) throw volume.unsupported(`${name} is encrypted`);
    if ((inode.flags & InodeFlag.compressed) !== 0) throw volume.unsupported(`${name} is compressed`);
    if (size > most) throw volume.unsupported(`${name} has ${size} bytes, more than the ${most} it may have`);
    if (size > volume.size) throw volume.corrupt(`${name} is larger than the file system`);
    const inline = this.#inline(node);
    if (inline !== undefined) {
      const bytes = new Uint8Array(size);
      bytes.set(inline.subarray(0, size));
      return bytes;
    }
    const bytes = new Uint8Array(size);
    for await (const run of runsOf(volume, inode, Math.ceil(size / volume.blockSize))) {
      const start = run.logical * volume.blockSize;
      const end = Math.min(size, start + run.count * volume.blockSize);
      for (let at = start; at < end; ) {
        const count = Math.min(MIB, end - at);
        await volume.run(run.physical + (at - start) / volume.blockSize, bytes.subarray(at, at + count));
        at += count;
      }
    }
    return bytes;
  }

  /** What lies in the inode itself: short links, and, with that feature, short files and folders. */
  #inline({ inode, kind, size, bytes }: Node): Uint8Array | undefined {
    if ((inode.flags & InodeFlag.inlineData) === 0)
      return kind === 'symlink' && size < inode.block.length && (inode.flags & InodeFlag.extents) === 0
        ? inode.block
        : undefined;
    const rest = this.#attribute(bytes);
    const whole = new Uint8Array(inode.block.length + rest.length);
    whole.set(inode.block);
    whole.set(rest, inode.block.length);
    return whole;
  }

  /** The value of the attribute `system.data` in an inode; empty when it has none. */
  #attribute(bytes: Uint8Array): Uint8Array {
    const none = new Uint8Array(0);
    if (bytes.length < INODE_EXTRA_SIZE + 4) return none;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const first = INODE_EXTRA_SIZE + view.getUint16(INODE_EXTRA_SIZE, true) + 4;
    if (first > bytes.length || view.getUint32(first - 4, true) !== ATTRIBUTE_MAGIC) return none;
    for (let at = first; at + AttributeEntry.size <= bytes.length; ) {
      const { nameLength, nameIndex, valueOffset, valueSize } = AttributeEntry.read(bytes, at);
      if (nameLength === 0 && nameIndex === 0) break;
      const name = textOf(bytes.subarray(at + AttributeEntry.size, at + AttributeEntry.size + nameLength));
      if (nameIndex === ATTRIBUTE_SYSTEM && name === ATTRIBUTE_DATA)
        return bytes.subarray(first + valueOffset, first + valueOffset + valueSize);
      at += Math.ceil((AttributeEntry.size + nameLength) / 4) * 4;
    }
    return none;
  }

  async #entries(node: Node): Promise<{ readonly name: string; readonly inode: number }[]> {
    const volume = this.#volume;
    const bytes = await this.#content(node, LARGEST_FOLDER, 'a folder');
    // An inline folder begins with its parent's inode, in place of the entries `.` and `..`.
    const inline = (node.inode.flags & InodeFlag.inlineData) !== 0;
    const pieces = inline
      ? [bytes.subarray(4, 60), bytes.subarray(60)]
      : Array.from({ length: Math.ceil(bytes.length / volume.blockSize) }, (_, i) =>
          bytes.subarray(i * volume.blockSize, (i + 1) * volume.blockSize),
        );
    const found: { name: string; inode: number }[] = [];
    for (const piece of pieces) {
      volume.look();
      for (let at = 0; at + DirectoryEntry.size <= piece.length; ) {
        const { inode, length, nameLength } = DirectoryEntry.read(piece, at);
        // With blocks of 64 KiB the length of a whole one does not fit.
        const step = length === 0xffff || (length === 0 && piece.length === 65536) ? piece.length : length;
        if (step < DirectoryEntry.size || step % 4 !== 0 || at + step > piece.length)
          throw volume.corrupt('a folder makes no sense');
        if (inode !== 0 && nameLength > 0) {
          if (DirectoryEntry.size + nameLength > step) throw volume.corrupt('a folder makes no sense');
          const name = piece.subarray(at + DirectoryEntry.size, at + DirectoryEntry.size + nameLength);
          found.push({ name: decoder.decode(name), inode });
        }
        at += step;
      }
    }
    return found;
  }
}

const decoder = new TextDecoder();

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function partsOf(path: string): string[] {
  return path.split('/').filter((part) => part !== '' && part !== '.');
}

function kindOf(mode: number): FileKind {
  const type = mode & ModeType.mask;
  if (type === ModeType.file) return 'file';
  if (type === ModeType.directory) return 'directory';
  return type === ModeType.symlink ? 'symlink' : 'other';
}

/** CRC-32C as ext4 has it: begun with a seed, and not inverted at the end. */
function checksum(seed: number, bytes: Uint8Array): number {
  return ~crc32c(bytes, ~seed) >>> 0;
}

function checkSuperblock(volume: Volume, superblock: Superblock, bytes: Uint8Array): void {
  const { featureIncompat, featureRoCompat, logBlockSize, inodeSize, inodesPerGroup, descriptorSize } = superblock;
  const unknown = featureIncompat & ~READABLE;
  if (unknown !== 0)
    throw volume.unsupported(`its ext4 has features that are not known here (0x${(unknown >>> 0).toString(16)})`);
  if ((featureRoCompat & ReadOnlyCompatible.metadataChecksum) !== 0) {
    const stated = new DataView(bytes.buffer, bytes.byteOffset).getUint32(SUPERBLOCK_CHECKSUM_OFFSET, true);
    if (checksum(0xffff_ffff, bytes.subarray(0, SUPERBLOCK_CHECKSUM_OFFSET)) !== stated)
      throw volume.corrupt("the superblock's checksum is wrong");
  }
  if (logBlockSize > 6) throw volume.corrupt(`blocks of 2^${logBlockSize + 10} bytes`);
  const blockSize = 1024 << logBlockSize;
  const sizes = superblock.revision === 0 ? 128 : inodeSize;
  if (sizes < 128 || sizes > blockSize || (sizes & (sizes - 1)) !== 0) throw volume.corrupt(`inodes of ${sizes} bytes`);
  const wide = (featureIncompat & Incompatible.bits64) !== 0;
  if (wide && (descriptorSize < 64 || descriptorSize > blockSize || (descriptorSize & (descriptorSize - 1)) !== 0))
    throw volume.corrupt(`group descriptors of ${descriptorSize} bytes`);
  if (inodesPerGroup === 0 || superblock.blocksPerGroup === 0) throw volume.corrupt('groups without blocks or inodes');
}
