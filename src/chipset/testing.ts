/** What the chipset's unit tests stand devices on: a clock set by hand, a recording interrupt line, state in its own memory. */
import type { Clock } from '../host/clock.ts';
import type { Fields, Struct, View } from '../support/struct.ts';
import type { InterruptLine } from '../vid/ports.ts';

export class ManualClock implements Clock {
  nanoseconds = 0n;
  /** Calendar time at zero nanoseconds. */
  origin = Date.UTC(2024, 1, 28, 23, 59, 58);

  now(): bigint {
    return this.nanoseconds;
  }

  calendar(): number {
    return this.origin + Number(this.nanoseconds) / 1e6;
  }

  advance(nanoseconds: bigint | number): void {
    this.nanoseconds += BigInt(nanoseconds);
  }
}

export class RecordingLine implements InterruptLine {
  level = false;
  rises = 0;

  set(level: boolean): void {
    if (level && !this.level) this.rises++;
    this.level = level;
  }
}

export function fresh<F extends Fields>(layout: Struct<F>): View<F> {
  return layout.view(new SharedArrayBuffer(layout.size));
}
