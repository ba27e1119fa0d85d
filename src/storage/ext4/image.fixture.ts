/** File systems for tests, made by mke2fs of a folder, and changed by debugfs: both of e2fsprogs, the format's own tools. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BlockDevice } from '../../contracts/block-device.ts';
import { MemoryContent } from '../../host/memory-files.ts';
import { findCommand } from '../../host/node/command.ts';

const TOOLS = ['mke2fs', 'debugfs'] as const;
const missing = TOOLS.filter((name) => findCommand(name) === undefined);
export const withoutTools = missing.length > 0 ? `${missing.join(', ')} not found` : undefined;

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Bytes as a device, with sectors of 512 bytes or larger. */
export function deviceOf(content: MemoryContent | Uint8Array, sector = 512): BlockDevice {
  const memory = content instanceof MemoryContent ? content : new MemoryContent();
  if (content instanceof Uint8Array) memory.write(0, content);
  const whole = (offset: number, length: number): void => {
    if (offset % sector !== 0 || length % sector !== 0 || offset + length > memory.size)
      throw new Error(`${length} bytes at ${offset} are not on the disk`);
  };
  return {
    size: Math.floor(memory.size / sector) * sector,
    logicalSectorSize: sector,
    physicalSectorSize: 4096,
    writable: true,
    identifier: undefined,
    read: async (offset, into) => {
      whole(offset, into.length);
      memory.read(offset, into);
    },
    write: async (offset, from) => {
      whole(offset, from.length);
      memory.write(offset, from);
    },
    writeZeroes: async (offset, length) => memory.write(offset, new Uint8Array(length)),
    discard: async () => {},
    flush: async () => {},
  };
}

/** A folder of the host's for a file system's content; gone with `dispose`. */
export class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'viridian-ext4-'));
  readonly tree = join(this.folder, 'tree');
  readonly image = join(this.folder, 'image');

  constructor() {
    mkdirSync(this.tree);
  }
  file(path: string, data: Uint8Array | string): void {
    mkdirSync(join(this.tree, path, '..'), { recursive: true });
    writeFileSync(join(this.tree, path), data);
  }
  link(path: string, target: string): void {
    mkdirSync(join(this.tree, path, '..'), { recursive: true });
    symlinkSync(target, join(this.tree, path));
  }
  /** Makes the file system; arguments are mke2fs's. */
  make(size: string, ...args: readonly string[]): void {
    execFileSync(findCommand('mke2fs')!, ['-q', '-F', ...args, '-d', this.tree, this.image, size], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  }
  debugfs(...commands: readonly string[]): string {
    const { stdout, stderr } = spawnSync(findCommand('debugfs')!, ['-w', '-f', '-', this.image], {
      input: `${commands.join('\n')}\n`,
      encoding: 'utf8',
    });
    const wrong = /debugfs: (?!.*\n?$)|not found|Usage|Unknown|failed/i.exec(stderr.replace(/^debugfs \d.*\n/, ''));
    if (wrong) throw new Error(stderr);
    return stdout;
  }
  bytes(): Uint8Array {
    return readFileSync(this.image);
  }
  /** With holes where it is zero, so that copies are cheap. */
  content(): MemoryContent {
    const bytes = this.bytes();
    const content = new MemoryContent();
    for (let at = 0; at < bytes.length; at += 4096) {
      const part = bytes.subarray(at, at + 4096);
      if (part.some((byte) => byte !== 0)) content.write(at, part);
    }
    content.resize(bytes.length);
    return content;
  }
  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Bytes that no two blocks have in common. */
export function pattern(length: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let x = seed;
  for (let i = 0; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
  return new Uint8Array(words.buffer, 0, length);
}
