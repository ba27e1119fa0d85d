/** Sets of interrupt vectors: 256 bits in eight 32-bit words, as IRR, ISR and TMR hold them. */

export function highest(words: Uint32Array): number {
  for (let i = 7; i >= 0; i--) {
    const word = words[i] as number;
    if (word !== 0) return i * 32 + 31 - Math.clz32(word);
  }
  return -1;
}

export function highestAtomic(words: Uint32Array): number {
  for (let i = 7; i >= 0; i--) {
    const word = Atomics.load(words, i);
    if (word !== 0) return i * 32 + 31 - Math.clz32(word);
  }
  return -1;
}

export function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

export function vectorList(words: Uint32Array): string {
  const vectors: string[] = [];
  for (let v = 0; v < 256; v++) if (((words[v >>> 5] as number) >>> (v & 31)) & 1) vectors.push(hex(v));
  return vectors.join(' ');
}
