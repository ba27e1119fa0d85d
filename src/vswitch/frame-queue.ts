/** Frames in the order they came, with the bytes they hold: frames of up to 64 KiB make their number say little. */
import type { Frame } from './port.ts';

export class FrameQueue {
  #frames: Frame[] = [];
  #first = 0;
  bytes = 0;

  get length(): number {
    return this.#frames.length - this.#first;
  }

  get head(): Frame | undefined {
    return this.#frames[this.#first];
  }

  push(frame: Frame): void {
    this.#frames.push(frame);
    this.bytes += cost(frame);
  }

  shift(): void {
    const frame = this.#frames[this.#first];
    if (frame === undefined) return;
    this.bytes -= cost(frame);
    this.#first++;
    // Not at each one: that would move all the others.
    if (this.#first > 64 && this.#first * 2 > this.#frames.length) {
      this.#frames = this.#frames.slice(this.#first);
      this.#first = 0;
    }
  }

  clear(): void {
    this.#frames = [];
    this.#first = 0;
    this.bytes = 0;
  }
}

/** A small frame takes memory beyond its bytes. */
export function cost({ bytes }: Frame): number {
  return bytes.length + 256;
}
