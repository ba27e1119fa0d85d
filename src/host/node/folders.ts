/** Where files of ours live (XDG Base Directory Specification 0.8). */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

/** For what can be fetched or made again. */
export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment.XDG_CACHE_HOME;
  // "If an implementation encounters a relative path in any of these variables it should consider the path invalid."
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), '.cache'), 'viridian');
}

/** For what must not be lost: configurations, disks, saved states. `VIRIDIAN_HOME` puts all of it into one folder. */
export function dataFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { VIRIDIAN_HOME: home, XDG_DATA_HOME: base } = environment;
  if (home !== undefined && isAbsolute(home)) return join(home, 'data');
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), '.local/share'), 'viridian');
}

/** For sockets. It goes with the user's session, or it is kept: nothing in it is missed after a restart of the host. */
export function runtimeFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { VIRIDIAN_HOME: home, XDG_RUNTIME_DIR: base, XDG_STATE_HOME: state } = environment;
  if (home !== undefined && isAbsolute(home)) return join(home, 'run');
  if (base !== undefined && isAbsolute(base)) return join(base, 'viridian');
  return join(state !== undefined && isAbsolute(state) ? state : join(homedir(), '.local/state'), 'viridian/run');
}

/** Where the service listens, when nothing else is said. */
export function serviceSocket(environment: NodeJS.ProcessEnv = process.env): string {
  return join(runtimeFolder(environment), 'vmms.sock');
}
