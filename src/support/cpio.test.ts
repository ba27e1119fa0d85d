import { describe, expect, it } from 'vitest';
import { type CpioEntry, writeCpio } from './cpio.ts';

/** A reader of our own, written from the format's description: the fields as the kernel takes them. */
function readCpio(archive: Uint8Array) {
  const text = new TextDecoder('latin1').decode(archive);
  const members = [];
  for (let at = 0; ; ) {
    expect(text.slice(at, at + 6)).toBe('070701');
    const field = (index: number): number => Number.parseInt(text.slice(at + 6 + index * 8, at + 14 + index * 8), 16);
    const nameEnd = at + 110 + field(11);
    const path = text.slice(at + 110, nameEnd - 1);
    const dataAt = Math.ceil(nameEnd / 4) * 4;
    const data = text.slice(dataAt, dataAt + field(6));
    if (path === 'TRAILER!!!') return members;
    members.push({ path, data, inode: field(0), mode: field(1), links: field(4), device: [field(9), field(10)] });
    at = Math.ceil((dataAt + field(6)) / 4) * 4;
  }
}

const entries: CpioEntry[] = [
  { kind: 'directory', path: 'bin' },
  { kind: 'file', path: 'bin/odd', data: new TextEncoder().encode('12345'), mode: 0o755 },
  { kind: 'file', path: 'empty', data: new Uint8Array(0) },
  { kind: 'symlink', path: 'bin/link', target: 'odd' },
  { kind: 'character', path: 'console', major: 5, minor: 1 },
];

describe('writeCpio', () => {
  it('writes what a reader of the format finds again', () => {
    expect(readCpio(writeCpio(entries))).toEqual([
      { path: 'bin', data: '', inode: 1, mode: 0o040755, links: 1, device: [0, 0] },
      { path: 'bin/odd', data: '12345', inode: 2, mode: 0o100755, links: 1, device: [0, 0] },
      { path: 'empty', data: '', inode: 3, mode: 0o100644, links: 1, device: [0, 0] },
      { path: 'bin/link', data: 'odd', inode: 4, mode: 0o120777, links: 1, device: [0, 0] },
      { path: 'console', data: '', inode: 5, mode: 0o020600, links: 1, device: [5, 1] },
    ]);
  });

  it('is a function of its entries, in whole blocks', () => {
    expect(writeCpio(entries)).toEqual(writeCpio(entries));
    expect(writeCpio(entries).length % 512).toBe(0);
  });

  it('refuses absolute paths', () => {
    expect(() => writeCpio([{ kind: 'directory', path: '/bin' }])).toThrow('relative');
  });
});
