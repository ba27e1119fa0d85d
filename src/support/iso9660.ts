/**
 * Writes small ISO 9660 images (ECMA-119): files in one folder, with their real names by Joliet, which Linux, Windows and BSD
 * read; the names of the primary volume are as plain as level 1 wants them.
 */
import { ascii, encodeUtf16 } from './text.ts';

export interface IsoFile {
  /** Up to 64 characters, without slashes. */
  readonly name: string;
  readonly data: Uint8Array;
}

const SECTOR = 2048;
const FIRST_DESCRIPTOR = 16;
const PRIMARY = 1;
const SUPPLEMENTARY = 2;
const TERMINATOR = 255;
const RECORD = 34;
/** UCS-2 level 3, in a supplementary descriptor's escape sequences: Joliet. */
const JOLIET = '%/E';
const LONGEST_NAME = 64;

/** What differs between the two trees of folders. */
interface Tree {
  readonly type: typeof PRIMARY | typeof SUPPLEMENTARY;
  /** Sectors of the path tables, little- and big-endian, and of the folder. */
  readonly pathTables: readonly [little: number, big: number];
  readonly folder: number;
  readonly folderSectors: number;
  readonly text: (text: string, length: number) => Uint8Array;
  /** Names as they stand in the folder, in order, with the file each is for. */
  readonly names: readonly { readonly bytes: Uint8Array; readonly file: number }[];
}

/** @param label Up to 16 of A to Z, 0 to 9 and _. All times are zero, so equal files give equal images. */
export function writeIso9660(label: string, files: readonly IsoFile[]): Uint8Array<ArrayBuffer> {
  if (!/^[A-Z0-9_]{1,16}$/.test(label)) throw new RangeError(`not a label: ${label}`);
  for (const { name } of files)
    if (name === '' || name.length > LONGEST_NAME || /[/\\:;*?\0]/.test(name))
      throw new RangeError(`not a name: ${name}`);

  const plain = namesOf(files, (_, i) => ascii(`FILE${String(i).padStart(4, '0')}.;1`));
  const joliet = namesOf(files, (name) => encodeUtf16(`${name};1`, 'big'));
  let sector = FIRST_DESCRIPTOR + 3;
  const take = (count: number): number => (sector += count) - count;
  const tree = (type: Tree['type'], names: Tree['names'], text: Tree['text']): Tree => {
    const folderSectors = packed(names).length / SECTOR;
    return { type, names, text, pathTables: [take(1), take(1)], folderSectors, folder: take(folderSectors) };
  };
  const trees = [tree(PRIMARY, plain, asciiText), tree(SUPPLEMENTARY, joliet, bigText)];
  const places = files.map(({ data }) => take(Math.max(1, Math.ceil(data.length / SECTOR))));

  const image = new Uint8Array(sector * SECTOR);
  trees.forEach((each, i) => {
    image.set(descriptor(each, label, sector), (FIRST_DESCRIPTOR + i) * SECTOR);
    for (const [endian, at] of each.pathTables.entries()) image.set(pathTable(each.folder, endian === 0), at * SECTOR);
    const size = each.folderSectors * SECTOR;
    const own = [0, 1].map((name) => record(Uint8Array.of(name), each.folder, size, true));
    const entries = each.names.map(({ bytes, file }) => record(bytes, places[file]!, files[file]!.data.length, false));
    image.set(pack([...own, ...entries]), each.folder * SECTOR);
  });
  const end = new Uint8Array(SECTOR);
  end.set([TERMINATOR, ...ascii('CD001'), 1]);
  image.set(end, (FIRST_DESCRIPTOR + 2) * SECTOR);
  for (const [i, { data }] of files.entries()) image.set(data, places[i]! * SECTOR);
  return image;
}

function namesOf(files: readonly IsoFile[], bytesOf: (name: string, i: number) => Uint8Array): Tree['names'] {
  const names = files.map(({ name }, file) => ({ bytes: bytesOf(name, file), file }));
  return names.sort((a, b) => compareBytes(a.bytes, b.bytes));
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

/** A folder's records as they will lie in sectors, to see how many it takes. */
function packed(names: Tree['names']): Uint8Array {
  const own = [Uint8Array.of(0), Uint8Array.of(1)];
  return pack([...own, ...names.map(({ bytes }) => bytes)].map((bytes) => record(bytes, 0, 0, false)));
}

/** Records do not cross sectors. */
function pack(records: readonly Uint8Array[]): Uint8Array {
  const starts: number[] = [];
  let at = 0;
  for (const { length } of records) {
    if ((at % SECTOR) + length > SECTOR) at = Math.ceil(at / SECTOR) * SECTOR;
    starts.push(at);
    at += length;
  }
  const bytes = new Uint8Array(Math.ceil(at / SECTOR) * SECTOR);
  for (const [i, each] of records.entries()) bytes.set(each, starts[i]);
  return bytes;
}

/** A folder's record (ECMA-119, section 9.1). */
function record(name: Uint8Array, sector: number, size: number, folder: boolean): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((RECORD - 1 + name.length) / 2) * 2);
  bytes[0] = bytes.length;
  both32(bytes, 2, sector);
  both32(bytes, 10, size);
  bytes[25] = folder ? 2 : 0;
  both16(bytes, 28, 1);
  bytes[32] = name.length;
  bytes.set(name, 33);
  return bytes;
}

/** The root folder alone (section 9.4). */
function pathTable(folder: number, little: boolean): Uint8Array {
  const bytes = new Uint8Array(10);
  const view = new DataView(bytes.buffer);
  bytes[0] = 1;
  view.setUint32(2, folder, little);
  view.setUint16(6, 1, little);
  return bytes;
}

/** A volume descriptor (sections 8.4 and 8.5). */
function descriptor(tree: Tree, label: string, sectors: number): Uint8Array {
  const bytes = new Uint8Array(SECTOR);
  const view = new DataView(bytes.buffer);
  bytes.set([tree.type, ...ascii('CD001'), 1]);
  const text = (at: number, length: number, content = ''): void => bytes.set(tree.text(content, length), at);
  text(8, 32);
  text(40, 32, label);
  both32(bytes, 80, sectors);
  if (tree.type === SUPPLEMENTARY) bytes.set(ascii(JOLIET), 88);
  both16(bytes, 120, 1);
  both16(bytes, 124, 1);
  both16(bytes, 128, SECTOR);
  both32(bytes, 132, 10);
  view.setUint32(140, tree.pathTables[0], true);
  view.setUint32(148, tree.pathTables[1], false);
  bytes.set(record(Uint8Array.of(0), tree.folder, tree.folderSectors * SECTOR, true), 156);
  // Who made it and from what, the times: nobody, nothing, never.
  for (const [at, length] of [
    [190, 128],
    [318, 128],
    [446, 128],
    [574, 128],
    [702, 37],
    [739, 37],
    [776, 37],
  ] as const)
    text(at, length);
  for (const at of [813, 830, 847, 864]) bytes.set(ascii('0'.repeat(16)), at);
  bytes[881] = 1;
  return bytes;
}

function asciiText(text: string, length: number): Uint8Array {
  return ascii(text.padEnd(length));
}

function bigText(text: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set(encodeUtf16(text.padEnd(Math.floor(length / 2)), 'big'));
  return bytes;
}

function both16(bytes: Uint8Array, at: number, value: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint16(at, value, true);
  view.setUint16(at + 2, value, false);
}

function both32(bytes: Uint8Array, at: number, value: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(at, value, true);
  view.setUint32(at + 4, value, false);
}
