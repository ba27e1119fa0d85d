/** The translated code that stands in front of a processor's blocks, by the block's first record and by page. */
import { PAGE } from '../memory/layout.ts';
import type { Stretch } from './record-room.ts';

export interface InstalledRegion {
  /** The block's first record. */
  readonly record: number;
  /** Guest-physical addresses of the code it was made from: stretches of one page each. */
  readonly stretches: readonly Stretch[];
  /** First records of the blocks that have records which it calls the interpreter's functions with. */
  readonly calls: readonly number[];
  /** In the table of regions. */
  readonly place: number;
}

const pageOf = ({ from }: Stretch): number => Math.floor(from / PAGE);

export class InstalledRegions {
  readonly #byRecord = new Map<number, InstalledRegion>();
  readonly #byPage = new Map<number, readonly InstalledRegion[]>();

  add(region: InstalledRegion): void {
    this.#byRecord.set(region.record, region);
    for (const page of region.stretches.map(pageOf)) this.#byPage.set(page, [...this.of(page), region]);
  }
  remove(region: InstalledRegion): void {
    this.#byRecord.delete(region.record);
    for (const page of region.stretches.map(pageOf)) {
      const kept = this.of(page).filter((other) => other !== region);
      if (kept.length > 0) this.#byPage.set(page, kept);
      else this.#byPage.delete(page);
    }
  }
  clear(): void {
    this.#byRecord.clear();
    this.#byPage.clear();
  }

  at(record: number): InstalledRegion | undefined {
    return this.#byRecord.get(record);
  }
  /** Those with code in a page, by its number: a list that stays as it is. */
  of(page: number): readonly InstalledRegion[] {
    return this.#byPage.get(page) ?? NONE;
  }
  all(): Iterable<InstalledRegion> {
    return this.#byRecord.values();
  }
}
const NONE: readonly InstalledRegion[] = [];
