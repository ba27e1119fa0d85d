/**
 * A small builder of ACPI Machine Language (ACPI 6.5, section 20.2) and of resource descriptors (section 6.4). Each function
 * answers the bytes of one term, named as the specification names it; terms nest by concatenation.
 */

export type Aml = readonly number[];

const ZERO_OP = 0x00;
const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const STRING_PREFIX = 0x0d;
const SCOPE_OP = 0x10;
const BUFFER_OP = 0x11;
const PACKAGE_OP = 0x12;
const METHOD_OP = 0x14;
const NOTIFY_OP = 0x86;
const MULTI_NAME_PREFIX = 0x2f;
const DUAL_NAME_PREFIX = 0x2e;
const DEVICE_OP = [0x5b, 0x82] as const;
const ROOT_CHARACTER = 0x5c;
const NULL_NAME = 0x00;

/** `size` bytes of an unsigned integer below 2^53, little-endian. */
export function littleEndian(value: number, size: number): Aml {
  const bytes: number[] = [];
  for (let i = 0, rest = value; i < size; i++, rest = Math.floor(rest / 256)) bytes.push(rest % 256);
  return bytes;
}

function ascii(text: string): Aml {
  return Array.from(text, (character) => character.charCodeAt(0));
}

/** PkgLength (20.2.4): counts itself; 6 bits in one byte, else a nibble and up to three further bytes. */
function withPackageLength(content: Aml): Aml {
  if (content.length + 1 < 0x40) return [content.length + 1, ...content];
  const follow = [1, 2, 3].find((count) => content.length + 1 + count < 2 ** (4 + 8 * count));
  if (follow === undefined) throw new RangeError(`AML: a term of ${content.length} bytes is too long`);
  const length = content.length + 1 + follow;
  return [(follow << 6) | (length & 0x0f), ...littleEndian(length >>> 4, follow), ...content];
}

/** A name or path: `_SB`, `\\_SB`, `\\_SB.VMOD`. Segments are padded with underscores to four characters. */
function nameString(path: string): Aml {
  const root = path.startsWith('\\');
  const segments = (root ? path.slice(1) : path).split('.').filter((segment) => segment !== '');
  for (const segment of segments)
    if (!/^[A-Z_][A-Z0-9_]{0,3}$/.test(segment)) throw new RangeError(`AML: bad name segment ${segment}`);
  const prefix =
    segments.length === 0
      ? [NULL_NAME]
      : segments.length === 1
        ? []
        : segments.length === 2
          ? [DUAL_NAME_PREFIX]
          : [MULTI_NAME_PREFIX, segments.length];
  return [
    ...(root ? [ROOT_CHARACTER] : []),
    ...prefix,
    ...segments.flatMap((segment) => ascii(segment.padEnd(4, '_'))),
  ];
}

export function integer(value: number): Aml {
  if (value === 0) return [ZERO_OP];
  if (value === 1) return [ONE_OP];
  if (value < 0x100) return [BYTE_PREFIX, value];
  if (value < 0x10000) return [WORD_PREFIX, ...littleEndian(value, 2)];
  return [DWORD_PREFIX, ...littleEndian(value, 4)];
}

export function string(text: string): Aml {
  return [STRING_PREFIX, ...ascii(text), 0];
}

/** EISAID("PNP0501"): three letters of 5 bits and four hexadecimal digits, in a big-endian 32-bit integer (19.3.4). */
export function eisaId(id: string): Aml {
  const [a = 0, b = 0, c = 0] = ascii(id).map((code) => code - 0x40);
  const vendor = (a << 10) | (b << 5) | c;
  const product = Number.parseInt(id.slice(3), 16);
  return [DWORD_PREFIX, vendor >>> 8, vendor & 0xff, product >>> 8, product & 0xff];
}

export function name(path: string, value: Aml): Aml {
  return [NAME_OP, ...nameString(path), ...value];
}

export function packageOf(...elements: readonly Aml[]): Aml {
  return [PACKAGE_OP, ...withPackageLength([elements.length, ...elements.flat()])];
}

/** A method without arguments. */
export function method(path: string, ...terms: readonly Aml[]): Aml {
  return [METHOD_OP, ...withPackageLength([...nameString(path), 0, ...terms.flat()])];
}

export function notify(path: string, value: number): Aml {
  return [NOTIFY_OP, ...nameString(path), ...integer(value)];
}

export function scope(path: string, ...terms: readonly Aml[]): Aml {
  return [SCOPE_OP, ...withPackageLength([...nameString(path), ...terms.flat()])];
}

export function device(path: string, ...terms: readonly Aml[]): Aml {
  return [...DEVICE_OP, ...withPackageLength([...nameString(path), ...terms.flat()])];
}

/** ResourceTemplate: a buffer of descriptors, closed by an end tag whose checksum 0 means "not computed". */
export function resourceTemplate(...descriptors: readonly Aml[]): Aml {
  const bytes = [...descriptors.flat(), 0x79, 0x00];
  return [BUFFER_OP, ...withPackageLength([...integer(bytes.length), ...bytes])];
}

/** I/O Port Descriptor (6.4.2.5), fixed, 16-bit decode. */
export function io(first: number, count: number): Aml {
  return [0x47, 0x01, ...littleEndian(first, 2), ...littleEndian(first, 2), 1, count];
}

/** IRQ Descriptor without flags (6.4.2.1): edge-triggered, active high, exclusive. */
export function irqNoFlags(irq: number): Aml {
  return [0x22, ...littleEndian(1 << irq, 2)];
}

const RESOURCE_PRODUCER_FIXED = 0x0c;
const READ_WRITE = 0x01;

/**
 * DWord or QWord Address Space Descriptor (6.4.3.5.1 and .2) for memory that a bridge passes on to its children: fixed,
 * non-cacheable, read-write. The shortest that holds the range.
 */
export function addressSpaceMemory(first: number, size: number): Aml {
  const last = first + size - 1;
  const width = last < 2 ** 32 ? 4 : 8;
  const fields = [0, first, last, 0, size].flatMap((field) => littleEndian(field, width));
  const body = [0x00, RESOURCE_PRODUCER_FIXED, READ_WRITE, ...fields];
  return [width === 4 ? 0x87 : 0x8a, ...littleEndian(body.length, 2), ...body];
}
