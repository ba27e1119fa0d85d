/**
 * The threads of virtual processors, in Node. Loading their code takes longer than making a machine, so that they are started
 * first, by the command even before the library is loaded.
 */
import { threadEntry } from '../host/node/program.ts';
import { startThread } from '../host/node/threads.ts';
import type { FromVpThread, VpThread, VpThreadData } from './protocol.ts';

const ENTRY = threadEntry('vp-thread');
/** Started, and not yet anybody's. */
const ahead: VpThread[] = [];

/** Starts threads for a partition that is about to be created. They do not keep the process alive until they are taken. */
export function startAhead(count: number): void {
  for (let n = 0; n < count; n++) {
    const thread = startThread<VpThreadData, FromVpThread>(ENTRY, undefined);
    thread.keepAlive(false);
    ahead.push(thread);
  }
}

/** How many of them wait. */
export function threadsAhead(): number {
  return ahead.length;
}

/** Threads for a partition's processors: who takes them ends them. */
export function takeThreads(count: number): VpThread[] {
  startAhead(count - ahead.length);
  const taken = ahead.splice(0, count);
  for (const thread of taken) thread.keepAlive(true);
  return taken;
}
