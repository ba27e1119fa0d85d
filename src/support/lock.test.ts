import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { type LockThreadData, Word } from './lock.fixture.ts';
import { Lock } from './lock.ts';

const newWords = (): Int32Array => new Int32Array(new SharedArrayBuffer(64));

function start(words: Int32Array, rounds: number): { done: Promise<number> } {
  const workerData: LockThreadData = { words, rounds };
  const worker = new Worker(new URL('./lock.fixture.ts', import.meta.url), { workerData, execArgv: [] });
  const failed = once(worker, 'error').then(([error]) => Promise.reject(error));
  return { done: Promise.race([once(worker, 'message').then(([torn]) => torn as number), failed]) };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

describe('Lock', () => {
  it('lets one thread at a time in', async () => {
    const words = newWords();
    const rounds = 100_000;
    // Both wait for the lock until both run.
    const lock = new Lock(words, Word.LOCK);
    lock.acquire();
    const threads = [start(words, rounds), start(words, rounds)];
    await until(() => Atomics.load(words, Word.READY) === 2);
    lock.release();
    expect(await Promise.all(threads.map((t) => t.done))).toEqual([0, 0]);
    expect(words[Word.COUNTER]).toBe(2 * rounds);
    expect(words[Word.LOCK]).toBe(0);
  });

  it('has a thread sleep until the holder releases', async () => {
    const words = newWords();
    const lock = new Lock(words, Word.LOCK);
    lock.acquire();
    expect(words[Word.LOCK]).toBe(1);
    const thread = start(words, 1);
    await until(() => Atomics.load(words, Word.LOCK) === 2);
    expect(words[Word.COUNTER]).toBe(0);
    lock.release();
    expect(await thread.done).toBe(0);
    expect(words[Word.COUNTER]).toBe(1);
    expect(words[Word.LOCK]).toBe(0);
  });

  it('is tried without waiting', () => {
    const words = newWords();
    const lock = new Lock(words, 5);
    expect(lock.tryAcquire()).toBe(true);
    expect(new Lock(words, 5).tryAcquire()).toBe(false);
    expect(new Lock(words, 6).tryAcquire()).toBe(true);
    lock.release();
    expect(lock.tryAcquire()).toBe(true);
  });

  it('is released when the body throws, and gives back what it returns', () => {
    const words = newWords();
    const lock = new Lock(words, Word.LOCK);
    expect(() =>
      lock.with(() => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(words[Word.LOCK]).toBe(0);
    expect(lock.with(() => words[Word.LOCK])).toBe(1);
  });
});
