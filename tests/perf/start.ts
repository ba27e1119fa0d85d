/**
 * How long a user waits for the first instruction: from starting `hv` to the byte on the console that a multiboot kernel writes
 * first of all. What is measured is the package as it ships, from its second start on: the first one compiles its JavaScript.
 * Run: node tests/perf/start.ts [runs]
 */
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const LOAD = 0x10_0000;

/** Writes '!' to COM1, then ends the run through the test device. Multiboot 1, addresses in the header (3.1.3). */
function kernel(): Uint8Array {
  const code = [0x66, 0xba, 0xf8, 0x03, 0xb0, 0x21, 0xee, 0xb0, 0x00, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];
  const [magic, flags] = [0x1bad_b002, 0x1_0000];
  const end = LOAD + 32 + code.length;
  const header = [magic, flags, -(magic + flags), LOAD, LOAD, end, end, LOAD + 32];
  return Uint8Array.from([...new Uint8Array(Int32Array.from(header).buffer), ...code]);
}

/** Milliseconds to the first byte on stdout. */
function once(command: string, image: string, environment: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const args = ['run', '--kernel', image, '--test-device'];
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], env: environment });
    let first: number | undefined;
    child.stdout.on('data', (bytes: Buffer) => {
      if (bytes.includes('!')) first ??= performance.now() - started;
    });
    child.on('error', reject);
    child.on('close', () => {
      if (first === undefined) reject(new Error('the kernel has written nothing'));
      else resolve(first);
    });
  });
}

const runs = Number(process.argv[2] ?? 10);
execFileSync(process.execPath, [join(ROOT, 'tools/build.ts')], { stdio: ['ignore', 2, 2] });
const folder = mkdtempSync(join(tmpdir(), 'viridian-start-'));
try {
  for (const part of ['bin', 'dist', 'package.json']) cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  const image = join(folder, 'kernel');
  writeFileSync(image, kernel());
  const environment = { ...process.env, NODE_COMPILE_CACHE: join(folder, 'compiled') };
  const times: number[] = [];
  const cold = await once(join(folder, 'bin/hv'), image, environment);
  for (let run = 0; run < runs; run++) times.push(await once(join(folder, 'bin/hv'), image, environment));
  times.sort((a, b) => a - b);
  const show = (ms: number | undefined): string => `${(ms ?? 0).toFixed(0)} ms`;
  console.log(
    `hv to the first instruction: ${show(times[times.length >> 1])} (median of ${runs}; ${show(times[0])} to ${show(times.at(-1))}), first start ${show(cold)}`,
  );
} finally {
  rmSync(folder, { recursive: true });
}
