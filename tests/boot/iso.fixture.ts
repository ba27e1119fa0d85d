/** For tests: an ISO 9660 image (ECMA-119) with one file in its root folder. */

const SECTOR = 2048;
const DESCRIPTOR = 16;
const ROOT = 18;
const FILE = 19;

/** A number in both byte orders. */
function both(view: DataView, at: number, value: number, size: 2 | 4): void {
  if (size === 2) {
    view.setUint16(at, value, true);
    view.setUint16(at + 2, value);
  } else {
    view.setUint32(at, value, true);
    view.setUint32(at + 4, value);
  }
}

/** A directory record (9.1). */
function record(name: string, sector: number, length: number, folder: boolean): Uint8Array {
  const size = 33 + name.length + ((name.length + 1) % 2);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  bytes[0] = size;
  both(view, 2, sector, 4);
  both(view, 10, length, 4);
  bytes.set([100, 1, 1], 18);
  bytes[25] = folder ? 2 : 0;
  both(view, 28, 1, 2);
  bytes[32] = name.length;
  for (let i = 0; i < name.length; i++) bytes[33 + i] = name.charCodeAt(i);
  return bytes;
}

/** @param name of a file as the standard has it: NAME.EXT;1 in capitals, shown by Linux in small letters without the version. */
export function isoImage(name: string, content: Uint8Array): Uint8Array {
  const sectors = FILE + Math.ceil(content.length / SECTOR);
  const image = new Uint8Array(sectors * SECTOR);
  const text = (at: number, value: string): void => {
    for (let i = 0; i < value.length; i++) image[at + i] = value.charCodeAt(i);
  };
  const primary = DESCRIPTOR * SECTOR;
  const view = new DataView(image.buffer, primary, SECTOR);
  image[primary] = 1;
  text(primary + 1, 'CD001');
  image[primary + 6] = 1;
  text(primary + 40, 'TEST'.padEnd(32));
  both(view, 80, sectors, 4);
  both(view, 120, 1, 2);
  both(view, 124, 1, 2);
  both(view, 128, SECTOR, 2);
  image.set(record('\0', ROOT, SECTOR, true), primary + 156);
  image[primary + 881] = 1;
  image[primary + SECTOR] = 255;
  text(primary + SECTOR + 1, 'CD001');
  let at = ROOT * SECTOR;
  for (const each of [
    record('\0', ROOT, SECTOR, true),
    record('\x01', ROOT, SECTOR, true),
    record(name, FILE, content.length, false),
  ]) {
    image.set(each, at);
    at += each.length;
  }
  image.set(content, FILE * SECTOR);
  return image;
}
