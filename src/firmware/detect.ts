/** Which kind of kernel a file is, and the one entry to the loaders. */

import { compressionOf, startsWith } from '../support/codec/codec.ts';
import { isBzImage, planBzImage } from './bzimage.ts';
import { isElf, parseElf, viewOf } from './elf.ts';
import { type BootOptions, checkMemorySize, KernelImageError, type KernelKind, type LoadPlan } from './load-plan.ts';
import { findMultibootHeader, planMultiboot } from './multiboot.ts';
import { planPvh, pvhEntry } from './pvh.ts';

const SUPPORTED = 'a Linux bzImage, an ELF file with a PVH note, or a multiboot 1 kernel';
/** A bzImage's header ends here; the other kinds are recognized before. */
const SHORTEST_KERNEL = 0x268;

/** Files that people pass by mistake, each with the word for it. */
const MISTAKES: readonly { readonly is: (image: Uint8Array) => boolean; readonly what: string }[] = [
  { is: (image) => viewOf(image).getUint32(0x38, true) === 0x644d5241, what: 'a kernel for ARM64' },
  {
    is: (image) => startsWith(image, [0x21, 0x3c, 0x61, 0x72, 0x63, 0x68, 0x3e]),
    what: 'a Debian package (unpack it)',
  },
  { is: (image) => startsWith(image, [0x30, 0x37, 0x30, 0x37, 0x30]), what: 'a cpio archive (a RAM disk?)' },
  { is: (image) => compressionOf(image) !== undefined, what: 'a compressed file (unpack it, or is it a RAM disk?)' },
  { is: (image) => startsWith(image, [0x4d, 0x5a]), what: 'an EFI or DOS program' },
];

/** @throws KernelImageError when the file is none of the supported kinds. */
export function detectKernel(image: Uint8Array): KernelKind {
  if (image.length === 0) throw new KernelImageError('the file is empty');
  if (isBzImage(image)) return 'bzImage';
  // A kernel with both headers (Xen) gets the multiboot one, as under QEMU.
  if (findMultibootHeader(image) !== undefined) return 'multiboot';
  if (isElf(image)) {
    if (pvhEntry(parseElf(image)) !== undefined) return 'pvh';
    throw new KernelImageError('the ELF file has neither a PVH entry note nor a multiboot header');
  }
  if (image.length < SHORTEST_KERNEL)
    throw new KernelImageError(`the file has only ${image.length} bytes: it is truncated, or no kernel`);
  const mistake = MISTAKES.find(({ is }) => is(image));
  if (mistake !== undefined) throw new KernelImageError(`this is ${mistake.what}, not ${SUPPORTED}`);
  throw new KernelImageError(`this is not ${SUPPORTED}`);
}

/** Plans the start of any supported kernel. @throws KernelImageError, and nothing else. */
export async function planBoot(image: Uint8Array, options: BootOptions): Promise<LoadPlan> {
  const kind = detectKernel(image);
  checkMemorySize(options.memory);
  if (kind === 'bzImage') return planBzImage(image, options);
  return kind === 'pvh' ? planPvh(image, options) : planMultiboot(image, options);
}
