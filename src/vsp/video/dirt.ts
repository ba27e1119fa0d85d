/**
 * Which parts of the screen have changed since somebody looked: tiles, each with the number of its last change. Any number
 * of watchers can ask, and none has to be remembered.
 */

/** In pixels. Right and bottom edges are `x + width` and `y + height`. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Pixels of a tile's edge. */
const TILE = 32;

export class Dirt {
  readonly #width: number;
  readonly #height: number;
  readonly #columns: number;
  readonly #changedAt: Float64Array;
  #change: number;

  /** @param change the number of the first change: all of the screen. */
  constructor(width: number, height: number, change: number) {
    this.#width = width;
    this.#height = height;
    this.#columns = Math.ceil(width / TILE);
    this.#changedAt = new Float64Array(this.#columns * Math.ceil(height / TILE)).fill(change);
    this.#change = change;
  }

  /** The number of the last change. */
  get change(): number {
    return this.#change;
  }

  /** Edges as a guest gives them: what lies outside of the screen is left out. */
  mark(left: number, top: number, right: number, bottom: number): void {
    const [x1, x2] = [Math.max(0, left), Math.min(this.#width, right)];
    const [y1, y2] = [Math.max(0, top), Math.min(this.#height, bottom)];
    if (x1 >= x2 || y1 >= y2) return;
    this.#change++;
    for (let row = Math.floor(y1 / TILE); row * TILE < y2; row++)
      for (let column = Math.floor(x1 / TILE); column * TILE < x2; column++)
        this.#changedAt[row * this.#columns + column] = this.#change;
  }

  markAll(): void {
    this.mark(0, 0, this.#width, this.#height);
  }

  /** What holds every change after this one; undefined when there is none. */
  since(change: number): Rectangle | undefined {
    let [left, top, right, bottom] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, -1, -1];
    if (change >= this.#change) return undefined;
    this.#changedAt.forEach((at, i) => {
      if (at <= change) return;
      const [column, row] = [i % this.#columns, Math.floor(i / this.#columns)];
      left = Math.min(left, column);
      right = Math.max(right, column);
      top = Math.min(top, row);
      bottom = Math.max(bottom, row);
    });
    if (right < 0) return undefined;
    const [x, y] = [left * TILE, top * TILE];
    return {
      x,
      y,
      width: Math.min(this.#width, (right + 1) * TILE) - x,
      height: Math.min(this.#height, (bottom + 1) * TILE) - y,
    };
  }
}
