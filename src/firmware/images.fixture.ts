/** Tiny kernel images for the loaders' tests, built byte by byte. */

interface FixtureSegment {
  readonly virtual: number | bigint;
  readonly physical: number;
  readonly bytes: Uint8Array;
  readonly memorySize?: number;
}

export interface FixtureElf {
  readonly bits: 32 | 64;
  readonly entry: number | bigint;
  readonly segments: readonly FixtureSegment[];
  readonly note?: { readonly name: string; readonly type: number; readonly description: Uint8Array };
}

export function u32(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export function u64(...values: bigint[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values).buffer);
}

export function concat(...parts: readonly ArrayLike<number>[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}

export function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

const PT_LOAD = 1;
const PT_NOTE = 4;

export function elf({ bits, entry, segments, note }: FixtureElf): Uint8Array {
  const headerSize = bits === 64 ? 64 : 52;
  const programHeaderSize = bits === 64 ? 56 : 32;
  const name = ascii(`${note?.name}\0`);
  const padded = (bytes: Uint8Array): Uint8Array => concat(bytes, new Uint8Array(-bytes.length & 3));
  const noteBytes =
    note && concat(u32(name.length, note.description.length, note.type), padded(name), padded(note.description));
  const parts = [
    ...segments.map((segment) => ({ type: PT_LOAD, ...segment })),
    ...(noteBytes ? [{ type: PT_NOTE, virtual: 0, physical: 0, bytes: noteBytes }] : []),
  ];
  let offset = headerSize + parts.length * programHeaderSize;
  const file = new Uint8Array(offset + parts.reduce((sum, { bytes }) => sum + bytes.length, 0));
  const view = new DataView(file.buffer);
  const wide = (at: number, value: number | bigint): void =>
    bits === 64 ? view.setBigUint64(at, BigInt(value), true) : view.setUint32(at, Number(value), true);
  file.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1]);
  view.setUint16(16, 2, true);
  view.setUint16(18, bits === 64 ? 62 : 3, true);
  wide(24, entry);
  wide(bits === 64 ? 32 : 28, headerSize);
  view.setUint16(bits === 64 ? 54 : 42, programHeaderSize, true);
  view.setUint16(bits === 64 ? 56 : 44, parts.length, true);
  for (const [i, part] of parts.entries()) {
    const at = headerSize + i * programHeaderSize;
    const memorySize = part.memorySize ?? part.bytes.length;
    view.setUint32(at, part.type, true);
    const fields = [offset, part.virtual, part.physical, part.bytes.length, memorySize];
    if (bits === 64) for (const [n, field] of fields.entries()) wide(at + 8 + n * 8, field);
    else for (const [n, field] of fields.entries()) wide(at + 4 + n * 4, field);
    file.set(part.bytes, offset);
    offset += part.bytes.length;
  }
  return file;
}

/** A vmlinux in small: text at 16 MiB with a virtual address of its own, then data with BSS. */
export function tinyVmlinux(): Uint8Array {
  return elf({
    bits: 64,
    entry: 0x1000000,
    segments: [
      { virtual: 0xffffffff81000000n, physical: 0x1000000, bytes: ascii('text of a tiny kernel '.repeat(20)) },
      { virtual: 0xffffffff81200000n, physical: 0x1200000, bytes: ascii('data'), memorySize: 0x3000 },
    ],
  });
}

export interface FixtureBzImage {
  readonly payload: Uint8Array;
  readonly xloadflags?: number;
  readonly version?: number;
  readonly initrdAddressMaximum?: number;
}

const SETUP_SECTORS = 2;
const PAYLOAD_OFFSET = 0x300;
export const BZIMAGE_INIT_SIZE = 0x300000;

export function bzImage(options: FixtureBzImage): Uint8Array {
  const setupSize = (SETUP_SECTORS + 1) * 512;
  const paragraphs = Math.ceil((PAYLOAD_OFFSET + options.payload.length) / 16);
  const image = new Uint8Array(setupSize + paragraphs * 16);
  const view = new DataView(image.buffer);
  image.set(ascii('MZ'));
  view.setUint8(0x1f1, SETUP_SECTORS);
  view.setUint32(0x1f4, paragraphs, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint8(0x200, 0xeb);
  view.setUint8(0x201, 0x6a);
  image.set(ascii('HdrS'), 0x202);
  view.setUint16(0x206, options.version ?? 0x20f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x22c, options.initrdAddressMaximum ?? 0x7fffffff, true);
  view.setUint32(0x230, 0x200000, true);
  view.setUint8(0x234, 1);
  view.setUint16(0x236, options.xloadflags ?? 0x7f, true);
  view.setUint32(0x238, 2047, true);
  view.setUint32(0x248, PAYLOAD_OFFSET, true);
  view.setUint32(0x24c, options.payload.length, true);
  view.setBigUint64(0x258, 0x1000000n, true);
  view.setUint32(0x260, BZIMAGE_INIT_SIZE, true);
  image.set(options.payload, setupSize + PAYLOAD_OFFSET);
  return image;
}

export const MULTIBOOT_MAGIC = 0x1badb002;

export function multibootHeader(flags: number, ...fields: number[]): Uint8Array {
  return u32(MULTIBOOT_MAGIC, flags, -(MULTIBOOT_MAGIC + flags) >>> 0, ...fields);
}

/** An ELF32 multiboot kernel, linked at 4 MiB like kvm-unit-tests' are. */
export function multibootElf(flags = 0): Uint8Array {
  return elf({
    bits: 32,
    entry: 0x40000c,
    segments: [
      {
        virtual: 0x400000,
        physical: 0x400000,
        bytes: concat(multibootHeader(flags), [0xf4, 0xeb, 0xfd]),
        memorySize: 0x5000,
      },
    ],
  });
}
