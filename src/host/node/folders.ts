/** Where files of ours live (XDG Base Directory Specification 0.8). */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** For what can be fetched or made again. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment.XDG_CACHE_HOME;
  // "If an implementation encounters a relative path in any of these variables it should consider the path invalid."
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), '.cache'), 'viridian');
}
