import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
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

describe('a moderated channel', () => {
  /** A processor's mailbox whose clock the test holds; whether the parent, who takes nothing, has been rung for since the last call. */
  function moderated() {
    const state = vmbusMailbox.view(new SharedArrayBuffer(vmbusMailbox.size));
    const mailbox = new VmbusMailbox(state);
    const clock = { now: 1000 };
    mailbox.moderate(() => clock.now);
    mailbox.setSignallable(5, true);
    mailbox.setModerated(5, 'long');
    const rung = (): boolean => {
      mailbox.takeSignals();
      return Atomics.exchange(state.rung, 0, 0) === 1;
    };
    return { mailbox, clock, rung };
  }

  it('is announced at once, then once in a while as long as the processor does not rest', () => {
    const { mailbox, clock, rung } = moderated();
    signal(mailbox);
    expect(rung()).toBe(true);
    clock.now += 0.1;
    signal(mailbox);
    mailbox.poll();
    expect(rung()).toBe(false);
    clock.now += 0.6;
    mailbox.poll();
    expect(rung()).toBe(false);
    clock.now += 0.2;
    mailbox.poll();
    expect(rung()).toBe(true);
    clock.now += 5;
    mailbox.poll();
    expect(rung()).toBe(false);
    signal(mailbox);
    expect(rung()).toBe(true);
  });

  it('is announced before the processor rests, and at once after it', () => {
    const { mailbox, rung } = moderated();
    signal(mailbox);
    expect(rung()).toBe(true);
    signal(mailbox);
    expect(rung()).toBe(false);
    mailbox.rest();
    expect(rung()).toBe(true);
    mailbox.rest();
    expect(rung()).toBe(false);
    signal(mailbox);
    expect(rung()).toBe(true);
  });

  it('waits for less where that is said, and takes what waits longer along', () => {
    const { mailbox, clock, rung } = moderated();
    mailbox.setSignallable(6, true);
    mailbox.setModerated(6, 'short');
    signal(mailbox);
    expect(rung()).toBe(true);
    signal(mailbox);
    clock.now += 0.15;
    expect(mailbox.signalEvent(0x2006, 0)).toBe(0);
    mailbox.poll();
    expect(rung()).toBe(false);
    signal(mailbox);
    expect(mailbox.signalEvent(0x2006, 0)).toBe(0);
    clock.now += 0.1;
    mailbox.poll();
    expect(mailbox.takeSignals()).toEqual([5, 6]);
    expect(rung()).toBe(true);
    mailbox.setModerated(6, 'long');
    clock.now += 0.5;
    expect(mailbox.signalEvent(0x2006, 0)).toBe(0);
    expect(rung()).toBe(false);
  });

  it('lets no other channel wait, which takes its signals along', () => {
    const { mailbox, clock, rung } = moderated();
    mailbox.setSignallable(6, true);
    signal(mailbox);
    expect(rung()).toBe(true);
    signal(mailbox);
    mailbox.signalEvent(0x2006, 0);
    expect(mailbox.takeSignals()).toEqual([5, 6]);
    expect(rung()).toBe(true);
    clock.now += 5;
    mailbox.poll();
    expect(rung()).toBe(false);
  });

  it('is none on a thread that does not say so, nor when it was closed', () => {
    const { mailbox, rung } = moderated();
    mailbox.setSignallable(5, false);
    mailbox.setSignallable(5, true);
    for (let n = 0; n < 3; n++) {
      signal(mailbox);
      expect(rung()).toBe(true);
    }
    const state = vmbusMailbox.view(new SharedArrayBuffer(vmbusMailbox.size));
    const other = new VmbusMailbox(state);
    other.setSignallable(5, true);
    other.setModerated(5, 'long');
    for (let n = 0; n < 3; n++) {
      signal(other);
      other.takeSignals();
      expect(Atomics.exchange(state.rung, 0, 0)).toBe(1);
    }
  });
});

describe('a processor that wakes the parent', () => {
  it('leaves it its core where the parent sleeps there, and for a while only', () => {
    const state = vmbusMailbox.view(new SharedArrayBuffer(vmbusMailbox.size));
    const mailbox = new VmbusMailbox(state);
    mailbox.setSignallable(5, true);
    let here = 3;
    mailbox.moderate(performance.now.bind(performance), () => here);
    const waits = vi.spyOn(Atomics, 'wait');
    try {
      for (const [own, core, rung, expected] of [
        [3, 3, 0, 1],
        [3, 4, 0, 0],
        [3, 3, 1, 0],
        [-1, -1, 0, 0],
      ] as const) {
        waits.mockClear();
        here = own;
        state.core[0] = core;
        state.rung[0] = rung;
        signal(mailbox);
        mailbox.takeSignals();
        expect(waits).toHaveBeenCalledTimes(expected);
        expect([state.lent[0], state.rung[0]]).toEqual([0, 1]);
      }
    } finally {
      waits.mockRestore();
    }
  });
});

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

  it('gives a core that it was left back when it has served, and sleeps at once', async () => {
    const { state, mailbox, counts, taken } = listening(1000);
    for (let n = 1; n <= 3; n++) {
      signal(mailbox);
      state.lent[0] = 1;
      await wait(1);
      expect(taken).toHaveLength(n);
      expect([state.lent[0], state.rung[0]]).toEqual([0, 0]);
    }
    expect(counts.deferred).toBe(0);
  });

  it('stops when it is told to', async () => {
    const { mailbox, counts } = listening(0);
    for (const stop of stops.splice(0)) stop();
    signal(mailbox);
    await wait(5);
    expect(counts.served).toBe(0);
  });
});
