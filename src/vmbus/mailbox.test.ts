import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { VmbusMailbox, vmbusMailbox } from './mailbox.ts';

/** A mailbox, and a count of how often it was served and how often its listener put something off. */
function listening(longest: number) {
  const state = vmbusMailbox.view(new SharedArrayBuffer(vmbusMailbox.size));
  const mailbox = new VmbusMailbox(state);
  mailbox.setSignallable(5, true);
  const counts = { served: 0, deferred: 0 };
  const taken: number[] = [];
  const stop = mailbox.listen(
    () => {
      counts.served++;
      taken.push(...mailbox.takeSignals());
    },
    (callback) => {
      counts.deferred++;
      setImmediate(callback);
    },
    longest,
  );
  stops.push(stop);
  return { state, mailbox, counts, taken };
}

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

const signal = (mailbox: VmbusMailbox): void => {
  expect(mailbox.signalEvent(0x2005, 0)).toBe(0);
};

describe('a parent that listens', () => {
  it('is told once of each signal, and sleeps in between', async () => {
    const { state, mailbox, counts, taken } = listening(0);
    for (let n = 1; n <= 3; n++) {
      expect(state.rung[0]).toBe(0);
      signal(mailbox);
      expect(state.rung[0]).toBe(1);
      await wait(5);
      expect(taken).toHaveLength(n);
    }
    expect(counts.served).toBe(3);
    expect(state.rung[0]).toBe(0);
  });

  it('takes what came before it listened', async () => {
    const state = vmbusMailbox.view(new SharedArrayBuffer(vmbusMailbox.size));
    const mailbox = new VmbusMailbox(state);
    mailbox.setSignallable(7, true);
    mailbox.signalEvent(0x2007, 0);
    const taken: number[] = [];
    stops.push(mailbox.listen(() => void taken.push(...mailbox.takeSignals()), setImmediate));
    await wait(5);
    expect(taken).toEqual([7]);
  });

  // Not while others want the core, as they may here for a moment.
  it('looks on while signals come one soon after the other, and need not be woken', { retry: 50 }, async () => {
    const { state, mailbox, counts, taken } = listening(1000);
    signal(mailbox);
    await wait(1);
    signal(mailbox);
    await wait(1);
    const { deferred } = counts;
    signal(mailbox);
    for (let n = 0; n < 50 && taken.length < 3; n++) await turn();
    expect(taken).toHaveLength(3);
    expect(deferred).toBeGreaterThan(0);
    expect(state.rung[0]).toBe(1);
  });

  it('stops when it is told to', async () => {
    const { mailbox, counts } = listening(0);
    for (const stop of stops.splice(0)) stop();
    signal(mailbox);
    await wait(5);
    expect(counts.served).toBe(0);
  });
});
