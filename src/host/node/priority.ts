/**
 * Which threads of this process go first where there are fewer processors than work: Linux keeps a nice value for each thread
 * (setpriority(2), "C library/kernel differences"), and anybody may raise their own. Elsewhere nothing happens.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';
import { quietly } from './libc.ts';

/** V8's workers: they optimize code that runs already, and collect garbage. */
const COMPILERS = /V8Worker/;

/** Makes V8's own threads go after the process's others, by `nice` (1 to 19). Once is enough, more than once is harmless. */
export function lowerCompilers(nice: number): void {
  wherePossible(() => {
    for (const thread of readdirSync('/proc/self/task'))
      if (COMPILERS.test(readFileSync(`/proc/self/task/${thread}/comm`, 'utf8'))) lower(Number(thread), nice);
  });
}

/** The same for the thread that calls. */
export function lowerThisThread(nice: number): void {
  wherePossible(() => {
    lower(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), nice);
  });
}

function lower(thread: number, nice: number): void {
  setPriority(thread, Math.min(getPriority(process.pid) + nice, constants.priority.PRIORITY_LOW));
}

let getCore: (() => number) | null | undefined;

/** sched_getcpu(3): which of the host's processors the calling thread is on; -1 where that cannot be known. */
export function currentCore(): number {
  if (getCore === undefined)
    getCore =
      quietly((ffi) => ffi.dlopen(null, { sched_getcpu: { arguments: [], return: 'i32' } }).functions.sched_getcpu) ??
      null;
  return getCore?.() ?? -1;
}

/** A priority is never worth a failure: not Linux, no /proc, a thread that has ended meanwhile. */
function wherePossible(work: () => void): void {
  try {
    work();
  } catch {
    // It stays as it was.
  }
}
