/**
 * Tar archives as streams: what GNU tar writes, and what every tar reads (POSIX.1-2008 "pax", ustar interchange format; GNU's
 * long names). Names come out as they are in the archive: whoever makes files of them has to look at them first.
 */

export interface TarEntry {
  readonly path: string;
  readonly kind: 'file' | 'folder' | 'symlink' | 'hardlink' | 'other';
  /** Permission bits, 0o7777 at most. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly modified: number;
  /** Bytes of content; 0 but for files. */
  readonly size: number;
  /** Of links. */
  readonly target?: string | undefined;
}

const BLOCK = 512;
/** Of a name or a pax header: longer ones are nobody's. */
const LONGEST_NAME = 2 ** 20;
const KINDS: Readonly<Record<string, TarEntry['kind']>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '5': 'folder',
};
const LETTERS = { file: '0', hardlink: '1', symlink: '2', folder: '5' } as const;

/** Where a field is in a header. */
const FIELD = {
  name: [0, 100],
  mode: [100, 8],
  owner: [108, 8],
  group: [116, 8],
  size: [124, 12],
  modified: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  target: [157, 100],
  magic: [257, 8],
  prefix: [345, 155],
} as const;
type Field = keyof typeof FIELD;

export class TarError extends Error {}

/** What stands before an entry's content; its content is to be followed by `tarPadding`. */
export function tarHeader(entry: TarEntry & { readonly kind: keyof typeof LETTERS }): Uint8Array<ArrayBuffer> {
  const { path, kind, mode, modified, size, target = '' } = entry;
  const encoder = new TextEncoder();
  const records: Record<string, string> = {};
  if (encoder.encode(path).length > FIELD.name[1]) records.path = path;
  if (encoder.encode(target).length > FIELD.target[1]) records.linkpath = target;
  if (size >= 8 ** 11) records.size = String(size);
  const extended = encoder.encode(Object.entries(records).map(paxRecord).join(''));
  const blocks: Uint8Array[] = [];
  if (extended.length > 0) {
    blocks.push(header({ name: 'pax', type: 'x', size: extended.length, mode: 0o644, modified: 0, target: '' }));
    blocks.push(extended, tarPadding(extended.length));
  }
  blocks.push(header({ name: path, type: LETTERS[kind], size: records.size ? 0 : size, mode, modified, target }));
  return joined(blocks);
}

/** "LENGTH KEY=VALUE\n", the length being that of all of it. */
function paxRecord([key, value]: readonly [string, string]): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = new TextEncoder().encode(rest).length;
  let length = bytes + String(bytes).length;
  if (String(length).length > String(bytes).length) length = bytes + String(length).length;
  return `${length}${rest}`;
}

function header(of: {
  readonly name: string;
  readonly type: string;
  readonly size: number;
  readonly mode: number;
  readonly modified: number;
  readonly target: string;
}): Uint8Array {
  const block = new Uint8Array(BLOCK);
  const put = (field: Field, text: string): void => {
    const [at, length] = FIELD[field];
    block.set(new TextEncoder().encode(text).subarray(0, length), at);
  };
  const octal = (field: Field, value: number): void =>
    put(
      field,
      Math.max(0, Math.floor(value))
        .toString(8)
        .padStart(FIELD[field][1] - 1, '0'),
    );
  put('name', of.name);
  octal('mode', of.mode & 0o7777);
  octal('owner', 0);
  octal('group', 0);
  octal('size', of.size);
  octal('modified', of.modified);
  put('type', of.type);
  put('target', of.target);
  put('magic', 'ustar\x0000');
  put('checksum', `${checksum(block).toString(8).padStart(6, '0')}\0 `);
  return block;
}

/** Zeroes that fill the last block of a content. */
export function tarPadding(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}

/** What ends an archive. */
export function tarEnd(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(2 * BLOCK);
}

/** The sum of a header's bytes, with spaces where the sum stands. */
function checksum(block: Uint8Array): number {
  const [at, length] = FIELD.checksum;
  return block.reduce((sum, byte, i) => sum + (i >= at && i < at + length ? 0x20 : byte), 0);
}

/**
 * Entries with their contents, one after the other; a content that is not read to its end is skipped.
 * @throws TarError where it is no archive, or ends in the middle of one
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ readonly entry: TarEntry; readonly content: AsyncIterable<Uint8Array> }> {
  const reader = new Reader(source);
  let extended: Partial<Record<'path' | 'linkpath' | 'size' | 'mtime', string>> = {};
  for (;;) {
    const block = await reader.take(BLOCK);
    if (block.every((byte) => byte === 0)) return;
    const raw = parseHeader(block);
    if (raw.type === 'x' || raw.type === 'L' || raw.type === 'K') {
      if (raw.size > LONGEST_NAME) throw new TarError(`a name of ${raw.size} bytes`);
      const bytes = await reader.take(raw.size);
      await reader.take(tarPadding(raw.size).length);
      if (raw.type === 'x') extended = { ...extended, ...parsePax(bytes) };
      else extended[raw.type === 'L' ? 'path' : 'linkpath'] = textOf(bytes);
      continue;
    }
    const size = extended.size === undefined ? raw.size : Number(extended.size);
    if (!Number.isSafeInteger(size) || size < 0) throw new TarError('a file of no size');
    const kind = KINDS[raw.type] ?? 'other';
    const entry: TarEntry = {
      path: extended.path ?? raw.path,
      kind,
      mode: raw.mode & 0o7777,
      modified: extended.mtime === undefined ? raw.modified : Math.floor(Number(extended.mtime)),
      size: kind === 'file' ? size : 0,
      target: kind === 'symlink' || kind === 'hardlink' ? (extended.linkpath ?? raw.target) : undefined,
    };
    extended = {};
    const content = reader.part(size);
    if (raw.type !== 'g') yield { entry, content };
    for await (const _ of content) {
      // Skipped.
    }
    await reader.take(tarPadding(size).length);
  }
}

function parseHeader(block: Uint8Array) {
  const bytes = (field: Field): Uint8Array => block.subarray(FIELD[field][0], FIELD[field][0] + FIELD[field][1]);
  if (numberOf(bytes('checksum')) !== checksum(block)) throw new TarError('no tar archive, or a damaged one');
  const magic = textOf(bytes('magic'));
  const prefix = magic.startsWith('ustar') && !magic.startsWith('ustar ') ? textOf(bytes('prefix')) : '';
  const name = textOf(bytes('name'));
  return {
    path: prefix === '' ? name : `${prefix}/${name}`,
    type: String.fromCharCode(bytes('type')[0]!),
    size: numberOf(bytes('size')),
    mode: numberOf(bytes('mode')),
    modified: numberOf(bytes('modified')),
    target: textOf(bytes('target')),
  };
}

/** Octal digits, or with the first bit set a big-endian number (GNU). */
function numberOf(field: Uint8Array): number {
  if ((field[0]! & 0x80) === 0) return Number.parseInt(textOf(field).trim() || '0', 8);
  return field.subarray(1).reduce((sum, byte) => sum * 256 + byte, field[0]! & 0x7f);
}

function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function parsePax(bytes: Uint8Array): Record<string, string> {
  const records: Record<string, string> = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = Number(textOf(bytes.subarray(at, space)));
    if (space < 0 || !(length > space - at) || at + length > bytes.length) throw new TarError('a damaged pax header');
    const [key, ...value] = new TextDecoder().decode(bytes.subarray(space + 1, at + length - 1)).split('=');
    records[key!] = value.join('=');
    at += length;
  }
  return records;
}

/** Takes so many bytes of a stream, and then so many. */
class Reader {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async #next(most: number): Promise<Uint8Array> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#source.next();
      if (done === true) throw new TarError('the archive ends too early');
      this.#rest = value;
    }
    const bytes = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(bytes.length);
    return bytes;
  }

  async take(count: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const bytes of this.part(count)) parts.push(bytes);
    return parts.length === 1 ? parts[0]! : joined(parts);
  }

  /** May be iterated again, for what is left. */
  part(count: number): AsyncIterable<Uint8Array> {
    let left = count;
    const next = async (): Promise<IteratorResult<Uint8Array>> => {
      if (left === 0) return { done: true, value: undefined };
      const value = await this.#next(left);
      left -= value.length;
      return { done: false, value };
    };
    return { [Symbol.asyncIterator]: () => ({ next }) };
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
