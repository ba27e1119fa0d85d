/** Disks of VMs, for tests of checkpoints: as a guest would write and read them. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Vm } from '../client/index.ts';
import { createDisk, openDisk } from '../storage/index.ts';
import { type TestHost, until } from './testing.fixture.ts';
import { storageHost } from './transfer.ts';

export const MIB = 2 ** 20;
const BLOCK = 64 * 1024;

export async function newDisk(file: string): Promise<string> {
  await createDisk(storageHost, file, { format: 'vhdx', size: 16 * MIB, blockSize: MIB });
  return file;
}

export interface DiskOf {
  readonly file: string;
  readonly allowParent?: string[] | undefined;
}

/** As the guest would: fills a block with a letter. */
export async function fill({ file, allowParent }: DiskOf, block: number, letter: string): Promise<void> {
  const disk = await openDisk(storageHost, file, { format: 'vhdx', write: true, allowParent });
  await disk.write(block * BLOCK, new Uint8Array(BLOCK).fill(letter.charCodeAt(0)));
  await disk.close();
}

/** The letters of the first blocks; '.' is zero. */
export async function letters({ file, allowParent }: DiskOf): Promise<string> {
  const disk = await openDisk(storageHost, file, { format: 'vhdx', allowParent });
  let text = '';
  for (let block = 0; block < 6; block++) {
    const bytes = new Uint8Array(BLOCK);
    await disk.read(block * BLOCK, bytes);
    expect(bytes.every((byte) => byte === bytes[0])).toBe(true);
    text += bytes[0] === 0 ? '.' : String.fromCharCode(bytes[0]!);
  }
  await disk.close();
  return text;
}

export async function active(vm: Vm): Promise<DiskOf> {
  return (await vm.refresh()).configuration.disks[0]!;
}

export async function typed(vm: Vm, text: string, answer: string): Promise<string> {
  await using console = await vm.console({ history: false });
  console.write(text);
  return await until(console, answer);
}

export async function vmWithDisk(test: TestHost, name: string): Promise<{ readonly vm: Vm; readonly file: string }> {
  const file = await newDisk(join(test.folder, `${name}.vhdx`));
  return { vm: await test.vm(name, { disks: [{ slot: 0, file, format: 'vhdx' }] }), file };
}

export function filesOf(test: TestHost, vm: Vm): string[] {
  const folder = join(test.folder, 'data/vms', vm.id);
  const all = existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];
  return all.filter((name) => /\.\w+$/.test(name)).sort();
}
