/**
 * A service on a file system of its own, which is full when a test wants it: run in a mount namespace (`unshare -rm`), with a folder to
 * mount on and options as JSON. At a step, and when asked to "fill", the rest of the file system is taken; "free" gives it back. A
 * request is a line of JSON, [name, ...arguments], and so is the answer: disks are looked at from in here.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { checkDisk, createDisk, openDisk } from '../storage/index.ts';
import { hostFacts } from './host-facts.ts';
import { Service, type ServiceOptions } from './service.ts';
import { storageHost } from './transfer.ts';

const [, , folder, size, given] = process.argv;
const options = JSON.parse(given!) as ServiceOptions;
let step: string | undefined;
execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size!}`, 'tmpfs', folder!]);
mkdirSync(join(folder!, 'data'));
const filler = join(folder!, 'filler');

function fill(): void {
  const fd = openSync(filler, 'a');
  for (let bytes = 2 ** 20; bytes >= 1; ) {
    try {
      writeSync(fd, new Uint8Array(bytes));
    } catch {
      bytes /= 16;
    }
  }
  closeSync(fd);
}

const start = async (): Promise<Service> =>
  (
    await Service.start({
      ...options,
      facts: { ...hostFacts(), architecture: 'x64', memory: 64 * 2 ** 30, flags: new Set(['nx']) },
      step: (name) => {
        if (name === step) fill();
      },
    })
  ).service;

const BLOCK = 2 ** 20;
interface DiskOf {
  readonly file: string;
  readonly allowParent?: string[];
}

const REQUESTS: Readonly<Record<string, (...args: never[]) => unknown>> = {
  fill,
  /** At this step of the service's work. */
  fillAt: (name: string) => {
    step = name;
  },
  free: () => {
    step = undefined;
    rmSync(filler, { force: true });
  },
  restart: async () => {
    await service.stop();
    service = await start();
  },
  /** A kernel and a disk. */
  files: async () => {
    writeFileSync(join(folder!, 'kernel'), 'not really');
    mkdirSync(join(folder!, 'disks'));
    await createDisk(storageHost, join(folder!, 'disks/vm.vhdx'), {
      format: 'vhdx',
      size: 16 * BLOCK,
      blockSize: BLOCK,
    });
  },
  list: () => readdirSync(folder!, { recursive: true, encoding: 'utf8' }).sort(),
  /** As a guest would: a letter at the start of each block from one on. */
  write: async (disk: DiskOf, from: number, text: string) => {
    const opened = await openDisk(storageHost, disk.file, { ...disk, format: 'vhdx', write: true });
    for (const [i, letter] of text.split('').entries())
      await opened.write((from + i) * BLOCK, new Uint8Array(65536).fill(letter.charCodeAt(0)));
    await opened.close();
  },
  read: async (disk: DiskOf) => {
    const opened = await openDisk(storageHost, disk.file, { ...disk, format: 'vhdx' });
    let text = '';
    for (let block = 0; block < 8; block++) {
      const bytes = new Uint8Array(65536);
      await opened.read(block * BLOCK, bytes);
      text += bytes.some((byte) => byte !== bytes[0]) ? '?' : bytes[0] === 0 ? '.' : String.fromCharCode(bytes[0]!);
    }
    await opened.close();
    return text;
  },
  check: async () => {
    const names = readdirSync(folder!, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.vhdx'));
    const allowParent = names.map((name) => join(folder!, name));
    const reports = allowParent.map(
      async (file) => (await checkDisk(storageHost, file, 'vhdx', { allowParent })).findings,
    );
    // Room that a write has left unused is no fault.
    return (await Promise.all(reports)).flat().filter(({ kind }) => kind !== 'note');
  },
  end: async () => {
    for (const machine of service.management.machines) await machine.turnOff().catch(() => {});
    await service.stop();
    process.exit(0);
  },
};
let service = await start();
process.stdout.write('"ready"\n');
for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line) as [string, ...never[]];
  process.stdout.write(`${JSON.stringify((await REQUESTS[name]!(...args)) ?? null)}\n`);
}
