/** The library as it ships: a checkout generates its interpreter at every start, and loads hundreds of files in each thread. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CreatePartition } from '../../src/contracts/partition.ts';

const ROOT = new URL('../../', import.meta.url);

/** Builds dist/. */
export function buildShipped(): void {
  execFileSync(process.execPath, [fileURLToPath(new URL('tools/build.ts', ROOT))], { stdio: ['ignore', 2, 2] });
}

/** Builds dist/ and loads it. */
export async function shippedLibrary(): Promise<CreatePartition> {
  buildShipped();
  const { createPartition } = (await import(new URL('dist/index.js', ROOT).href)) as {
    createPartition: CreatePartition;
  };
  return createPartition;
}
