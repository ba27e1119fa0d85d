/**
 * Places the structs of platform state in a partition's shared memory. Every thread places the same structs in the same
 * order and so finds them at the same addresses; saving a partition is saving each struct by its name.
 */
import type { Fields, Saved, Struct, View } from '../../support/struct.ts';

interface Placed {
  save(): Saved;
  load(saved: Saved): void;
}

export class Arena {
  readonly buffer: SharedArrayBuffer;
  readonly #end: number;
  readonly #placed = new Map<string, Placed>();
  #next: number;

  constructor(buffer: SharedArrayBuffer, base: number, size: number) {
    this.buffer = buffer;
    this.#next = base;
    this.#end = base + size;
  }

  /** Sets bytes aside: their offset in the memory, a multiple of 64. */
  reserve(size: number): number {
    const base = this.#next;
    this.#next = Math.ceil((base + size) / 64) * 64;
    if (this.#next > this.#end) throw new RangeError('the platform area is full');
    return base;
  }

  /** Gives the struct at `base` a name under which it is saved. */
  register<F extends Fields>(name: string, struct: Struct<F>, base: number): View<F> {
    const view = struct.view(this.buffer, base);
    if (this.#placed.has(name)) throw new Error(`two structs are called ${name}`);
    this.#placed.set(name, {
      save: () => struct.save(view),
      load: (saved) => {
        struct.load(view, saved);
      },
    });
    return view;
  }

  place<F extends Fields>(name: string, struct: Struct<F>): View<F> {
    return this.register(name, struct, this.reserve(struct.size));
  }

  save(): Record<string, Saved> {
    return Object.fromEntries([...this.#placed].map(([name, p]) => [name, p.save()]));
  }

  /** @throws RangeError when a struct is missing, unknown or of another version. */
  load(saved: Readonly<Record<string, Saved>>): void {
    for (const name of Object.keys(saved))
      if (!this.#placed.has(name)) throw new RangeError(`saved state has ${name}, which this partition does not have`);
    for (const [name, placed] of this.#placed) {
      const state = saved[name];
      if (!state) throw new RangeError(`saved state lacks ${name}`);
      placed.load(state);
    }
  }
}
