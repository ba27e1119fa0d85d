/**
 * How results are shown: a table for people, JSON and YAML for programs, names for shells. All of it on stdout. Names alone in
 * JSON are what -q asks for with it.
 */
import { printable } from '../../support/text.ts';
import type { Flags, Output } from './command-row.ts';

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string;
  readonly right?: boolean;
}

export function outputOf({ output, json, quiet }: Flags): Output {
  if (json) return 'json';
  if (quiet) return 'name';
  return output ?? 'table';
}

export interface Shown<T> {
  readonly columns: readonly Column<T>[];
  /** For `-o name`. */
  readonly name: (row: T) => string;
  /** Instead of an empty table, on stderr. */
  readonly none?: string;
}

export async function showRows<T>(rows: readonly T[], flags: Flags, shown: Shown<T>): Promise<void> {
  switch (outputOf(flags)) {
    case 'json':
    case 'yaml':
      await showData(flags.quiet ? rows.map(shown.name) : rows, flags);
      break;
    case 'name':
      for (const row of rows) write(printable(shown.name(row)));
      break;
    case 'table':
      if (rows.length === 0) {
        if (shown.none !== undefined) process.stderr.write(`${shown.none}\n`);
      } else write(table(rows, shown.columns, process.stdout.isTTY ? process.stdout.columns : undefined));
      break;
  }
}

/** One thing, as JSON or YAML; `text` for people. */
export async function showOne(value: unknown, flags: Flags, text: () => string, name: string): Promise<void> {
  const output = outputOf(flags);
  if (output === 'table') write(text());
  else if (output === 'name') write(printable(name));
  else await showData(flags.quiet ? name : value, flags);
}

async function showData(value: unknown, flags: Flags): Promise<void> {
  if (outputOf(flags) === 'json') write(JSON.stringify(value, null, 2));
  else {
    const { stringify } = await import('yaml');
    write(stringify(value).trimEnd());
  }
}

export function write(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Text comes from guests and other users too: no control characters. @param width cuts the last column. */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[], width?: number): string {
  const cells = rows.map((row) => columns.map(({ value }) => printable(value(row), 400)));
  const titles = columns.map(({ title }) => title);
  const widths = titles.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string => {
    const text = row
      .map((cell, i) => (columns[i]!.right ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
    return width !== undefined && text.length > width ? `${text.slice(0, Math.max(1, width - 1))}…` : text;
  };
  return [titles, ...cells].map(line).join('\n');
}

/** Names and values, one a line. */
export function list(pairs: readonly (readonly [string, string])[], indent = ''): string {
  const width = Math.max(...pairs.map(([name]) => name.length));
  return pairs.map(([name, value]) => `${indent}${name.padEnd(width)}  ${printable(value, 2000)}`.trimEnd()).join('\n');
}

/** '3 days', '2 h 05 min', '4 min 03 s', '12 s'. */
export function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  if (whole >= 2 * 86_400) return `${Math.floor(whole / 86_400)} days`;
  if (whole >= 3600)
    return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, '0')} min`;
  if (whole >= 60) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  return `${whole} s`;
}

/** '1.5 GiB', '12 MiB', '0'. */
export function bytes(count: number): string {
  if (count === 0) return '0';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
