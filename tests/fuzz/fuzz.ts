// `npm run fuzz -- --target NAME --count N --seed S`: runs a fuzzer, says each kind of failure once with its seed, and
// how much of the code under test it has reached.

import { Session } from 'node:inspector/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { FuzzTarget } from './target.ts';

/** Fuzzers by name: each is a file that exports `target`. */
const TARGETS: Readonly<Record<string, () => Promise<{ readonly target: FuzzTarget }>>> = {
  vmbus: () => import('./vmbus.ts'),
  ring: () => import('./ring.ts'),
  ic: () => import('./ic.ts'),
};

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FAILURES = 10;

/** V8's block coverage: of everything that can be executed or not, how much was. */
async function coverage(
  session: Session,
  sources: readonly string[],
): Promise<[path: string, hit: number, all: number][]> {
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const rows: [string, number, number][] = [];
  for (const script of result) {
    const path = script.url.startsWith('file:') ? fileURLToPath(script.url).slice(ROOT.length) : '';
    if (!sources.some((source) => (source.endsWith('/') ? path.startsWith(source) : path === source))) continue;
    if (/\.(test|fixture)\.ts$/.test(path)) continue;
    const ranges = script.functions.flatMap((f) => f.ranges);
    rows.push([path, ranges.filter((range) => range.count > 0).length, ranges.length]);
  }
  return rows.sort((a, b) => a[0].localeCompare(b[0]));
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string', default: '' },
      count: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      help: { type: 'boolean', default: false },
    },
  });
  const load = TARGETS[values.target];
  if (values.help || !load) {
    process.stderr.write(
      `npm run fuzz -- --target ${Object.keys(TARGETS).join('|')} [--count N] [--seed S]\n\n  --count N  cases (default 10000)\n  --seed S   of the first one (default 1)\n`,
    );
    return values.help ? 0 : 2;
  }
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  const { target } = await load();
  const first = Number(values.seed);
  const end = first + Number(values.count);
  const kinds = new Map<string, number>();
  const started = performance.now();
  let seed = first;
  for (; seed < end && kinds.size < FAILURES; seed++) {
    if (seed === first || seed % target.group === 0) target.reset(seed - (seed % target.group));
    try {
      await target.run(seed);
    } catch (error) {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      const kind = text.replace(/0x[0-9a-f]+|\d+/g, '#').slice(0, 200);
      if (!kinds.has(kind)) process.stderr.write(`seed ${seed}: ${text}\n  ${target.log.join('\n  ')}\n`);
      kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      target.reset(seed);
    }
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  process.stdout.write(`${target.title}: ${seed - first} cases in ${seconds} s, ${kinds.size} kinds of failure\n`);
  let [allHit, all] = [0, 0];
  for (const [path, hit, count] of await coverage(session, target.sources)) {
    process.stdout.write(`  ${path} ${hit} of ${count} branches\n`);
    allHit += hit;
    all += count;
  }
  process.stdout.write(`${all === 0 ? 0 : Math.round((allHit / all) * 100)} % of ${all} branches\n`);
  return kinds.size === 0 ? 0 : 1;
}

process.exit(await main());
