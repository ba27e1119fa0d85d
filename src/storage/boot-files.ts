/**
 * What a machine boots, read out of its disk: the kernel, the initial RAM disk, and which file system is the root. So the
 * disk is all that a VM needs, as with a boot loader, and a kernel that the guest installs is the one it starts next.
 *
 * The kernel is what `/vmlinuz` or `/boot/vmlinuz` links to, which Debian and Ubuntu keep up to date, else the newest of
 * /boot. File systems are ext2, ext3 and ext4, on the whole disk or in its partitions.
 */
import { printable } from '../support/text.ts';
import { DiskError } from './disk.ts';
import { Ext4 } from './ext4/file-system.ts';
import { readBytes, type VolumeRange } from './ext4/volume.ts';
import { type DiskPartition, readPartitions } from './partitions/partitions.ts';

export interface BootFile {
  /** In the disk's file system, without symbolic links. */
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface BootFiles {
  readonly kernel: BootFile;
  /** Undefined where the kernel's version has none. */
  readonly initrd: BootFile | undefined;
  /** What tells the kernel its root: `root=UUID=... ro`. */
  readonly rootParameters: string;
  /** What the system itself wants on its kernel's command line: /etc/kernel/cmdline, without a root. Empty where it says nothing. */
  readonly parameters: string;
  /** The root file system's. */
  readonly uuid: string;
  readonly label: string;
  /** Where it is: 1 is /dev/sda1; 0 is the whole disk. */
  readonly partition: number;
  /** The file system was not unmounted; its journal was read, not replayed. */
  readonly unclean: boolean;
}

const MIB = 2 ** 20;
/** A partition has at most 3 GiB of memory, and unpacking takes more. */
const LARGEST_KERNEL = 256 * MIB;
const LARGEST_INITRD = 1024 * MIB;
const COMMAND_LINE = '/etc/kernel/cmdline';
/** Linux takes 2048 characters in all. */
const LONGEST_COMMAND_LINE = 1024;

/** Folders where kernels are: on the root file system, or on one of their own for /boot. */
const FOLDERS = ['/boot', '/'] as const;
const LINKS = ['/vmlinuz', '/boot/vmlinuz'] as const;
const KERNEL = /^(?:vmlinuz|bzImage|kernel)-(.+)$/;
/** Copies that tools keep, and kernels for rescue. */
const NOT_WANTED = /\.(?:old|bak|dpkg-\w+|signed|hmac|sig)$|rescue|memtest/;

/** Names of an initial RAM disk for a version, as Debian, Fedora, SUSE, and Arch and Alpine have them. */
function initrdNames(version: string): readonly string[] {
  return [`initrd.img-${version}`, `initramfs-${version}.img`, `initrd-${version}`, `initramfs-${version}`];
}

interface Place {
  readonly partition: DiskPartition | undefined;
  readonly system: Ext4;
}

interface Chosen {
  readonly place: Place;
  readonly kernel: string;
  readonly initrd: string | undefined;
}

/**
 * @param name The disk's, for messages.
 * @throws DiskError with one line when the disk has no kernel that can be found.
 */
export async function findBootFiles(device: VolumeRange['device'], name: string): Promise<BootFiles> {
  const { places, others } = await fileSystems(device, name);
  let chosen: Chosen | undefined;
  for (const place of places) {
    chosen = await choose(place);
    if (chosen !== undefined) break;
  }
  if (chosen === undefined) throw nothingFound(name, places, others);
  const root = (await rootOf(chosen.place, places)) ?? chosen.place;
  const { system } = chosen.place;
  const read = async (path: string, most: number): Promise<BootFile> => ({
    path,
    bytes: await system.readFile(path, most),
  });
  return {
    kernel: await read(chosen.kernel, LARGEST_KERNEL),
    initrd: chosen.initrd === undefined ? undefined : await read(chosen.initrd, LARGEST_INITRD),
    rootParameters: `root=${rootName(root, chosen.initrd !== undefined)} ro`,
    parameters: await parametersOf(root.system),
    uuid: root.system.uuid,
    label: root.system.label,
    partition: root.partition?.number ?? 0,
    unclean: root.system.unclean || system.unclean,
  };
}

/** As kernel-install(8) of systemd has it: one line, in the root file system. Where the root is, has been found out here. */
async function parametersOf(system: Ext4): Promise<string> {
  const status = await system.status(COMMAND_LINE);
  if (status?.kind !== 'file') return '';
  // One that is too long is no command line.
  const bytes = await system.readFile(status.path, LONGEST_COMMAND_LINE).catch(() => new Uint8Array());
  const text = new TextDecoder('latin1').decode(bytes);
  const words = text.split(/\s+/).filter((word) => /^[!-~]+$/.test(word));
  return words.filter((word) => !/^(?:root=|ro$|rw$|initrd=|BOOT_IMAGE=)/.test(word)).join(' ');
}

/** A kernel without an initial RAM disk knows partitions by their own names only. */
function rootName({ partition, system }: Place, initrd: boolean): string {
  if (initrd) return `UUID=${system.uuid}`;
  return partition === undefined ? '/dev/sda' : `PARTUUID=${partition.id}`;
}

/** The file systems that can be read, and a line for each that cannot. */
async function fileSystems(device: VolumeRange['device'], name: string) {
  const places: Place[] = [];
  const others: string[] = [];
  const partitions = await readPartitions(device);
  for (const partition of partitions.length > 0 ? partitions : [undefined]) {
    const { offset, size } = partition ?? { offset: 0, size: device.size };
    const where = partition === undefined ? name : `${name}, partition ${partition.number}`;
    try {
      const system = await Ext4.open({ device, offset, size, name: where });
      if (system !== undefined) places.push({ partition, system });
      else {
        const kind = await otherSystem(device, offset, size);
        if (kind !== undefined) others.push(`${partition ? `partition ${partition.number}` : 'the disk'} is ${kind}`);
      }
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      others.push(error.message.startsWith(`${name}, `) ? error.message.slice(name.length + 2) : error.message);
    }
  }
  return { places, others };
}

/** Signatures of what is not read here, for messages: the offset in bytes, and the letters. */
const OTHERS: readonly (readonly [offset: number, letters: string, kind: string])[] = [
  [0, 'XFSB', 'XFS'],
  [0x10040, '_BHRfS_M', 'Btrfs'],
  [0, 'LUKS', 'encrypted (LUKS)'],
  [512, 'LABELONE', 'a physical volume of LVM'],
  [0x400, '\x10\x20\xf5\xf2', 'F2FS'],
  [3, 'NTFS', 'NTFS'],
  [0x52, 'FAT32', 'FAT'],
  [0x36, 'FAT1', 'FAT'],
  [0xff6, 'SWAPSPACE2', 'swap space'],
];

async function otherSystem(device: VolumeRange['device'], offset: number, size: number): Promise<string | undefined> {
  const latin1 = new TextDecoder('latin1');
  for (const [at, letters, kind] of OTHERS) {
    if (at + letters.length > size || offset + at + letters.length > device.size) continue;
    if (latin1.decode(await readBytes(device, offset + at, letters.length)) === letters) return kind;
  }
  return undefined;
}

async function choose(place: Place): Promise<Chosen | undefined> {
  const { system } = place;
  const candidates: string[] = [];
  for (const link of LINKS) {
    const status = await system.status(link);
    if (status?.kind === 'file') candidates.push(status.path);
  }
  for (const folder of FOLDERS) {
    const names = (await system.list(folder)).filter((name) => KERNEL.test(name) && !NOT_WANTED.test(name));
    names.sort((a, b) => compareVersions(b, a));
    for (const name of names) {
      const status = await system.status(`${folder}/${name}`);
      if (status?.kind === 'file' && status.size > 0) candidates.push(status.path);
    }
  }
  const kernel = candidates[0];
  return kernel === undefined ? undefined : { place, kernel, initrd: await initrdFor(system, kernel) };
}

async function initrdFor(system: Ext4, kernel: string): Promise<string | undefined> {
  const slash = kernel.lastIndexOf('/');
  const folder = kernel.slice(0, slash);
  const version = KERNEL.exec(kernel.slice(slash + 1))?.[1];
  // A kernel whose name has no version belongs to the links that have none either.
  const paths =
    version === undefined
      ? ['/initrd.img', '/boot/initrd.img', '/boot/initrd']
      : initrdNames(version).map((name) => `${folder}/${name}`);
  for (const path of paths) {
    const status = await system.status(path);
    if (status?.kind === 'file' && status.size > 0) return status.path;
  }
  return undefined;
}

/** The file system with /etc and a first program: kernels may lie on one of their own. */
async function rootOf(kernel: Place, places: readonly Place[]): Promise<Place | undefined> {
  for (const place of [kernel, ...places])
    if ((await place.system.status('/etc/os-release')) ?? (await place.system.status('/sbin/init'))) return place;
  return undefined;
}

function nothingFound(name: string, places: readonly Place[], others: readonly string[]): DiskError {
  const told = others.length > 0 ? ` (${others.join('; ')})` : '';
  const what =
    places.length > 0
      ? `no kernel in /boot of its ${places.length === 1 ? 'file system' : 'file systems'}`
      : 'no ext4 file system that can be read, where its kernel would be looked for';
  return new DiskError('unsupported', `${name}: ${what}${told}: give --kernel FILE`, { code: 'notFound' });
}

/**
 * Orders names by the versions in them: runs of digits by number, the rest by letter; '~' and '-rc' are before the
 * release. Negative when `a` is the older one.
 */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [partsOf(a), partsOf(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [x = '', y = ''] = [left[i], right[i]];
    if (x === y) continue;
    if (/^\d/.test(x) && /^\d/.test(y)) {
      const difference = BigInt(x) - BigInt(y);
      if (difference !== 0n) return difference < 0n ? -1 : 1;
      continue;
    }
    const early = (part: string): boolean => /^(?:~|-rc)/.test(part);
    if (early(x) !== early(y)) return early(x) ? -1 : 1;
    if (/^\d/.test(x) !== /^\d/.test(y) && x !== '' && y !== '') return /^\d/.test(x) ? 1 : -1;
    return x < y ? -1 : 1;
  }
  return 0;
}

function partsOf(version: string): string[] {
  return printable(version, 255).match(/\d+|\D+/g) ?? [];
}
