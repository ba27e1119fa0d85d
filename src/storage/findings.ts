/** What a check of a disk's file finds. */

export interface Finding {
  /** `error`: the file contradicts its format. `note`: it is sound, but something is worth knowing. */
  readonly kind: 'error' | 'note';
  readonly text: string;
  /** Whether repairing it loses nothing. */
  readonly repairable: boolean;
  /** Whether it was repaired. */
  readonly repaired?: boolean;
}

/** Findings of one kind are told one by one up to this many. */
export const MOST_FINDINGS = 100;

export class Findings {
  readonly list: Finding[] = [];
  readonly counts: Record<string, number> = {};

  error(text: string, repairable = false): void {
    this.list.push({ kind: 'error', text, repairable });
  }
  note(text: string, repairable = false): void {
    this.list.push({ kind: 'note', text, repairable });
  }
}
