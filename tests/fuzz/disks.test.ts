import { describe, expect, it } from 'vitest';
import { diskTarget } from './disks.ts';

describe('a damaged disk file', () => {
  it.each(['vhdx', 'vhd', 'qcow2'] as const)('of %s is taken or refused with a line for the user', async (format) => {
    const target = diskTarget(format);
    const seen = new Set<string>();
    for (let seed = 0; seed < 400; seed++) seen.add(await target.run(seed));
    expect(seen).toEqual(new Set(['taken', 'refused']));
  });
});
