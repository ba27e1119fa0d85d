/**
 * How much of the host's memory a guest takes beyond its own: `node tests/perf/resident.ts [seconds]` boots Debian's kernel to the
 * shell with `hv run`, as it ships, and lists resident memory there and when the guest has been idle for so long (20 s), less the
 * guest's RAM that is resident.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cachedFiles } from '../../src/cli/quickstart/debian.ts';
import { buildInitramfs } from '../../src/cli/quickstart/initramfs.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { ramBase } from '../../src/hypervisor/memory/layout.ts';

const MIB = 2 ** 20;
const PAGE = 4096;
const MEMORY = 512 * MIB;

interface Mapping {
  readonly start: number;
  readonly size: number;
  readonly name: string;
  readonly resident: number;
}

function mappings(pid: number): Mapping[] {
  const found: { start: number; size: number; name: string; resident: number }[] = [];
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const [, start, end, name] = /^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)$/.exec(line) ?? [];
    if (start !== undefined && end !== undefined) {
      const first = Number.parseInt(start, 16);
      found.push({ start: first, size: Number.parseInt(end, 16) - first, name: name ?? '', resident: 0 });
    }
    const [, kib] = /^Rss:\s+(\d+) kB/.exec(line) ?? [];
    if (kib !== undefined) found.at(-1)!.resident = Number(kib) * 1024;
  }
  return found;
}

/** Bytes of [start, start + size) that are resident: bit 63 of each page's entry in /proc/PID/pagemap. */
function residentIn(pid: number, start: number, size: number): number {
  const entries = new Uint8Array((size / PAGE) * 8);
  const file = openSync(`/proc/${pid}/pagemap`, 'r');
  readSync(file, entries, 0, entries.length, (start / PAGE) * 8);
  closeSync(file);
  let pages = 0;
  for (let i = 7; i < entries.length; i += 8) if ((entries[i] as number) & 0x80) pages++;
  return pages * PAGE;
}

function show(pid: number, when: string): void {
  const all = mappings(pid);
  // The partition's memory: the processors' areas, and the guest's RAM behind them.
  const partition = all.find(
    ({ size, name }) => name === '' && size >= ramBase(1) + MEMORY && size < ramBase(1) + MEMORY + 64 * MIB,
  );
  if (!partition) throw new Error('no mapping is as large as the guest');
  const total = all.reduce((sum, { resident }) => sum + resident, 0);
  const guest = residentIn(pid, partition.start + ramBase(1), MEMORY);
  const program = all.reduce((sum, { name, resident }) => sum + (name.startsWith('/') ? resident : 0), 0);
  const mib = (bytes: number): string => `${Math.round(bytes / MIB)} MiB`;
  console.log(
    `${when}: ${mib(total - guest)} beyond the guest's ${mib(guest)}, of which ${mib(program)} are Node's program and libraries, ${mib(partition.resident - guest)} tables of the processor`,
  );
}

const { positionals } = parseArgs({ allowPositionals: true });
const seconds = Number(positionals[0] ?? 20);
const files = cachedFiles(cacheFolder());
if (!files) throw new Error("Debian's kernel is not there yet: run 'bin/hv quickstart' once");
execFileSync(process.execPath, [fileURLToPath(new URL('../../tools/build.ts', import.meta.url))], {
  stdio: ['ignore', 2, 2],
});
const folder = mkdtempSync(join(tmpdir(), 'viridian-resident-'));
try {
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, buildInitramfs({ busybox: readFileSync(files.busybox.path), files: {} }));
  const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
  const machine = [
    '--kernel',
    files.kernel.path,
    '--initrd',
    initrd,
    '--append',
    'console=ttyS0 quiet',
    '--memory',
    '512M',
  ];
  const hv = spawn(process.execPath, [main, 'run', ...machine], { stdio: ['pipe', 'pipe', 'inherit'] });
  const prompt = Promise.withResolvers<void>();
  let text = '';
  hv.stdout.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1');
    if (text.includes('viridian:')) prompt.resolve();
  });
  hv.on('exit', () => prompt.reject(new Error('the guest ended before its prompt')));
  await prompt.promise;
  show(hv.pid!, 'at the shell');
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  show(hv.pid!, `after ${seconds} s`);
  hv.removeAllListeners('exit');
  hv.kill();
} finally {
  rmSync(folder, { recursive: true });
}
