import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { array, type Saved, struct } from './struct.ts';

const Sample = struct('sample', 3, {
  flag: 'u8',
  word: 'u16',
  wide: 'u64',
  count: 'u32',
  signed: 'i32',
  ratio: 'f64',
  bytes: array('u8', 5),
  halves: array('u16', 3),
  longs: array('u64', 2),
  last: 'u8',
});
const zeros = (): ReturnType<typeof Sample.view> => Sample.view(new ArrayBuffer(Sample.size));

describe('a layout', () => {
  it('aligns each field to its width, in order, and the whole to eight bytes', () => {
    const offsets = Object.keys(Sample.fields).map((f) => Sample.offset(f as keyof typeof Sample.fields));
    expect(offsets).toEqual([0, 2, 8, 16, 20, 24, 32, 38, 48, 64]);
    expect(Sample.size).toBe(72);
    expect(struct('empty', 1, {}).size).toBe(0);
  });

  it('is little-endian bytes that several views share', () => {
    const buffer = new SharedArrayBuffer(8 + Sample.size);
    const [one, other] = [Sample.view(buffer, 8), Sample.view(buffer, 8)];
    one.wide = 0x1122_3344_5566_7788n;
    one.word = 0xabcd;
    one.longs[1] = 5n;
    expect([other.wide, other.word, other.longs[1]]).toEqual([0x1122_3344_5566_7788n, 0xabcd, 5n]);
    const bytes = new Uint8Array(buffer);
    expect([...bytes.subarray(8 + 8, 8 + 16)]).toEqual([0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    expect(bytes.subarray(0, 8).every((b) => b === 0)).toBe(true);
  });

  it('keeps values within their type', () => {
    const view = zeros();
    view.flag = 0x1ff;
    view.word = -1;
    view.count = -1;
    view.signed = 0xffff_ffff;
    view.wide = -1n;
    expect([view.flag, view.word, view.count, view.signed, view.wide]).toEqual([
      0xff,
      0xffff,
      0xffff_ffff,
      -1,
      2n ** 64n - 1n,
    ]);
  });

  it('refuses a base that is not aligned, and bytes that are not there', () => {
    expect(() => Sample.view(new ArrayBuffer(200), 4)).toThrow('sample: base 4 is not 8-byte aligned');
    expect(() => Sample.view(new ArrayBuffer(Sample.size - 8))).toThrow(RangeError);
  });

  it('has no other fields, and arrays that stay where they are', () => {
    const view = zeros() as unknown as Record<string, unknown>;
    const names: string[] = [];
    for (const name in view) names.push(name);
    expect(names).toEqual(Object.keys(Sample.fields));
    expect(() => {
      view.bytes = new Uint8Array(5);
    }).toThrow(TypeError);
  });
});

describe('saved state', () => {
  it('is plain data that JSON carries, and loads to the same bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: Sample.size, maxLength: Sample.size }), (contents) => {
        const source = Uint8Array.from(contents);
        const from = Sample.view(source.buffer);
        // JSON has no NaN, infinity or negative zero; no struct of ours holds one.
        if (!Number.isFinite(from.ratio) || from.ratio === 0) from.ratio = 1.25;
        const saved = JSON.parse(JSON.stringify(Sample.save(from))) as Saved;
        const target = new ArrayBuffer(Sample.size);
        const to = Sample.view(target);
        Sample.load(to, saved);
        expect(Sample.save(to)).toEqual(Sample.save(from));
        for (const field of Object.keys(Sample.fields) as (keyof typeof Sample.fields)[])
          expect(to[field]).toEqual(from[field]);
      }),
    );
  });

  const whole = (): Saved =>
    Sample.save(Sample.view(Uint8Array.from({ length: Sample.size }, (_, i) => (i === 31 ? 0x3f : i)).buffer));
  const changed = (fields: Record<string, unknown>): Saved => ({
    ...whole(),
    fields: { ...whole().fields, ...fields },
  });
  const without = (name: string): Saved => {
    const { [name]: _, ...fields } = whole().fields;
    return { ...whole(), fields };
  };

  it.each<[string, Saved, string]>([
    ['another struct', { ...whole(), struct: 'other' }, 'saved state is of other, not of sample'],
    ['an older version', { ...whole(), version: 2 }, 'sample: saved state version 2, this build reads version 3'],
    ['a missing field', without('count'), 'sample.count: saved value is not a u32'],
    ['a missing array', without('bytes'), 'sample.bytes: saved value is not 5 x u8'],
    ['an unknown field', changed({ extra: 1 }), 'sample: saved state has an unknown field extra'],
    ['a number for a 64-bit field', changed({ wide: 5 }), 'sample.wide: saved value is not a u64'],
    ['words for a 64-bit field', changed({ wide: '0x5' }), 'sample.wide: saved value is not a u64'],
    ['words for a number', changed({ count: '5' }), 'sample.count: saved value is not a u32'],
    ['an array of another length', changed({ bytes: [1, 2, 3, 4] }), 'sample.bytes: saved value is not 5 x u8'],
    ['an array with a hole', changed({ bytes: [1, 2, null, 4, 5] }), 'sample.bytes: saved value is not a u8'],
    ['a field that every object has', changed({ toString: 1 }), 'sample: saved state has an unknown field toString'],
    ['a number that the field cannot hold', changed({ flag: 256 }), 'sample.flag: saved value is not a u8'],
    ['a fraction for an integer', changed({ count: 1.5 }), 'sample.count: saved value is not a u32'],
    [
      'a 64-bit field that overflows',
      changed({ wide: '18446744073709551616' }),
      'sample.wide: saved value is not a u64',
    ],
    ['an element that overflows', changed({ halves: [1, 65536, 3] }), 'sample.halves: saved value is not a u16'],
  ])('with %s is refused, and nothing is written', (_name, saved, message) => {
    const view = zeros();
    expect(() => Sample.load(view, saved)).toThrow(message);
    expect(Sample.save(view)).toEqual(Sample.save(zeros()));
  });
});
