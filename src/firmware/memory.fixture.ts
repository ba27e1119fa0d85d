/** Guest memory in small for the loaders' tests: a plan applied over garbage, as after a reset. */

import { expect } from 'vitest';
import type { LoadPlan } from './load-plan.ts';
import { overlaps } from './memory-map.ts';

const GARBAGE = 0xa5;

export class PlannedMemory {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(plan: LoadPlan, memory: number) {
    this.bytes = new Uint8Array(memory).fill(GARBAGE);
    this.view = new DataView(this.bytes.buffer);
    for (const { first, size } of plan.zeroed) this.bytes.fill(0, first, first + size);
    for (const { gpa, bytes } of plan.segments) this.bytes.set(bytes, gpa);
    expectDisjoint(plan, memory);
  }

  u32(gpa: number): number {
    return this.view.getUint32(gpa, true);
  }

  u64(gpa: number): number {
    return Number(this.view.getBigUint64(gpa, true));
  }

  text(gpa: number): string {
    return new TextDecoder().decode(this.bytes.subarray(gpa, this.bytes.indexOf(0, gpa)));
  }

  slice(gpa: number, size: number): Uint8Array {
    return this.bytes.subarray(gpa, gpa + size);
  }
}

/** What every plan promises: writes are disjoint, inside RAM, outside the hole, and inside what it reserves. */
export function expectDisjoint(plan: LoadPlan, memory: number): void {
  const writes = [...plan.segments.map(({ gpa, bytes }) => ({ first: gpa, size: bytes.length })), ...plan.zeroed].sort(
    (a, b) => a.first - b.first,
  );
  for (const [i, range] of writes.entries()) {
    const next = writes[i + 1];
    if (next !== undefined) expect(range.first + range.size).toBeLessThanOrEqual(next.first);
    expect(range.first + range.size).toBeLessThanOrEqual(memory);
    expect(overlaps(range, { first: 0x9fc00, size: 0x60400 })).toBe(false);
    expect(
      plan.reserved.some((r) => r.first <= range.first && range.first + range.size <= r.first + r.size),
      `0x${range.first.toString(16)} is reserved`,
    ).toBe(true);
  }
}
