import { describe, expect, it } from 'vitest';
import { Patience } from './patience.ts';

/** Looks every 0.01 ms from `from` on; when it gives up. */
function givesUp(patience: Patience, from: number): number {
  let now = from;
  while (patience.lasts(now)) now += 0.01;
  return now;
}

describe('patience', () => {
  it('is for those who were woken soon after having had work', () => {
    const patience = new Patience(0.5);
    patience.worked(100);
    expect(patience.lasts(100)).toBe(false);
    patience.found(100.4);
    expect(givesUp(patience, 100.4)).toBeCloseTo(100.9, 1);
    patience.found(103);
    expect(patience.lasts(103)).toBe(false);
  });

  it('begins anew with all work', () => {
    const patience = new Patience(0.5);
    patience.worked(100);
    patience.found(100.1);
    for (let now = 100.1; now < 110; now += 0.15) {
      expect(patience.lasts(now)).toBe(true);
      patience.worked(now);
    }
  });

  it('ends for a while when another needs the core', () => {
    const patience = new Patience(0.5);
    patience.worked(100);
    patience.found(100.1);
    expect(patience.lasts(100.2)).toBe(true);
    expect(patience.lasts(100.45)).toBe(false);
    patience.found(100.5);
    expect(patience.lasts(100.51)).toBe(false);
    patience.worked(131);
    patience.found(131.1);
    expect(patience.lasts(131.2)).toBe(true);
  });

  it('lets longer pass between two looks where something is done between them', () => {
    const patience = new Patience(1, 0.6);
    patience.worked(100);
    patience.found(100.1);
    expect(patience.lasts(100.6)).toBe(true);
    patience.found(101);
    expect(patience.lasts(101.7)).toBe(false);
  });

  it('is none where none was asked for', () => {
    const patience = new Patience(0);
    patience.worked(1);
    patience.found(1);
    expect(patience.lasts(1)).toBe(false);
  });
});
