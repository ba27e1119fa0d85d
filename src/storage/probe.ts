/**
 * What format a file seems to have. Only for `hv vhd info` and for attaching a file the first time: its answer is then
 * recorded. A disk that a guest can write is never probed, or the guest could make it another format.
 */
import type { DiskFiles, RandomFile } from '../host/disk-files.ts';
import { hasSignature } from '../support/text.ts';
import { DiskError, type DiskFormat } from './disk.ts';
import { SIGNATURE as QCOW2_SIGNATURE } from './qcow2/protocol.ts';
import { FOOTER_COOKIE, FOOTER_SIZE } from './vhd/protocol.ts';
import { FILE_SIGNATURE as VHDX_SIGNATURE } from './vhdx/protocol.ts';

/** Formats of others, which must not be taken for raw disks. */
const FOREIGN: readonly (readonly [name: string, signature: string, at: number])[] = [
  ['VMDK', 'KDMV', 0],
  ['VMDK', 'COWD', 0],
  ['VMDK descriptor', '# Disk DescriptorFile', 0],
  ['VDI', '\x7f\x10\xda\xbe', 0x40],
  ['QED', 'QED\0', 0],
  ['Parallels', 'WithoutFreeSpace', 0],
  ['Parallels', 'WithouFreSpacExt', 0],
  ['LUKS', 'LUKS\xba\xbe', 0],
  ['gzip', '\x1f\x8b', 0],
  ['XZ', '\xfd7zXZ\0', 0],
  ['Zstandard', '\x28\xb5\x2f\xfd', 0],
];

/** ECMA-119: the first volume descriptor stands in sector 16. */
const ISO_SIGNATURE = 'CD001';
const ISO_AT = 16 * 2048 + 1;

/** @throws DiskError for a format that is known not to be one of ours. */
export async function probeFormat(file: RandomFile): Promise<DiskFormat> {
  const head = new Uint8Array(ISO_AT + ISO_SIGNATURE.length);
  const count = await file.read(0, head);
  const bytes = head.subarray(0, count);
  if (hasSignature(bytes, VHDX_SIGNATURE)) return 'vhdx';
  if (hasSignature(bytes, QCOW2_SIGNATURE)) return 'qcow2';
  if (hasSignature(bytes, FOOTER_COOKIE)) return 'vhd';
  for (const [name, signature, at] of FOREIGN)
    if (hasSignature(bytes, signature, at))
      throw new DiskError(
        'unsupported',
        `${file.path}: ${name} files are not supported; give --format raw if it is a disk`,
      );
  const size = await file.size();
  if (size >= FOOTER_SIZE) {
    const end = new Uint8Array(FOOTER_SIZE);
    await file.read(size - FOOTER_SIZE, end);
    if (hasSignature(end, FOOTER_COOKIE)) return 'vhd';
  }
  return hasSignature(bytes, ISO_SIGNATURE, ISO_AT) ? 'iso' : 'raw';
}

/** The format that a new file's name asks for. */
export function formatOfName(name: string): DiskFormat | undefined {
  const extension = /\.([^./]+)$/.exec(name)?.[1]?.toLowerCase();
  const formats: Readonly<Record<string, DiskFormat>> = {
    vhdx: 'vhdx',
    avhdx: 'vhdx',
    vhd: 'vhd',
    avhd: 'vhd',
    raw: 'raw',
    img: 'raw',
    iso: 'iso',
    qcow2: 'qcow2',
  };
  return extension === undefined ? undefined : formats[extension];
}

/**
 * The format of a file that is attached for the first time, and of which nobody says what it is: that of its name, if the
 * content agrees. The content alone would let a guest decide what its raw disk is the next time.
 */
export async function formatToAttach(files: DiskFiles, path: string): Promise<DiskFormat> {
  const named = formatOfName(path);
  const seems = await seemingFormat(files, path);
  if (seems === named) return seems;
  const problem = named === undefined ? 'its name does not say so' : `it is named as ${named}`;
  throw new DiskError('unsupported', `${path}: it looks like ${seems}, but ${problem}: give the format`, {
    code: 'invalid',
  });
}

/** What a file looks like. @throws DiskError for a format that is known not to be one of ours. */
export async function seemingFormat(files: DiskFiles, path: string): Promise<DiskFormat> {
  const file = await files.open(path, { lock: 'none' });
  try {
    return await probeFormat(file);
  } finally {
    await file.close();
  }
}
