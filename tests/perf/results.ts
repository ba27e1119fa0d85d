/** Rounds of measurements, their medians, and the table. */
import type { Measurement } from './markers.ts';

/** One workload in one round; `theirs` is missing where there is no QEMU. */
export interface Sample {
  readonly ours: Measurement;
  readonly theirs: Measurement | undefined;
}

export interface Result {
  readonly name: string;
  readonly about: string;
  readonly rounds: number;
  readonly ours: number;
  readonly theirs: number | undefined;
  /** Median of the rounds' ratios: what disturbs the machine disturbs both halves of a round. */
  readonly ratio: number | undefined;
  readonly instructions: number | undefined;
  readonly mips: number | undefined;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) throw new RangeError('median of nothing');
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function summarize(name: string, about: string, samples: readonly Sample[]): Result {
  const ours = median(samples.map((s) => s.ours.seconds));
  const paired = samples.filter((s) => s.theirs !== undefined);
  const counted = samples.flatMap((s) => (s.ours.instructions === undefined ? [] : [s.ours.instructions]));
  const instructions = counted.length === 0 ? undefined : median(counted);
  return {
    name,
    about,
    ours,
    instructions,
    rounds: samples.length,
    theirs: paired.length === 0 ? undefined : median(paired.map((s) => s.theirs!.seconds)),
    ratio: paired.length === 0 ? undefined : median(paired.map((s) => s.ours.seconds / s.theirs!.seconds)),
    mips: instructions === undefined ? undefined : instructions / ours / 1e6,
  };
}

/** The two machines, and the rounds, must agree on what a workload prints. */
export function checksumTrouble(name: string, samples: readonly Sample[]): string | undefined {
  const seen = new Set(samples.flatMap((s) => [s.ours.checksum, ...(s.theirs ? [s.theirs.checksum] : [])]));
  if (seen.size <= 1) return undefined;
  const pairs = samples.map((s) => `${s.ours.checksum} / ${s.theirs?.checksum ?? '-'}`);
  return `${name}: the output differs (ours / TCG): ${pairs.join(', ')}`;
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

const COLUMNS = ['workload', 'exercises', 'ours s', 'TCG s', 'ratio', 'M instr.', 'MIPS'] as const;

export function table(results: readonly Result[]): string {
  const number = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? '-';
  const rows = results.map((r) => [
    r.name,
    r.about,
    number(r.ours, 2),
    number(r.theirs, 2),
    number(r.ratio, 2),
    number(r.instructions === undefined ? undefined : r.instructions / 1e6, 1),
    number(r.mips, 0),
  ]);
  const widths = COLUMNS.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [line(COLUMNS), line(widths.map((w) => '-'.repeat(w))), ...rows.map(line)].join('\n');
}
