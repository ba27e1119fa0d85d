import { describe, expect, it } from 'vitest';
import {
  diskText,
  parseClock,
  parseDisk,
  parseFile,
  parseInstructions,
  parseMemory,
  parseModule,
  parseProcessors,
  parseTimeout,
} from './arguments.ts';

const MIB = 2 ** 20;

describe('command-line values', () => {
  it.each([
    ['512M', 512 * MIB],
    ['512MiB', 512 * MIB],
    ['512mb', 512 * MIB],
    ['2G', 2048 * MIB],
    ['1.5G', 1536 * MIB],
    ['65536k', 64 * MIB],
    ['64', 64 * MIB],
  ])('--memory %s', (text, bytes) => expect(parseMemory('--memory')(text)).toBe(bytes));

  it.each(['', 'M', '-1', '1T', '0x10', '1.0000001', '1e3', '9'.repeat(30)])('--memory %s is refused', (text) => {
    expect(() => parseMemory('--memory')(text)).toThrow('--memory must be a size such as 512M or 2G');
  });

  it('--processors', () => {
    expect(parseProcessors('4')).toBe(4);
    for (const text of ['0', '-1', '1.5', 'two', '']) expect(() => parseProcessors(text)).toThrow('--processors');
  });

  it('--timeout', () => {
    expect(parseTimeout('0.5')).toBe(0.5);
    for (const text of ['0', '-1', 'NaN', 'Infinity', '1e9', '3000000'])
      expect(() => parseTimeout(text)).toThrow(
        `--timeout must be a number of seconds above 0, at most 2000000, not '${text}'`,
      );
  });

  it('--instructions', () => {
    expect(parseInstructions('500_000_000')).toBe(500_000_000n);
    for (const text of ['0', '-1', '1.5', '1e6', '9'.repeat(19)])
      expect(() => parseInstructions(text)).toThrow('--instr');
  });

  it('files', () => {
    expect(parseFile('--kernel')('a b')).toBe('a b');
    expect(() => parseFile('--kernel')('')).toThrow("--kernel must be the name of a file, not ''");
    expect(parseModule('b x', parseModule('a'))).toEqual(['a', 'b x']);
    expect(() => parseModule('')).toThrow(`--module must be "FILE" or "FILE ARGUMENTS", not ''`);
  });

  it('--disk', () => {
    expect(parseDisk('b.img,format=raw,readonly', parseDisk('a,,b.vhdx,discard'))).toEqual([
      { file: 'a,b.vhdx', discard: true },
      { file: 'b.img', format: 'raw', readOnly: true },
    ]);
    expect(() => parseDisk('')).toThrow('--disk must be FILE[,format=FORMAT]');
    expect(() => parseDisk('a,format=vmdk')).toThrow('the format must be vhdx, vhd, raw, iso, qcow2');
    expect(() => parseDisk('a,b')).toThrow("'b' is none of format=FORMAT, readonly, discard");
    expect(diskText({ file: "it's, here", format: 'raw', readOnly: true })).toBe(
      "'it'\\''s,, here,format=raw,readonly'",
    );
  });

  it('--clock', () => {
    expect(parseClock('instructions')).toBe('instructions');
    expect(() => parseClock('wall')).toThrow("--clock must be 'real' or 'instructions', not 'wall'");
  });
});
