/** A guest that writes and runs new code for ever stays within a bound of memory; `node tests/perf/new-code.ts` for a minute. */
import { describe, expect, it } from 'vitest';
import { BOUND, newCode } from './new-code.ts';

const MIB = 2 ** 20;

describe.skipIf(process.platform !== 'linux')('a guest that makes new code', () => {
  it.each([4096, 16 * MIB])('spread over %i bytes is translated, and its memory bounded', async (span) => {
    const { most, counters } = await newCode(6, span, () => undefined);
    expect(most).toBeLessThan(BOUND);
    expect(Number(counters['translation.regions'])).toBeGreaterThan(100);
  });
});
