import { describe, expect, it } from 'vitest';
import { fuzzImage, fuzzState } from './files.ts';
import { target as busStates } from './states.ts';

async function outcomes(run: (seed: number) => Promise<string> | string, count: number): Promise<Set<string>> {
  const seen = new Set<string>();
  for (let seed = 0; seed < count; seed++) seen.add(await run(seed));
  return seen;
}

describe('a damaged file', () => {
  it('of a kernel is taken or refused with a line for the user', async () => {
    expect(await outcomes(fuzzImage, 1500)).toEqual(new Set(['taken', 'refused']));
  });

  it('of a saved state is taken or refused with a line for the user', async () => {
    expect(await outcomes(fuzzState, 150)).toEqual(new Set(['taken', 'refused']));
  });

  it('of a saved VMBus is taken or refused, and what is taken runs', async () => {
    expect(await outcomes(busStates.run, 600)).toEqual(new Set(['taken', 'refused']));
  });

  // An address of the boot image that is no number, an entry state that lacks a register, a configuration without memory.
  it.each([16, 22, 23, 32, 40])('of a saved state, seed %i, which was once taken', async (seed) => {
    expect(['taken', 'refused']).toContain(await fuzzState(seed));
  });
});
