import { expect, it } from 'vitest';
import { record } from './record.ts';

const FIELDS = { a: 'u8', b: 'u16', c: 'u32', d: 'u64', e: 3 } as const;

it('reads what it wrote, packed, in either byte order', () => {
  const values = { a: 1, b: 0x203, c: 0x4050607, d: 0x8090a0b0c0d0e0fn, e: Uint8Array.of(1, 2, 3) };
  for (const order of ['little', 'big'] as const) {
    const layout = record(order, FIELDS);
    expect(layout.size).toBe(18);
    expect(layout.offset('d')).toBe(7);
    const bytes = layout.bytes(values);
    expect(bytes[1]).toBe(order === 'big' ? 2 : 3);
    expect(layout.read(bytes)).toEqual(values);
    expect(layout.read(Uint8Array.of(9, ...bytes), 1)).toEqual(values);
  }
});

it('fills with zeroes and refuses what does not fit', () => {
  const layout = record('big', FIELDS);
  expect(layout.write(new Uint8Array(18).fill(7), { b: 1 })).toEqual(Uint8Array.of(0, 0, 1, ...new Array(15).fill(0)));
  expect(() => layout.bytes({ e: new Uint8Array(4) })).toThrow(RangeError);
  expect(() => layout.read(new Uint8Array(17))).toThrow(RangeError);
});
