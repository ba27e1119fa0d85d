/** Thread of lock.test.ts: adds to a counter under the lock, `rounds` times. */
import { parentPort, workerData } from 'node:worker_threads';
import { Lock } from './lock.ts';

/** Words of the shared memory. */
export const Word = { LOCK: 0, COUNTER: 1, COPY: 2, READY: 3 } as const;

export interface LockThreadData {
  readonly words: Int32Array;
  readonly rounds: number;
}

if (parentPort) {
  const { words, rounds } = workerData as LockThreadData;
  const lock = new Lock(words, Word.LOCK);
  Atomics.add(words, Word.READY, 1);
  let torn = 0;
  for (let n = 0; n < rounds; n++) {
    lock.with(() => {
      // Plain accesses: without the lock another thread's would come between.
      const before = words[Word.COUNTER] as number;
      if (words[Word.COPY] !== before) torn++;
      words[Word.COUNTER] = before + 1;
      words[Word.COPY] = before + 1;
    });
  }
  parentPort.postMessage(torn);
}
