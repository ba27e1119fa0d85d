import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { payloadCache } from './payload-cache.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
  vi.stubEnv('XDG_CACHE_HOME', folder);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

it('gives back what was put, and nothing that was damaged since', async () => {
  const cache = payloadCache();
  const bytes = Uint8Array.from({ length: 10_000 }, (_, i) => i * 7);
  expect(await cache.get('a')).toBeUndefined();
  await cache.put('a', bytes);
  expect(await cache.get('a')).toSatisfy((got: Uint8Array) => Buffer.from(got).equals(bytes));

  const kernels = join(folder, 'viridian', 'kernels');
  expect(readdirSync(kernels)).toEqual(['a']);
  const whole = readFileSync(join(kernels, 'a'));
  const changed = Buffer.from(whole);
  changed[5000]! ^= 1;
  for (const other of [changed, whole.subarray(0, -1), whole.subarray(0, 20), Buffer.alloc(0), bytes]) {
    writeFileSync(join(kernels, 'a'), other);
    expect(await cache.get('a')).toBeUndefined();
  }
  await cache.put('a', bytes);
  expect(await cache.get('a')).toHaveLength(bytes.length);
});
