/**
 * Reads the text on a guest's screen out of a PNG image. The guest's font is learned from the screen itself: characters that are
 * known to stand in a row, each of which must look different.
 */
import { inflateSync } from 'node:zlib';

/** Of the kernel's fonts for large screens. */
const CELL = { width: 8, height: 16 } as const;
/** Every printable character but the blank. */
export const CHARACTERS = Array.from({ length: 94 }, (_, i) => String.fromCharCode(0x21 + i));

export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Whether the pixel is not black. */
  lit(x: number, y: number): boolean;
}

/** A picture as `encodePng` writes it: one piece of data, rows without a filter. */
export function pictureOf(bytes: Uint8Array): Picture {
  const png = Buffer.from(bytes);
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const rows = inflateSync(png.subarray(41, 41 + png.readUInt32BE(33)));
  const at = (x: number, y: number): number => y * (width * 3 + 1) + 1 + x * 3;
  return { width, height, lit: (x, y) => rows.readUIntBE(at(x, y), 3) !== 0 };
}

function glyph(picture: Picture, column: number, row: number): string {
  let bits = '';
  for (let y = 0; y < CELL.height; y++)
    for (let x = 0; x < CELL.width; x++)
      bits += picture.lit(column * CELL.width + x, row * CELL.height + y) ? '#' : '.';
  return bits;
}

export class Font {
  readonly #characters: ReadonlyMap<string, string>;

  /** From a picture whose first line is CHARACTERS. @throws Error when two of them look the same. */
  constructor(picture: Picture) {
    this.#characters = new Map(CHARACTERS.map((character, column) => [glyph(picture, column, 0), character]));
    if (this.#characters.size !== CHARACTERS.length) throw new Error('the screen does not show every character');
  }

  /** The lines on the screen; an unknown shape is U+FFFD. */
  read(picture: Picture): string[] {
    const lines: string[] = [];
    for (let row = 0; row < Math.floor(picture.height / CELL.height); row++) {
      let line = '';
      for (let column = 0; column < Math.floor(picture.width / CELL.width); column++) {
        const shape = glyph(picture, column, row);
        line += this.#characters.get(shape) ?? (shape.includes('#') ? '\u{fffd}' : ' ');
      }
      lines.push(line.trimEnd());
    }
    return lines;
  }
}
