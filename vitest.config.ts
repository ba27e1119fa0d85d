import { defineConfig } from 'vitest/config';

/** Unit tests stand beside the code; what spans rooms is in tests/. */
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts', 'tools/**/*.test.ts'],
    // A process per test file: partitions start threads and hold shared memory.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
    coverage: { include: ['src/**'], exclude: ['**/*.test.ts'] },
  },
});
