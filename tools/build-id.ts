import { createHash } from 'node:crypto';

/** Names a build by what translates guest code in it. */
export function digestOf(files: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const file of files) hash.update(file);
  return hash.digest('hex').slice(0, 16);
}
