import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CodecError } from './codec.ts';
import { decodeXz } from './xz.ts';

/** 889 bytes of x86 code full of branches, packed as kernels are: `xz --check=crc32 --x86 --lzma2`. */
const FIXTURE = Buffer.from(
  '/Td6WFoAAAFpIt42AgEEACEBFgANhjUf4AN4AHJdACqSDaTkvjBBzXb5OsKMPN6ZL0wTRYmhGJkd1pfuf8BBuSDRBlVnbU/WCPEcplw+2pirLFhZBHUnaGOhbxjrc5wylVP7LxBIGG57GsiI6wxa4NF3vAB4uwaYQH/BCHpW5LmXijN1nw8Jv8EyagV65/zY4AAAAMNdUJMAAYoB+QYAAEzv/b4+MA2LAgAAAAABWVo=',
  'base64',
);
const FIXTURE_SIZE = 889;
const FIXTURE_SHA256 = 'ca247000e113df599f01e04579e0230722f04f106d53da6adc6da422629037ee';

const haveXz = spawnSync('xz', ['--version']).status === 0;

function xz(content: Uint8Array, ...args: string[]): Uint8Array {
  const { status, stdout, stderr } = spawnSync('xz', ['-c', ...args], { input: content, maxBuffer: 2 ** 28 });
  if (status !== 0) throw new Error(`xz: ${stderr}`);
  return stdout;
}

/** Content with literals, repeats at near and far distances, runs, branches and incompressible stretches. */
function mixture(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed >>> 0;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let at = 0; at < size; ) {
    const length = Math.min(1 + random(2000), size - at);
    const kind = random(5);
    const from = random(at + 1);
    for (let i = 0; i < length; i++) {
      if (kind === 0) bytes[at + i] = random(256);
      else if (kind === 1) bytes[at + i] = 0x41 + random(6);
      else if (kind === 2) bytes[at + i] = bytes[from + i] as number;
      else if (kind === 3) bytes[at + i] = length & 0xff;
      else bytes[at + i] = [0xe8, 0xe9, 0x00, 0xff, 0x12][random(5)] as number;
    }
    at += length;
  }
  return bytes;
}

describe('XZ', () => {
  it('unpacks LZMA2 behind the x86 filter', () => {
    const content = decodeXz(FIXTURE, FIXTURE_SIZE);
    expect(createHash('sha256').update(content).digest('hex')).toBe(FIXTURE_SHA256);
  });

  it.skipIf(!haveXz)('agrees with the xz command (skipped where xz is not installed)', () => {
    const options = [
      ['--check=crc32', '--x86', '--lzma2=preset=6'],
      ['--check=none', '--lzma2=preset=0'],
      ['--check=crc64', '--lzma2=preset=9,lc=1,lp=3,pb=4'],
      ['--check=sha256', '--x86', '--lzma2=preset=3,lc=0,lp=0,pb=0'],
      ['--check=crc32', '--block-size=20000', '--x86', '--lzma2=preset=1'],
    ];
    for (const [i, args] of options.entries())
      for (const size of [0, 1, 5, 3000, 150_000]) {
        const content = mixture(size, size + i);
        const unpacked = decodeXz(xz(content, ...args), size);
        expect(Buffer.compare(unpacked, content), `${args.join(' ')}, ${size} bytes`).toBe(0);
      }
  });

  it('names an unsupported filter', () => {
    const damaged = Uint8Array.from(FIXTURE);
    damaged[14] = 0x05;
    expect(() => decodeXz(damaged, FIXTURE_SIZE)).toThrow(/damaged block header/);
  });

  it('refuses a size that is not the content', () => {
    expect(() => decodeXz(FIXTURE, FIXTURE_SIZE - 1)).toThrow(/more content/);
    expect(() => decodeXz(FIXTURE, FIXTURE_SIZE + 1)).toThrow(/890 expected/);
    expect(() => decodeXz(FIXTURE, 2 ** 31)).toThrow(/cannot hold/);
  });

  it('answers every truncation and damage with CodecError, and never with wrong content', () => {
    // The index and the footer repeat what the block said; they are not read.
    const blockEnd = FIXTURE.length - 24;
    for (let length = 0; length <= blockEnd; length++)
      expect(() => decodeXz(FIXTURE.subarray(0, length), FIXTURE_SIZE), `${length} bytes`).toThrow(CodecError);
    fc.assert(
      fc.property(fc.nat(FIXTURE.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
        const damaged = Uint8Array.from(FIXTURE);
        damaged[at] = (damaged[at] as number) ^ flip;
        try {
          const content = decodeXz(damaged, FIXTURE_SIZE);
          expect(createHash('sha256').update(content).digest('hex')).toBe(FIXTURE_SHA256);
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
