/**
 * How the threads of a partition steer each other: a block of shared words per virtual processor (what is asked of it,
 * where it is) and one for the partition. Every wish is posted with Atomics and followed by the processor's doorbell.
 */
import { array, struct, type View } from '../../support/struct.ts';
import { VP_STATE, vpArea } from '../memory/layout.ts';
import { VpState } from './state.ts';

const QUEUE = 256;

export const VpControl = struct('vp-control', 1, {
  /** 1 while the processor's thread may be in guest code. */
  inGuest: array('i32', 1),
  /** Counters: a flush is wanted when they differ. */
  flushWanted: array('i32', 1),
  flushDone: array('i32', 1),
  /** Code that was stored to: a ring of {gpa, size}; `codeLost` when it overflowed. Under `codeLock`. */
  codeLock: array('i32', 1),
  codeHead: array('i32', 1),
  codeTail: array('i32', 1),
  codeLost: array('i32', 1),
  codeQueue: array('u32', QUEUE * 2),
  /** Run state: see `Run`. */
  state: array('i32', 1),
  /** Processor time in guest code, microseconds. */
  busy: array('f64', 1),
});
export type VpControlView = View<typeof VpControl.fields>;

export const PartitionControl = struct(
  'partition-control',
  1,
  {
    platformLock: array('i32', 1),
    splitLock: array('i32', 1),
    /** What all processors should do: see `Run`. */
    wanted: array('i32', 1),
    /** Raised at each reset, so that processors drop what they cache. */
    generation: array('i32', 1),
    /** Nanoseconds to add to the raw clock, so that time goes on across saving and idling. */
    clockOffset: array('f64', 1),
    /** The raw clock when somebody last took note of it, about; all ones while what was missed is taken out. */
    clockSeen: array('u64', 1),
    /** Nonzero: a power event was asked for. */
    powerEvent: array('i32', 1),
    exitCode: array('i32', 1),
    /** Percent of a host's processor that each may take; 0: all of it. The host's to say, each time anew. */
    processorMaximum: array('u32', 1),
  },
  ['processorMaximum', 'clockSeen'],
);
export type PartitionControlView = View<typeof PartitionControl.fields>;

export const Run = { PAUSED: 0, RUNNING: 1, STOPPED: 2 } as const;
export const PowerEvent = { NONE: 0, POWER_OFF: 1, RESET: 2, EXIT: 3, TRIPLE_FAULT: 4, CRASH: 5, LIMIT: 6 } as const;

/** Ring a processor's doorbell: it leaves guest code, or wakes, and looks around. */
export class Doorbell {
  readonly #words: Int32Array;
  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }
  static index(vp: number): number {
    return (vpArea(vp) + VP_STATE + VpState.offset('attention')) >> 2;
  }
  ring(vp: number): void {
    const index = Doorbell.index(vp);
    Atomics.store(this.#words, index, 1);
    Atomics.notify(this.#words, index);
  }
  /** Takes the ring, if there was one. */
  take(vp: number): boolean {
    return Atomics.exchange(this.#words, Doorbell.index(vp), 0) !== 0;
  }
  rung(vp: number): boolean {
    return Atomics.load(this.#words, Doorbell.index(vp)) !== 0;
  }
  /** Sleeps until the doorbell rings or `milliseconds` have passed. */
  wait(vp: number, milliseconds: number): void {
    Atomics.wait(this.#words, Doorbell.index(vp), 0, milliseconds);
  }
}

/** Tells the processors (all but `except`) that code at [gpa, gpa + size) changes. */
export function postCodeWritten(
  controls: readonly VpControlView[],
  bell: Doorbell,
  gpa: number,
  size: number,
  except = -1,
): void {
  controls.forEach((control, vp) => {
    if (vp === except) return;
    while (Atomics.compareExchange(control.codeLock, 0, 0, 1) !== 0);
    const tail = Atomics.load(control.codeTail, 0);
    const last = ((tail + QUEUE - 1) % QUEUE) * 2;
    // What follows on what has not been taken yet, or is the same again: copies store word by word.
    const begins = control.codeQueue[last] as number;
    const ends = begins + (control.codeQueue[last + 1] as number);
    if (tail !== Atomics.load(control.codeHead, 0) && gpa >= begins && gpa <= ends) {
      control.codeQueue[last + 1] = Math.max(ends, gpa + size) - begins;
      Atomics.store(control.codeLock, 0, 0);
      bell.ring(vp);
      return;
    }
    const next = (tail + 1) % QUEUE;
    if (next === Atomics.load(control.codeHead, 0)) Atomics.store(control.codeLost, 0, 1);
    else {
      control.codeQueue[tail * 2] = gpa;
      control.codeQueue[tail * 2 + 1] = size;
      Atomics.store(control.codeTail, 0, next);
    }
    Atomics.store(control.codeLock, 0, 0);
    bell.ring(vp);
  });
}

/** Takes what was posted: ranges, or `lost` when everything must go. */
export function takeCodeWritten(control: VpControlView, each: (gpa: number, size: number) => void): boolean {
  if (
    Atomics.load(control.codeHead, 0) === Atomics.load(control.codeTail, 0) &&
    Atomics.load(control.codeLost, 0) === 0
  )
    return false;
  while (Atomics.compareExchange(control.codeLock, 0, 0, 1) !== 0);
  let head = Atomics.load(control.codeHead, 0);
  while (head !== Atomics.load(control.codeTail, 0)) {
    each(control.codeQueue[head * 2] as number, control.codeQueue[head * 2 + 1] as number);
    head = (head + 1) % QUEUE;
  }
  Atomics.store(control.codeHead, 0, head);
  const lost = Atomics.exchange(control.codeLost, 0, 0) !== 0;
  Atomics.store(control.codeLock, 0, 0);
  return lost;
}
