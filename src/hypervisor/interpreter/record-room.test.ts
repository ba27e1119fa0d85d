/** Room for records: nothing that is in use is given to another block, or said to be free. */
import { describe, expect, it } from 'vitest';
import { RECORD } from './record.ts';
import { RecordRoom, type Stretch } from './record-room.ts';

const SIZE = 4000 * RECORD;
/** Behind the last instruction of a block. */
const ENDS = 3;

function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

describe('room for records', () => {
  it.each(Array.from({ length: 50 }, (_, seed) => seed + 1))(
    'holds what is in use, whatever comes and goes (%i)',
    (seed) => {
      const next = numbers(seed);
      const used: Stretch[] = [];
      const room = new RecordRoom(0, SIZE, () => undefined);
      const meets = ({ from, to }: Stretch): boolean => used.some((other) => from < other.to && to > other.from);
      let collected = 0;
      for (let step = 0; step < 600; step++) {
        const what = next(20);
        if (what < 14) {
          if (!room.make()) {
            room.clear();
            used.length = 0;
            continue;
          }
          const block = {
            from: room.next,
            to: Math.min(room.next + (3 + next(60)) * RECORD, room.last + ENDS * RECORD),
          };
          expect(meets(block)).toBe(false);
          room.next = block.to;
          used.push(block);
        } else if (what < 19) {
          const [gone] = used.splice(next(used.length || 1), 1);
          if (gone) room.retire(gone.from, gone.to);
        } else {
          collected++;
          let free = 0;
          room.collect((stretch) => {
            expect(meets(stretch)).toBe(false);
            free += stretch.to - stretch.from;
          });
          const taken = used.reduce((sum, { from, to }) => sum + to - from, 0);
          expect(free).toBeLessThanOrEqual(SIZE - taken);
          // What is too little for a block stands between others.
          expect(free).toBeGreaterThanOrEqual(SIZE - taken - (used.length + 1) * 24 * RECORD);
        }
      }
      expect(collected).toBeGreaterThan(5);
    },
  );
});
