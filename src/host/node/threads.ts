/** Worker threads of Node.js behind the few operations the parent and the processors use. */

import { hrtime } from 'node:process';
import { setFlagsFromString } from 'node:v8';
import {
  MessageChannel,
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  Worker,
  workerData,
} from 'node:worker_threads';
import type { HostTime } from '../clock.ts';
import type { Channel, ChannelEnd, Thread, ThreadEntry, ThreadOptions } from '../services.ts';
import { nodeCrypto } from './node-crypto.ts';

export function startThread<ToThread, FromThread>(
  entry: ThreadEntry,
  data: unknown,
  { ends = [], youngGeneration }: ThreadOptions = {},
): Thread<ToThread, FromThread> {
  // A function: a script's own names may not be those of the global object, which gets more of them with V8's settings.
  const script = entry instanceof URL ? undefined : `(function () {\n${entry.source}\n})();`;
  const worker = new Worker(script ?? (entry as URL), {
    eval: script !== undefined,
    workerData: data,
    transferList: ends as unknown as MessagePort[],
    ...(youngGeneration === undefined ? {} : { resourceLimits: { maxYoungGenerationSizeMb: youngGeneration } }),
  });
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  return {
    post: (message, posted = []) => {
      worker.postMessage(message, posted as unknown as MessagePort[]);
    },
    onMessage: (callback) => {
      worker.on('message', callback);
    },
    onError: (callback) => {
      worker.on('error', callback);
    },
    ended,
    terminate: async () => {
      await worker.terminate();
    },
    keepAlive: (keep) => {
      if (keep) worker.ref();
      else worker.unref();
    },
  };
}

/** A channel between two threads, whose ends go to them as part of their data and in `ends`. */
export function openChannel(): Channel {
  const { port1, port2 } = new MessageChannel();
  return [port1 as unknown as ChannelEnd, port2 as unknown as ChannelEnd];
}
export function sendOn(end: ChannelEnd, message: unknown): void {
  (end as unknown as MessagePort).postMessage(message);
}
/** The next message that has come, without waiting. */
export function takeFrom<T>(end: ChannelEnd): T | undefined {
  return receiveMessageOnPort(end as unknown as MessagePort)?.message as T | undefined;
}
export function listenOn<T>(end: ChannelEnd, callback: (message: T) => void): void {
  (end as unknown as MessagePort).on('message', callback);
}

/**
 * V8's settings for a process that runs guests: WebAssembly is compiled at once, not function by function when first called, and optimized
 * after fewer executions, because a guest has much code that is executed a little, and what is optimized is kept for other
 * runs; threads may collect garbage when they have time. No other settings: V8 14.6 crashes where what it has compiled was
 * compiled under others of inlining and deoptimization.
 */
const SETTINGS = ['--no-wasm-lazy-compilation', '--wasm-tiering-budget=2000000', '--expose-gc'];

/**
 * For the whole process, and never taken back: machine code is of one group of settings, and other threads may be about to keep or
 * to take up theirs.
 */
export function setUpForGuests(): void {
  for (const flag of SETTINGS) setFlagsFromString(flag);
}

/** On a thread: what startThread was given, and the way back. */
export function threadData<T>(): T {
  return workerData as T;
}
/** On a thread that was given nothing when it was started: what it is sent first. */
export function onFirstMessage<T>(callback: (message: T) => void): void {
  parentPort?.once('message', callback);
}
export function onMessages<T>(callback: (message: T) => void): void {
  parentPort?.on('message', callback);
}
/** @param ends that go with it, and are not this thread's any more */
export function postToParent(message: unknown, ends: readonly ChannelEnd[] = []): void {
  parentPort?.postMessage(message, ends as unknown as MessagePort[]);
}

const random = new BigUint64Array(512);
let randomLeft = 0;
export function random64(): bigint {
  if (randomLeft === 0) {
    nodeCrypto().randomFillSync(random);
    randomLeft = random.length;
  }
  return random[--randomLeft] as bigint;
}

/** @param origin the monotonic time that counts as zero. */
export function hostTime(origin: bigint): HostTime {
  return { monotonic: () => hrtime.bigint() - origin, calendar: () => Date.now() };
}
export function monotonicNow(): bigint {
  return hrtime.bigint();
}
