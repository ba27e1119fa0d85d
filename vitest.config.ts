import { defineConfig } from 'vitest/config';

/** Tests of minutes: whole guests, big disks. `npm run test:long` runs them, `npm test` does not. */
const long = '**/*.long.test.ts';
const onlyLong = process.env.VIRIDIAN_LONG === '1';

/** Unit tests stand beside the code; what spans rooms is in tests/. */
export default defineConfig({
  test: {
    include: onlyLong ? [long] : ['src/**/*.test.ts', 'tests/**/*.test.ts', 'tools/**/*.test.ts'],
    exclude: ['node_modules/**', 'dist/**', ...(onlyLong ? [] : [long])],
    // A process per test file: partitions start threads and hold shared memory.
    pool: 'forks',
    // A long test has the machine to itself: it boots guests, several of them in some.
    fileParallelism: !onlyLong,
    testTimeout: onlyLong ? 600_000 : 60_000,
    hookTimeout: onlyLong ? 600_000 : 60_000,
    coverage: { include: ['src/**'], exclude: ['**/*.test.ts'] },
  },
});
