import { describe, expect, it } from 'vitest';
import { withoutTools } from '../../src/storage/ext4/image.fixture.ts';
import { target } from './ext4.ts';

describe.skipIf(withoutTools !== undefined)(`a damaged ext4${withoutTools ? `: skipped, ${withoutTools}` : ''}`, () => {
  it('gives a kernel or a line for the user', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 1000; seed++) seen.add(await target.run(seed));
    expect(seen).toEqual(new Set(['taken', 'refused']));
  });
});
