/** QEMU's tools as the judge, both ways: what they write we read, what we write they read and find sound. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeCodecs } from '../host/node/codecs.ts';
import { findCommand } from '../host/node/command.ts';
import { nodeDiskFiles } from '../host/node/disk-files.ts';
import { expectSame, pattern, readAll } from './conformance.fixture.ts';
import { convertDisk } from './copy.ts';
import { createDisk, type NewDisk } from './create.ts';
import type { DiskFormat } from './disk.ts';
import { openDisk } from './open.ts';
import { decodeRegions, encodeHeader } from './vhdx/header.ts';
import { HEADER_OFFSETS, Header, LogEntryHeader, REGION_TABLE_OFFSETS, REGION_TABLE_SIZE } from './vhdx/protocol.ts';

const MIB = 2 ** 20;
const SIZE = 11 * MIB + 512 * 7;
const host = { files: nodeDiskFiles, codecs: nodeCodecs };

const qemuImg = findCommand('qemu-img');
const qemuIo = findCommand('qemu-io');
const missing = qemuImg === undefined || qemuIo === undefined;
if (missing) console.warn('skipped: qemu-img and qemu-io (Debian: qemu-utils) are not on the PATH');

let folder = '';
let raw = '';
const content = new Uint8Array(SIZE);
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
  raw = join(folder, 'content.raw');
  for (const [at, length] of [
    [0, 4096],
    [MIB - 512, 1024],
    [3 * MIB, 2 * MIB + 512],
    [SIZE - 512, 512],
  ] as const)
    content.set(pattern(length, at), at);
  // A cluster that compresses.
  content.fill(7, 7 * MIB, 8 * MIB);
  writeFileSync(raw, content);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let serial = 0;
const fresh = (name = 'disk'): string => join(folder, `${name}${serial++}`);

function img(...args: string[]): string {
  return execFileSync(qemuImg!, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function virtualSize(path: string, format: string): number {
  return JSON.parse(img('info', '-f', format, '--output', 'json', path))['virtual-size'];
}

async function read(path: string, format: DiskFormat): Promise<Uint8Array> {
  const disk = await openDisk(host, path, { format });
  try {
    return await readAll(disk);
  } finally {
    await disk.close();
  }
}

const QEMU_NAME: Readonly<Record<DiskFormat, string>> = {
  vhdx: 'vhdx',
  vhd: 'vpc',
  raw: 'raw',
  iso: 'raw',
  qcow2: 'qcow2',
};

describe('qemu-img', { skip: missing }, () => {
  it.each<[string, DiskFormat, string[]]>([
    ['raw', 'raw', []],
    ['a dynamic VHDX', 'vhdx', ['-o', 'subformat=dynamic']],
    ['a fixed VHDX', 'vhdx', ['-o', 'subformat=fixed']],
    ['a VHDX with small blocks', 'vhdx', ['-o', 'block_size=1M,log_size=2M']],
    ['a dynamic VHD', 'vhd', ['-o', 'subformat=dynamic,force_size=on']],
    ['a fixed VHD', 'vhd', ['-o', 'subformat=fixed,force_size=on']],
    ['qcow2', 'qcow2', []],
    ['qcow2 of version 2', 'qcow2', ['-o', 'compat=0.10']],
    ['compressed qcow2', 'qcow2', ['-c']],
    ['qcow2 compressed with Zstandard', 'qcow2', ['-c', '-o', 'compression_type=zstd']],
    ['qcow2 with clusters of 512 bytes', 'qcow2', ['-o', 'cluster_size=512']],
    ['compressed qcow2 with clusters of 2 MiB', 'qcow2', ['-c', '-o', 'cluster_size=2M']],
  ])('writes %s that we read', async (_, format, options) => {
    const path = fresh();
    img('convert', '-f', 'raw', '-O', QEMU_NAME[format], ...options, raw, path);
    expectSame(await read(path, format), content);
  });

  it.each<[string, NewDisk]>([
    ['raw', { format: 'raw' }],
    ['a dynamic VHDX', { format: 'vhdx', type: 'dynamic' }],
    ['a dynamic VHDX with small blocks', { format: 'vhdx', blockSize: MIB }],
    ['a fixed VHDX', { format: 'vhdx', type: 'fixed', blockSize: MIB }],
    ['a dynamic VHD', { format: 'vhd' }],
    ['a dynamic VHD with small blocks', { format: 'vhd', blockSize: MIB / 2 }],
    ['a fixed VHD', { format: 'vhd', type: 'fixed' }],
  ])('reads %s of ours', async (_, wanted) => {
    const path = fresh();
    await convertDisk(host, { from: { path: raw, format: 'raw' }, to: { ...wanted, path } });
    const name = QEMU_NAME[wanted.format];
    // A VHD of QEMU's rounds to whole tracks, ours says its exact size.
    expect(img('compare', '-f', 'raw', '-F', name, raw, path)).toContain('Images are identical');
    expect(virtualSize(path, name)).toBe(SIZE);
    if (wanted.format === 'vhdx') expect(img('check', '-f', name, path)).toContain('No errors were found');

    // And what QEMU then writes into it, we read.
    execFileSync(qemuIo!, ['-f', name, '-c', 'write -P 0x5a 5M 3M', '-c', 'write -P 0x33 512 512', path]);
    const changed = content
      .slice()
      .fill(0x5a, 5 * MIB, 8 * MIB)
      .fill(0x33, 512, 1024);
    expectSame(await read(path, wanted.format), changed);
  });

  it('reads what random writes of ours leave', async () => {
    for (const wanted of [
      { format: 'vhdx', blockSize: MIB },
      { format: 'vhd', blockSize: MIB },
    ] as const) {
      const path = fresh();
      await createDisk(host, path, { ...wanted, size: SIZE });
      const disk = await openDisk(host, path, { format: wanted.format, write: true });
      const model = new Uint8Array(SIZE);
      for (let i = 0; i < 60; i++) {
        const at = ((i * 7919) % (SIZE / 512)) * 512;
        const length = Math.min(SIZE - at, (1 + ((i * 31) % 3000)) * 512);
        if (i % 5 === 4) {
          await disk.discard(at, length);
          model.fill(0, at, at + length);
        } else {
          await disk.write(at, pattern(length, i));
          model.set(pattern(length, i), at);
        }
        if (i % 16 === 0) await disk.flush();
      }
      await disk.close();
      const plain = fresh();
      writeFileSync(plain, model);
      expect(img('compare', '-f', 'raw', '-F', QEMU_NAME[wanted.format], plain, path)).toContain('identical');
    }
  });

  it('replays a log of ours, and we replay one of QEMU', async () => {
    const path = fresh();
    await createDisk(host, path, { format: 'vhdx', blockSize: MIB, size: SIZE });
    const disk = await openDisk(host, path, { format: 'vhdx', write: true });
    await disk.write(0, content.subarray(0, 4 * MIB));
    await disk.flush();
    await disk.write(4 * MIB, content.subarray(4 * MIB));
    await disk.flush();
    // As a power cut leaves it: the log is in use.
    const cut = fresh();
    copyFileSync(path, cut);
    await disk.close();
    // Twice: read-only it must not be replayed, but seen.
    expectSame(await read(cut, 'vhdx'), content);
    const mended = fresh();
    copyFileSync(cut, mended);
    expect(spawnSync(qemuImg!, ['check', '-r', 'all', '-f', 'vhdx', mended]).status).toBe(0);
    expect(img('compare', '-f', 'raw', '-F', 'vhdx', raw, mended)).toContain('identical');

    const theirs = fresh();
    img('create', '-f', 'vhdx', '-o', 'block_size=1M', theirs, String(SIZE));
    const commands = ['write -P 0x5a 1M 1M', 'flush', 'abort'];
    spawnSync(qemuIo!, ['-f', 'vhdx', ...commands.flatMap((command) => ['-c', command]), theirs]);
    // QEMU writes a log entry, then a header that names no log. As if it had been cut off before that, and before the
    // block allocation table was written:
    const bytes = readFileSync(theirs);
    const { logOffset } = Header.read(bytes, HEADER_OFFSETS[0]);
    const { logGuid } = LogEntryHeader.read(bytes, Number(logOffset));
    for (const at of HEADER_OFFSETS) bytes.set(encodeHeader({ ...Header.read(bytes, at), logGuid }), at);
    const regions = decodeRegions(bytes.subarray(REGION_TABLE_OFFSETS[0], REGION_TABLE_OFFSETS[0] + REGION_TABLE_SIZE));
    if (typeof regions === 'string') throw new Error(regions);
    bytes.fill(0, regions.bat.offset, regions.bat.offset + 4096);
    writeFileSync(theirs, bytes);
    expect(spawnSync(qemuImg!, ['compare', '-f', 'raw', '-F', 'vhdx', raw, theirs]).stderr.toString()).toContain('log');
    const expected = new Uint8Array(SIZE).fill(0x5a, MIB, 2 * MIB);
    expectSame(await read(theirs, 'vhdx'), expected);
    const reopened = await openDisk(host, theirs, { format: 'vhdx', write: true });
    expectSame(await readAll(reopened), expected);
    await reopened.close();
    expect(img('check', '-f', 'vhdx', theirs)).toContain('No errors were found');
  });

  it('makes qcow2 over a backing file, which the policy lets through or not', async () => {
    const inner = fresh('base');
    copyFileSync(raw, inner);
    const path = fresh();
    img('create', '-f', 'qcow2', '-b', inner, '-F', 'raw', path);
    execFileSync(qemuIo!, ['-f', 'qcow2', '-c', 'write -P 0x5a 1M 64k', '-c', 'write -z 3M 128k', path]);
    const expected = content
      .slice()
      .fill(0x5a, MIB, MIB + 65536)
      .fill(0, 3 * MIB, 3 * MIB + 131072);
    expectSame(await read(path, 'qcow2'), expected);
    // A snapshot inside the file is not what is read.
    img('snapshot', '-c', 'before', path);
    execFileSync(qemuIo!, ['-f', 'qcow2', '-c', 'write -P 0x77 2M 64k', path]);
    expected.fill(0x77, 2 * MIB, 2 * MIB + 65536);
    expectSame(await read(path, 'qcow2'), expected);

    const outside = mkdtempSync(join(tmpdir(), 'viridian-test-'));
    try {
      const far = join(outside, 'far.raw');
      copyFileSync(raw, far);
      const over = fresh();
      img('create', '-f', 'qcow2', '-b', far, '-F', 'raw', over);
      await expect(openDisk(host, over, { format: 'qcow2' })).rejects.toMatchObject({
        code: 'denied',
        trouble: 'parent',
      });
      const disk = await openDisk(host, over, { format: 'qcow2', allowParent: [far] });
      expectSame(await readAll(disk), content);
      await disk.close();
      // Made by old versions of qemu-img: no format is said, and none is guessed.
      const silent = fresh();
      img('create', '-f', 'qcow2', '-u', '-b', inner, '-F', 'raw', silent, String(SIZE));
      const bytes = readFileSync(silent);
      const at = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
      bytes.writeUInt32BE(0x12345678, at);
      writeFileSync(silent, bytes);
      await expect(openDisk(host, silent, { format: 'qcow2' })).rejects.toMatchObject({ trouble: 'parent' });
    } finally {
      rmSync(outside, { recursive: true, force: true });
    }
  });

  it('grows and shrinks with us', async () => {
    for (const format of ['vhdx', 'vhd'] as const) {
      const path = fresh();
      await convertDisk(host, { from: { path: raw, format: 'raw' }, to: { format, blockSize: MIB, path } });
      const disk = await openDisk(host, path, { format, write: true });
      await disk.resize(40 * MIB);
      await disk.resize(5 * MIB);
      await disk.resize(20 * MIB);
      await disk.close();
      const plain = fresh();
      writeFileSync(plain, content.subarray(0, 5 * MIB));
      truncateSync(plain, 20 * MIB);
      expect(img('compare', '-f', 'raw', '-F', QEMU_NAME[format], plain, path)).toContain('identical');
      expect(virtualSize(path, QEMU_NAME[format])).toBe(20 * MIB);
    }
  });
});
