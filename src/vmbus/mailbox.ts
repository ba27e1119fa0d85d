/**
 * What virtual processors hand to the bus, which runs on the parent's thread: posted messages, and which channels were
 * signalled. A fixed layout in shared memory; a processor waits for no answer, and for the parent only while it lends it its core.
 *
 * Threads: processors post messages with the platform lock held; they signal, and the parent reads, without it. It is saved with the platform's
 * state: what the parent has not taken yet is taken after a restore.
 */
import { Status } from '../hypervisor/tlfs/constants.ts';
import type { ConnectionPort } from '../hypervisor/tlfs/ports.ts';
import { Patience } from '../support/patience.ts';
import { array, struct, type View } from '../support/struct.ts';
import {
  EVENT_CONNECTION,
  MESSAGE_CONNECTION,
  MESSAGE_CONNECTION_MULTIPLEXED,
  MESSAGE_HEADER,
  MESSAGE_MAXIMUM,
  MESSAGE_TYPE_CHANNEL,
  RELID_COUNT,
} from './protocol.ts';

/** A buffer of 16 MiB is announced in 147 messages; a guest that finds no room tries again. */
const MESSAGES = 256;
const WORDS = RELID_COUNT / 32;
/**
 * Milliseconds between two rings for moderated channels: longer than the parent looks for work before it sleeps. Less where its work is
 * long: processor and parent are to work at the same time, and it stays awake meanwhile.
 */
const MODERATION = { long: 0.8, short: 0.2 } as const;
/** Milliseconds that a turn of the event loop does not take by itself, with a collection of garbage in it. */
const LONG_TURN = 0.6;
export type Moderation = keyof typeof MODERATION;
/** Milliseconds for which a processor leaves its core to the parent, at most. */
const LENT = 0.3;
/** Not known, or none. */
const NO_CORE = -1;

export const vmbusMailbox = struct(
  'vmbus-mailbox',
  1,
  {
    /** 1 while the parent knows, or is being told, that there is something. */
    rung: array('i32', 1),
    /** 1 when there may be something that the parent has not looked at. */
    news: array('i32', 1),
    /** The core of the host on which the parent went to sleep. */
    core: array('i32', 1),
    /** 1 while a processor leaves its core to the parent. */
    lent: array('i32', 1),
    head: array('i32', 1),
    tail: array('i32', 1),
    /** A bit for each channel that was signalled, and for each that may be. */
    signalled: array('i32', WORDS),
    signallable: array('i32', WORDS),
    /** A bit for each channel whose signals may wait a little, see `moderate`. */
    moderated: array('i32', WORDS),
    /** Of these, a bit for each that may wait for less. */
    shortly: array('i32', WORDS),
    sizes: array('u8', MESSAGES),
    messages: array('u8', MESSAGES * MESSAGE_MAXIMUM),
  },
  ['rung', 'news', 'core', 'lent', 'moderated', 'shortly'],
);

export class VmbusMailbox implements ConnectionPort {
  readonly #state: View<typeof vmbusMailbox.fields>;
  /** Of this processor: when it rang, whether it has rested since, and when it is to ring for what has been signalled. */
  #now: (() => number) | undefined;
  #rangAt = Number.NEGATIVE_INFINITY;
  #rested = true;
  #due = Number.POSITIVE_INFINITY;
  #core: (() => number) | undefined;

  constructor(state: View<typeof vmbusMailbox.fields>) {
    this.#state = state;
  }

  // ---- a virtual processor's side -----------------------------------------------------------------------------------

  postMessage(connection: number, type: number, payload: Uint8Array): number | undefined {
    if (connection !== MESSAGE_CONNECTION && connection !== MESSAGE_CONNECTION_MULTIPLEXED) return undefined;
    if (type !== MESSAGE_TYPE_CHANNEL || payload.length < MESSAGE_HEADER) return Status.INVALID_PARAMETER;
    const { head, tail, sizes, messages } = this.#state;
    const at = Atomics.load(tail, 0) % MESSAGES;
    const next = (at + 1) % MESSAGES;
    if (next === Atomics.load(head, 0)) return Status.INSUFFICIENT_BUFFERS;
    messages.set(payload, at * MESSAGE_MAXIMUM);
    sizes[at] = payload.length;
    Atomics.store(tail, 0, next);
    this.#ring();
    return Status.SUCCESS;
  }

  signalEvent(connection: number, flag: number): number | undefined {
    const relid = connection - EVENT_CONNECTION;
    if (relid < 1 || relid >= RELID_COUNT) return undefined;
    const { signalled, signallable } = this.#state;
    const bit = 1 << (relid & 31);
    if ((Atomics.load(signallable, relid >>> 5) & bit) === 0) return Status.INVALID_CONNECTION_ID;
    if (flag !== 0) return Status.INVALID_PARAMETER;
    if ((Atomics.or(signalled, relid >>> 5, bit) & bit) === 0) {
      const due = this.#now && !this.#rested ? this.#rangAt + this.#moderation(relid >>> 5, bit) : 0;
      if (this.#now && this.#now() < due) this.#due = Math.min(this.#due, due);
      else this.#ring(this.#isOnParentsCore());
    }
    return Status.SUCCESS;
  }

  /**
   * On a processor's thread that calls `poll` and `rest`: while its guest is never idle, it rings for moderated channels once in a
   * while, because waking the parent for each request costs both more than what is asked for.
   * @param now milliseconds.
   * @param core the core of the host that this thread is on, see `#ring`.
   */
  moderate(now: () => number, core?: () => number): void {
    this.#now = now;
    this.#core = core;
  }

  #moderation(word: number, bit: number): number {
    const { moderated, shortly } = this.#state;
    if ((Atomics.load(moderated, word) & bit) === 0) return 0;
    return (Atomics.load(shortly, word) & bit) === 0 ? MODERATION.long : MODERATION.short;
  }

  #isOnParentsCore(): boolean {
    const core = this.#core?.() ?? NO_CORE;
    return core !== NO_CORE && core === Atomics.load(this.#state.core, 0);
  }

  /** The processor's loop comes round. */
  poll(): void {
    if (this.#now && this.#due < Number.POSITIVE_INFINITY && this.#now() >= this.#due) this.#ring();
  }

  /** The processor is about to sleep: its guest may be waiting for what it has asked for. */
  rest(): void {
    if (this.#due < Number.POSITIVE_INFINITY) this.#ring();
    this.#rested = true;
  }

  /**
   * @param lends whether to leave the core to the parent until it has served what there is. One that is woken on the core that this
   * processor occupies would have to wait until the guest is idle; hosts that are virtual machines themselves put it there, as they
   * cannot know which other core is free.
   */
  #ring(lends = false): void {
    const { rung, news, lent } = this.#state;
    this.#due = Number.POSITIVE_INFINITY;
    this.#rested = false;
    if (this.#now) this.#rangAt = this.#now();
    Atomics.store(news, 0, 1);
    if (Atomics.exchange(rung, 0, 1) !== 0) return;
    if (lends) Atomics.store(lent, 0, 1);
    Atomics.notify(rung, 0);
    if (!lends) return;
    // Nobody else is to give it back: another processor may have left its core meanwhile.
    if (Atomics.wait(lent, 0, 1, LENT) === 'timed-out') Atomics.store(lent, 0, 0);
  }

  // ---- the parent's side --------------------------------------------------------------------------------------------

  /** Empties it, and lets no channel be signalled. No processor may be running. */
  reset(): void {
    const { head, tail, signalled, signallable, moderated, shortly, rung, sizes, messages } = this.#state;
    Atomics.store(head, 0, 0);
    Atomics.store(tail, 0, 0);
    for (const words of [signalled, signallable, moderated, shortly, sizes, messages]) words.fill(0);
    Atomics.store(rung, 0, 0);
  }

  /** The oldest message, or undefined. */
  take(): Uint8Array | undefined {
    const { head, tail, sizes, messages } = this.#state;
    // The words are in the memory of the guest's processors: taken for what they are worth.
    const at = (Atomics.load(head, 0) >>> 0) % MESSAGES;
    if (at === (Atomics.load(tail, 0) >>> 0) % MESSAGES) return undefined;
    const size = Math.min(sizes[at] as number, MESSAGE_MAXIMUM);
    const slot = messages.subarray(at * MESSAGE_MAXIMUM, (at + 1) * MESSAGE_MAXIMUM);
    const message = slot.slice(0, size);
    // What has been taken is no part of the state.
    slot.fill(0);
    sizes[at] = 0;
    Atomics.store(head, 0, (at + 1) % MESSAGES);
    return message;
  }

  /** The channels signalled since the last call. */
  takeSignals(): number[] {
    const { signalled } = this.#state;
    const relids: number[] = [];
    for (let word = 0; word < WORDS; word++) {
      let bits = Atomics.load(signalled, word) === 0 ? 0 : Atomics.exchange(signalled, word, 0);
      for (; bits !== 0; bits &= bits - 1) relids.push(word * 32 + 31 - Math.clz32(bits & -bits));
    }
    return relids;
  }

  setSignallable(relid: number, may: boolean): void {
    const { signallable, signalled } = this.#state;
    const bit = 1 << (relid & 31);
    if (may) Atomics.or(signallable, relid >>> 5, bit);
    else {
      Atomics.and(signallable, relid >>> 5, ~bit);
      Atomics.and(signalled, relid >>> 5, ~bit);
      this.setModerated(relid, undefined);
    }
  }

  setModerated(relid: number, moderation: Moderation | undefined): void {
    const { moderated, shortly } = this.#state;
    const bit = 1 << (relid & 31);
    const set = (words: Int32Array, on: boolean): void => {
      if (on) Atomics.or(words, relid >>> 5, bit);
      else Atomics.and(words, relid >>> 5, ~bit);
    };
    set(shortly, moderation === 'short');
    set(moderated, moderation !== undefined);
  }

  get #empty(): boolean {
    const { head, tail, signalled } = this.#state;
    return Atomics.load(head, 0) === Atomics.load(tail, 0) && signalled.every((word) => word === 0);
  }

  /**
   * Calls `serve` whenever something has come; returns what ends that.
   * @param longest milliseconds to look for more before this thread is one that has to be woken; 0: it always is.
   * @param here the core of the host that this thread is on.
   */
  listen(
    serve: () => void,
    defer: (callback: () => void) => void,
    longest = 0,
    here: () => number = () => NO_CORE,
  ): () => void {
    const { rung, news, core, lent } = this.#state;
    const patience = new Patience(longest, LONG_TURN);
    let live = true;
    const sleep = (): void => {
      Atomics.store(core, 0, here());
      Atomics.store(rung, 0, 0);
      // What came before a processor could see that.
      if (Atomics.exchange(news, 0, 0) !== 0) serve();
      const waiting = Atomics.waitAsync(rung, 0, 0);
      // A guest that rings without pause must not keep the thread from its other work.
      if (waiting.async) void waiting.value.then(awake);
      else defer(awake);
    };
    /** `rung` stays 1: no processor wakes anybody, and this thread does its other work between two looks. */
    const awake = (): void => {
      if (!live) return;
      if (Atomics.exchange(news, 0, 0) !== 0) {
        patience.found(performance.now());
        serve();
        patience.worked(performance.now());
      }
      // Who has left its core to this thread gets it back at once.
      const borrowed = Atomics.exchange(lent, 0, 0) !== 0;
      if (borrowed) Atomics.notify(lent, 0);
      if (!borrowed && patience.lasts(performance.now())) defer(awake);
      else sleep();
    };
    Atomics.store(rung, 0, 1);
    Atomics.store(news, 0, this.#empty ? 0 : 1);
    awake();
    return () => {
      live = false;
      // Lets go of the memory that the wait holds.
      Atomics.store(rung, 0, 1);
      Atomics.notify(rung, 0);
    };
  }
}
