// The differential comparison as a command: `npm run oracle -- --help`.

import { parseArgs } from 'node:util';
import { EXCUSES, type Excuse, NOT_LOOKED_AT } from './compare.ts';
import { Comparison, type Divergence } from './comparison.ts';
import { addFixture } from './fixtures.ts';
import { cellName, LEFT_OUT } from './forms.ts';
import type { Mode } from './native/protocol.ts';
import { NativeProcessor } from './native/runner.ts';
import { describeDivergence, mnemonicOf } from './report.ts';

const HELP = `Compares Viridian's interpreter with this host's processor on random instructions.

  --count N        instructions to run (default 200000)
  --seed S         seed of the cases (default 1)
  --form PATTERN   only mnemonics that match: a name (ADDPD), several (ADDPD,SUBPD) or a pattern (PADD*)
  --length L       cases of 2 to L instructions instead of one
  --mode M         64, 32 or 16 only
  --show N         divergences to print for each mnemonic (default 2)
  --least R        report forms with fewer than R runs (default 1000 when every form could have them, else 1)
  --engine E       interpreter, or translator: each case interpreted first and then run translated
  --fixtures       add the first divergence of each mnemonic to tests/oracle/fixtures
`;

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '200000' },
    seed: { type: 'string', default: '1' },
    form: { type: 'string' },
    length: { type: 'string', default: '1' },
    mode: { type: 'string' },
    show: { type: 'string', default: '2' },
    least: { type: 'string' },
    engine: { type: 'string', default: 'interpreter' },
    fixtures: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

function pattern(text: string | undefined): RegExp | undefined {
  if (text === undefined) return undefined;
  const names = text.split(',').map((name) => name.replaceAll('*', '.*'));
  return new RegExp(`^(${names.join('|')})$`, 'i');
}

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const native = await NativeProcessor.start();
  if (!native.available) {
    process.stderr.write(`oracle: ${native.reason}\n`);
    return 2;
  }
  try {
    return await runComparison(native);
  } finally {
    native.close();
  }
}

async function runComparison(native: NativeProcessor): Promise<number> {
  const count = Number(values.count);
  const comparison = await Comparison.start({
    native,
    seed: Number(values.seed),
    translate: values.engine === 'translator',
    length: Number(values.length),
    mnemonic: pattern(values.form),
    modes: values.mode ? [Number(values.mode) as Mode] : undefined,
  });
  if (comparison.cells.length === 0) {
    const reasons = [...new Set(comparison.excluded.values())].join(', ');
    process.stderr.write(`oracle: no form to compare matches ${values.form ?? ''} ${reasons}\n`);
    return 2;
  }
  const show = Number(values.show);
  const tally = new Map<string, number>();
  const onDivergence = (d: Divergence): void => {
    const name = mnemonicOf(d);
    const n = (tally.get(name) ?? 0) + 1;
    tally.set(name, n);
    if (n <= show) process.stdout.write(`${describeDivergence(d)}\n`);
    if (n === 1 && values.fixtures) addFixture(d);
  };
  const started = performance.now();
  let told = started;
  await comparison.run(count, onDivergence, () => {
    const now = performance.now();
    if (now - told < 1000) return;
    told = now;
    const rate = Math.round(comparison.instructions / ((now - started) / 1000));
    process.stderr.write(
      `\r${comparison.instructions} of ${count} instructions, ${rate}/s, ${total(tally)} divergences `,
    );
  });
  if (told !== started) process.stderr.write('\n');
  summarize(comparison, tally);
  return total(tally) > 0 ? 1 : 0;
}

function total(tally: ReadonlyMap<string, number>): number {
  return [...tally.values()].reduce((a, b) => a + b, 0);
}

function summarize(comparison: Comparison, tally: ReadonlyMap<string, number>): void {
  const out = (line: string) => process.stdout.write(`${line}\n`);
  const reasons = new Map<string, Set<string>>();
  for (const [form, reason] of comparison.excluded)
    reasons.set(reason, (reasons.get(reason) ?? new Set<string>()).add(form.mnemonic));
  for (const [reason, names] of reasons) out(`not compared (${reason}): ${[...names].join(' ')}`);
  for (const [reason, n] of comparison.inconclusive) out(`inconclusive (${reason}): ${n} cases`);
  for (const { mnemonic, mode, size, reason } of LEFT_OUT)
    out(
      `left out: ${[mnemonic.source, size && `${size * 8}-bit`, mode && `in ${mode.join()}-bit mode`].filter(Boolean).join(' ')} (${reason})`,
    );
  for (const [what, why] of NOT_LOOKED_AT) out(`not looked at: ${what} (${why})`);
  for (const [name, [what, why]] of Object.entries(EXCUSES))
    out(`excused ${comparison.excused.get(name as Excuse) ?? 0} times: ${what} (${why})`);
  const average = comparison.instructions / comparison.cells.length;
  const least = Number(values.least ?? (average >= 1100 ? 1000 : 1));
  const missing = comparison.cells.filter((_, i) => (comparison.runs[i] as number) < least);
  for (const cell of missing.slice(0, 40)) out(`fewer than ${least} runs: ${cellName(cell)}`);
  for (const [name, n] of [...tally].sort((a, b) => b[1] - a[1])) out(`${String(n).padStart(8)} divergences: ${name}`);
  const covered = comparison.cells.length - missing.length;
  const fewest = comparison.runs.reduce((a, b) => Math.min(a, b));
  out(`forms covered ${covered} / ${comparison.cells.length} (at least ${least} runs of each; fewest runs ${fewest})`);
  if (values.engine === 'translator') out(`cases run translated: ${comparison.translated}`);
  out(`${comparison.instructions} instructions, ${total(tally)} divergences`);
}

process.exitCode = await main();
