// One command for all fuzzers: `npm run fuzz -- --target NAME --count N --seed S`. A target is one line in TARGETS.

import { Session } from 'node:inspector/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import type { FuzzTarget } from './target.ts';

const TARGETS: Readonly<Record<string, () => Promise<FuzzTarget>>> = {
  vhdx: async () => (await import('./disks.ts')).diskTarget('vhdx'),
  vhd: async () => (await import('./disks.ts')).diskTarget('vhd'),
  qcow2: async () => (await import('./disks.ts')).diskTarget('qcow2'),
  ext4: async () => (await import('./ext4.ts')).target,
  images: async () => ({ about: 'kernel images', run: (await import('./files.ts')).fuzzImage }),
  states: async () => (await import('./files.ts')).stateTarget,
  'bus-states': async () => (await import('./states.ts')).target,
  vmbus: async () => (await import('./vmbus.ts')).target,
  ring: async () => (await import('./ring.ts')).target,
  storvsp: async () => (await import('./storvsp.ts')).target,
  netvsp: async () => (await import('./netvsp.ts')).target,
  hvsocket: async () => (await import('./hvsocket.ts')).target,
  'nat-arp': async () => (await import('./network.ts')).arpTarget,
  'nat-dhcp': async () => (await import('./network.ts')).dhcpTarget,
  'nat-dns': async () => (await import('./network.ts')).dnsTarget,
  'nat-udp': async () => (await import('./network.ts')).udpTarget,
  'nat-tcp': async () => (await import('./tcp.ts')).tcpTarget,
  switch: async () => (await import('./switch.ts')).switchTarget,
  'switch-port': async () => (await import('./switch-port.ts')).switchPortTarget,
  ic: async () => (await import('./ic.ts')).target,
  hypercalls: async () => (await import('./hypercalls.ts')).target,
};

/** Milliseconds of processor time. A case that takes more is a failure: a file or a guest must not hold its host up. */
const SLOW = 5000;
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

interface Coverage {
  readonly file: string;
  readonly branches: number;
  readonly reached: number;
}

/** V8's block coverage of the target's files: each block that can be entered on its own counts as a branch. */
async function coverage(session: Session, covers: readonly string[]): Promise<Coverage[]> {
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const rows: Coverage[] = [];
  for (const script of result) {
    const file = script.url.startsWith(pathToFileURL(ROOT).href) ? fileURLToPath(script.url).slice(ROOT.length) : '';
    if (!covers.some((prefix) => file.startsWith(prefix)) || /\.(test|fixture)\.ts$/.test(file)) continue;
    const ranges = script.functions.flatMap((each) => each.ranges);
    rows.push({ file, branches: ranges.length, reached: ranges.filter((range) => range.count > 0).length });
  }
  return rows.sort((a, b) => a.file.localeCompare(b.file));
}

function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** To ask for the processor's time costs as much as many a case: it is read once for so many. */
const TOGETHER = 64;
/** Milliseconds between two lines that say how far it is. */
const TELL_EVERY = 60_000;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string' },
      count: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      coverage: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const open = values.target === undefined ? undefined : TARGETS[values.target];
  if (values.help || open === undefined) {
    const lines = await Promise.all(
      Object.entries(TARGETS).map(async ([name, target]) => `  ${name.padEnd(10)} ${(await target()).about}\n`),
    );
    process.stdout.write(
      `npm run fuzz -- --target NAME [--count N] [--seed S] [--coverage]\n\nTargets:\n${lines.join('')}`,
    );
    return values.help ? 0 : 2;
  }
  const session = new Session();
  if (values.coverage) {
    session.connect();
    await session.post('Profiler.enable');
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }
  const target = await open();
  const outcomes = new Map<string, number>();
  const kinds = new Map<string, number>();
  let slowest = 0;
  let most = 0;
  const [first, count] = [Number(values.seed), Number(values.count)];
  let before = 0;
  let told = performance.now();
  for (let seed = first; seed < first + count; seed++) {
    if ((seed - first) % TOGETHER === 0) before = cpuTime();
    const start = performance.now();
    try {
      const outcome = await target.run(seed);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      // A process that stands still takes time that is nobody's.
      const time = performance.now() - start > SLOW ? cpuTime() - before : performance.now() - start;
      slowest = Math.max(slowest, time);
      if (time > SLOW) throw new Error(`took ${Math.round(time)} ms`);
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      const kind = text.replace(/0x[0-9a-f]+|\d+/g, '#').slice(0, 300);
      if (!kinds.has(kind)) process.stderr.write(`seed ${seed}: ${text}\n`);
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    }
    if (seed % TOGETHER !== 0) continue;
    most = Math.max(most, process.memoryUsage.rss());
    if (performance.now() - told < TELL_EVERY) continue;
    told = performance.now();
    process.stderr.write(`${values.target}: ${seed + 1 - first} of ${count}\n`);
  }
  const failed = [...kinds.values()].reduce((a, b) => a + b, 0);
  const summary = [...outcomes].map(([word, n]) => `${n} ${word}`).join(', ');
  process.stdout.write(
    `${values.target}: ${count} cases from seed ${first}: ${summary}, ${failed} failed; slowest ${Math.round(slowest)} ms, at most ${Math.round(most / 2 ** 20)} MiB resident\n`,
  );
  if (values.coverage && target.covers !== undefined) {
    const rows = await coverage(session, target.covers);
    for (const { file, branches, reached } of rows)
      process.stdout.write(`${String(Math.round((reached / branches) * 100)).padStart(4)} %  ${file}\n`);
    const [all, hit] = [rows.reduce((n, r) => n + r.branches, 0), rows.reduce((n, r) => n + r.reached, 0)];
    process.stdout.write(`${((hit / all) * 100).toFixed(1).padStart(6)} % of ${all} branches\n`);
  }
  return failed === 0 ? 0 : 1;
}

if (import.meta.main) process.exit(await main());
