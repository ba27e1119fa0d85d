import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeIso9660 } from './iso9660.ts';

const SECTOR = 2048;
const bigEndian = new TextDecoder('utf-16be');
const text = (content: string): Uint8Array => new TextEncoder().encode(content);

/** Both trees of an image as a reader sees them: names and contents. */
function read(image: Uint8Array, descriptor: number): Map<string, string> {
  const view = new DataView(image.buffer);
  const at = descriptor * SECTOR;
  const wide = image[at] === 2;
  const folder = view.getUint32(at + 156 + 2, true) * SECTOR;
  const size = view.getUint32(at + 156 + 10, true);
  const found = new Map<string, string>();
  for (let entry = folder; entry < folder + size; ) {
    const length = image[entry]!;
    if (length === 0) {
      entry = Math.ceil((entry + 1) / SECTOR) * SECTOR;
      continue;
    }
    expect(view.getUint32(entry + 2, true)).toBe(view.getUint32(entry + 6, false));
    const name = image.subarray(entry + 33, entry + 33 + image[entry + 32]!);
    const start = view.getUint32(entry + 2, true) * SECTOR;
    const data = image.subarray(start, start + view.getUint32(entry + 10, true));
    const decoded = wide ? bigEndian.decode(name) : Buffer.from(name).toString('latin1');
    if (name.length > 1) found.set(decoded, Buffer.from(data).toString());
    entry += length;
  }
  return found;
}

describe('an ISO 9660 image', () => {
  const files = [
    { name: 'user-data', data: text('#cloud-config\n') },
    { name: 'meta-data', data: text('{}') },
    { name: 'large', data: new Uint8Array(5000).fill(0x61) },
    { name: 'empty', data: new Uint8Array(0) },
    ...Array.from({ length: 80 }, (_, i) => ({ name: `a-name-that-takes-some-room-${i}`, data: text(`${i}`) })),
  ];
  const image = writeIso9660('CIDATA', files);

  it('has every file by its own name, and by a plain one', () => {
    const joliet = read(image, 17);
    expect(joliet.size).toBe(files.length);
    for (const { name, data } of files) expect(joliet.get(`${name};1`)).toBe(Buffer.from(data).toString());
    const plain = read(image, 16);
    expect(plain.get('FILE0000.;1')).toBe('#cloud-config\n');
    expect(plain.size).toBe(files.length);
    expect(image.length % SECTOR).toBe(0);
  });

  it('is the same for the same files, and refuses names that cannot be', () => {
    expect(Buffer.from(writeIso9660('CIDATA', files)).equals(image)).toBe(true);
    expect(() => writeIso9660('cidata', [])).toThrow(RangeError);
    for (const name of ['', 'a/b', 'x'.repeat(65)])
      expect(() => writeIso9660('A', [{ name, data: new Uint8Array(0) }])).toThrow(RangeError);
  });

  const folder = mkdtempSync(join(tmpdir(), 'viridian-iso-'));
  const path = join(folder, 'image.iso');
  writeFileSync(path, image);
  const blkid = spawnSync('blkid', ['-p', '-o', 'export', path], { encoding: 'utf8' });
  it.skipIf(blkid.status !== 0)('is found by its label', () => {
    expect(blkid.stdout).toMatch(/^LABEL=CIDATA$/m);
    expect(blkid.stdout).toMatch(/^TYPE=iso9660$/m);
  });
  rmSync(folder, { recursive: true, force: true });
});
