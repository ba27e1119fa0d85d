import { describe, expect, it } from 'vitest';
import { PlatformFuzzer } from './platform.ts';

describe('a guest that asks absurd things of the platform', () => {
  it.each([
    ['one processor, time by instructions', 0],
    ['two processors', 50],
    ['three processors', 100],
    ['no test device', 150],
  ])('gets an answer within its range, and nothing grows: %s', (_what, first) => {
    const fuzzer = PlatformFuzzer.of(first);
    for (let seed = first; seed < first + 50; seed++) fuzzer.run(seed);
    // The hypercalls were more than refused.
    expect(Object.keys(fuzzer.statuses).length).toBeGreaterThan(4);
    expect(fuzzer.mostQueued).toBeLessThanOrEqual(64);
    if (first !== 150) expect(fuzzer.mostQueued).toBeGreaterThan(0);
  });
});
