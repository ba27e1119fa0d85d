/** Files and sizes that cannot work: one line that says what is wrong, and the documented exit code. */
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { debianGuest, Guest } from './guest.fixture.ts';

const debian = await debianGuest();
const reason = typeof debian === 'string' ? `: skipped, ${debian}` : '';

describe.skipIf(typeof debian === 'string')(`hv run${reason}`, () => {
  if (typeof debian === 'string') return;
  const { kernel, folder } = debian;
  const file = (name: string, bytes: Uint8Array): string => {
    const path = join(folder, name);
    writeFileSync(path, bytes);
    return path;
  };
  const image = readFileSync(kernel);
  const cases: [string, string[], number, RegExp][] = [
    ['1 MB of memory', ['--kernel', kernel, '--memory', '1M'], 2, /memory of 1 MiB is too little: give at least 2 MiB/],
    [
      'too little memory for this kernel',
      ['--kernel', kernel, '--memory', '16M'],
      7,
      /needs at least \d+ MiB of memory/,
    ],
    ['a missing file', ['--kernel', join(folder, 'none')], 3, /kernel .*none: no such file/],
    ['a folder', ['--kernel', folder], 7, /is a folder, not a file/],
    ['an empty file', ['--kernel', file('empty', new Uint8Array())], 7, /empty: the file is empty/],
    [
      'a truncated file',
      ['--kernel', file('truncated', image.subarray(0, 5e6))],
      7,
      /truncated: .*is truncated: 5000000 bytes/,
    ],
    ['a very short file', ['--kernel', file('short', image.subarray(0, 300))], 7, /short: .*300 bytes/],
    ['random bytes', ['--kernel', file('random', randomBytes(1e5))], 7, /random: this is not a Linux bzImage/],
    [
      'random bytes as a saved state',
      ['--restore', file('random-state', randomBytes(1e5))],
      7,
      /random-state: the saved state is not one of Viridian/,
    ],
  ];

  it.each(cases)('%s', async (_what, args, code, line) => {
    const outcome = await new Guest(...args).exit;
    expect(outcome).toMatchObject({ code, stdout: '' });
    expect(outcome.stderr).toMatch(line);
    expect(outcome.stderr).toMatch(/^hv: [^\n]+\n$/);
  });
});
