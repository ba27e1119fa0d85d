import { describe, expect, it } from 'vitest';
import { ProcessorEvents } from './events.ts';

function pending() {
  return new ProcessorEvents(new Uint32Array(new SharedArrayBuffer(4)));
}
function taken(events: ProcessorEvents): number {
  let count = 0;
  while (events.takeNmi()) count++;
  return count;
}

describe('NMIs that wait', () => {
  it('are two at most while none is handled', () => {
    const events = pending();
    for (let i = 0; i < 10; i++) events.postNmi();
    expect(events.nmi).toBe(true);
    expect(taken(events)).toBe(2);
    expect(events.any).toBe(false);
  });

  it('are one while one is handled', () => {
    const events = pending();
    events.postNmi();
    expect(events.takeNmi()).toBe(true);
    for (let i = 0; i < 10; i++) events.postNmi();
    events.mergeNmis();
    expect(taken(events)).toBe(1);
  });
});

describe('INIT and start-up IPIs', () => {
  it('the last start-up IPI counts, and leaves NMIs and INIT alone', () => {
    const events = pending();
    events.postNmi();
    events.postNmi();
    events.postInit();
    events.postSipi(0x10);
    events.postSipi(0x9a);
    expect(events.takeSipi()).toBe(0x9a);
    expect(events.takeSipi()).toBe(-1);
    expect(events.takeInit()).toBe(true);
    expect(events.takeInit()).toBe(false);
    expect(taken(events)).toBe(2);
  });
});
