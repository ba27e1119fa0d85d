import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { describeExitCodes, EXIT, EXIT_MEANINGS } from './exit-codes.ts';

const names = Object.keys(EXIT) as (keyof typeof EXIT)[];

describe('exit codes', () => {
  it('are distinct', () => {
    expect(new Set(Object.values(EXIT)).size).toBe(names.length);
  });

  it('are the rows of docs/reference/exit-codes.md', () => {
    const page = readFileSync(new URL('../../docs/reference/exit-codes.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| (\d+) \| (.*) \|$/gm)].map((match) => [Number(match[1]), match[2]]);
    expect(rows).toEqual(names.map((name) => [EXIT[name], EXIT_MEANINGS[name]]));
  });

  it('are described one a line', () => {
    expect(describeExitCodes().split('\n')).toHaveLength(names.length);
  });
});
