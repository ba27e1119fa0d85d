/** What a console has shown lately, for who comes later. */

const MOST = 256 * 1024;

export class ConsoleHistory {
  #pieces: Uint8Array[] = [];
  #length = 0;

  add(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    while (this.#length > MOST && this.#pieces.length > 1) this.#length -= this.#pieces.shift()!.length;
  }

  get bytes(): Uint8Array {
    const all = Buffer.concat(this.#pieces);
    return all.subarray(Math.max(0, all.length - MOST));
  }
}
