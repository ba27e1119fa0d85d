/** `hv doctor`: what this host can do, one line a check. */
import { styleText } from 'node:util';
import { EXIT } from '../../contracts/exit-codes.ts';
import { type CheckResult, checkHost, type Level, TOOL_NAMES } from './checks.ts';
import { gatherHostFacts } from './host-facts.ts';

const COLOURS = { ok: 'green', warning: 'yellow', missing: 'red' } as const satisfies Record<Level, string>;

export function doctor(options: { readonly json?: boolean }): number {
  const results = checkHost(gatherHostFacts(TOOL_NAMES));
  const able = isAble(results);
  if (options.json) process.stdout.write(`${JSON.stringify({ able, checks: results }, undefined, 2)}\n`);
  else process.stdout.write(`${doctorText(results)}\n`);
  return able ? EXIT.ok : EXIT.failure;
}

export function isAble(results: readonly CheckResult[]): boolean {
  return !results.some((result) => result.required && result.level === 'missing');
}

export function doctorText(results: readonly CheckResult[]): string {
  const width = Math.max(...results.map((result) => result.name.length));
  const lines = results.map(({ level, name, found, meaning }) => {
    const mark = styleText(COLOURS[level], level.padEnd(7));
    return `${mark}  ${name.padEnd(width)}  ${found} - ${meaning}`;
  });
  const verdict = isAble(results)
    ? 'This host can run partitions.'
    : 'This host cannot run partitions: see "missing" above.';
  return [...lines, '', verdict].join('\n');
}
