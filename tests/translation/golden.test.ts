/** The translations of chosen sequences are what was accepted last. */
import { describe, expect, it } from 'vitest';
import { compileInterpreter } from '../../src/hypervisor/interpreter/generate.ts';
import { goldenNames, goldenText, textOf } from './golden.ts';
import { SEQUENCES } from './sequences.ts';

const interpreter = compileInterpreter();

describe('golden translations (npm run golden -- --accept, after a look at the difference)', () => {
  it.each(SEQUENCES)('$name', async (sequence) => {
    expect(await textOf(sequence, interpreter)).toBe(goldenText(sequence.name));
  });

  it('there is no other file', () => {
    expect(goldenNames().sort()).toEqual(SEQUENCES.map(({ name }) => name).sort());
  });
});
