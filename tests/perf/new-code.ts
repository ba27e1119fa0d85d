/**
 * What a guest that writes new code, runs it until it is translated, and goes on to the next, takes of the host's memory:
 * `node tests/perf/new-code.ts [seconds]`, a minute if nothing is given. Exits with 1 where it is more than BOUND.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { nodeServices } from '../../src/host/node/services.ts';
import { compileInterpreter } from '../../src/hypervisor/interpreter/generate.ts';
import { takeThreads } from '../../src/vmwp/processor-threads.ts';
import { VmWorker } from '../../src/vmwp/worker.ts';
import { assembled, barePlan } from '../fixtures/bare.ts';

const MIB = 2 ** 20;
const MEMORY = 32 * MIB;
/**
 * Of the process, beyond the guest's RAM. Three threads of Node with the interpreter and the translator take 300; the rest is
 * translated code, of which there is no more than 24 MiB of records have blocks for, and what V8 has not collected yet.
 */
export const BOUND = 640 * MIB;

const FIRST = 0x40_0000;
// biome-ignore format: a listing
const WRITER = (end: string) => assembled([
  ['next: mov r15d, 0x400000',            '41 bf 00 00 40 00'],
  ['again: mov eax, r12d',                '44 89 e0'],
  ['shl rax, 8',                          '48 c1 e0 08'],
  ['mov al, 0xb8  ; mov eax, r12d',       'b0 b8'],
  ['mov [r15], rax',                      '49 89 07'],
  ['mov dword [r15+5], ; add rbx, rax',   '41 c7 47 05 48 01 c3 83'],
  ['mov dword [r15+9], ; sub ecx, 1; jnz','41 c7 47 09 e9 01 75 f3'],
  ['mov byte [r15+13], ; ret',            '41 c6 47 0d c3'],
  ['mov ecx, 8000',                       'b9 40 1f 00 00'],
  ['call r15',                            '41 ff d7'],
  ['inc r12d',                            '41 ff c4'],
  ['add r15d, 64',                        '41 83 c7 40'],
  ['cmp r15d, end',                       `41 81 ff ${end}`],
  ['jb again',                            '72 c7'],
  ['jmp next',                            'eb bf'],
]);

export interface NewCode {
  /** Bytes of the process's memory beyond the guest's RAM: at the end of the first second, and the most after that. */
  readonly first: number;
  readonly most: number;
  readonly counters: Readonly<Record<string, number | bigint>>;
  readonly instructions: bigint;
}

/** @param span Bytes over which the code is spread. */
export async function newCode(seconds: number, span: number, tell: (line: string) => void): Promise<NewCode> {
  const end = new Uint8Array(Uint32Array.of(FIRST + span).buffer);
  const text = Array.from(end, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const folder = mkdtempSync(join(tmpdir(), 'viridian-new-code-'));
  using stack = new DisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true }));
  const entry = (name: string): URL => new URL(`../../src/vmwp/${name}.ts`, import.meta.url);
  await using worker = new VmWorker({
    config: { memory: MEMORY, processors: 1, virtualTime: false, testDevice: false, vmbus: false },
    plan: barePlan(WRITER(text)),
    onReboot: 'stop',
    instructionLimit: undefined,
    trace: undefined,
    threads: takeThreads(1),
    interpreter: compileInterpreter(),
    translatorEntry: entry('translator-thread'),
    engine: 'translator',
    host: nodeServices,
    files: nodeDiskFiles,
    translations: { path: join(folder, 'kept'), stored: undefined, close: () => undefined, reopen: () => undefined },
  });
  await worker.prepare();
  worker.start();
  let first = 0;
  let most = 0;
  for (let second = 1; second <= seconds; second++) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const used = residentBytes() - MEMORY;
    if (second === 1) first = used;
    most = Math.max(most, used);
    if (second % 5 === 0) {
      const { counters } = worker.stats();
      tell(
        `${String(second).padStart(4)} s  ${Math.round(used / MIB)} MiB, ${counters['translation.regions']} regions, ${counters['translation.dropped']} dropped`,
      );
    }
  }
  const { counters, instructions } = worker.stats();
  return { first, most, counters, instructions };
}

function residentBytes(): number {
  const status = readFileSync('/proc/self/status', 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const seconds = Number(process.argv[2] ?? 60);
  for (const span of [4096, 16 * MIB]) {
    console.log(`new code over ${span / 1024} KiB:`);
    const { first, most, counters } = await newCode(seconds, span, console.log);
    console.log(
      `beyond the guest's RAM ${Math.round(first / MIB)} MiB after a second, at most ${Math.round(most / MIB)} of ${BOUND / MIB}`,
    );
    console.log(counters);
    if (most > BOUND) process.exitCode = 1;
  }
}
