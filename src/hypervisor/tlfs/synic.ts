/**
 * The synthetic interrupt controller of one virtual processor: 16 SINTs, message slots, event flags. TLFS, "Virtual
 * Interrupts" and "Inter-Partition Communication".
 *
 * Threads: every method is called with the platform lock held; the MSR methods on the processor's own thread, the others on
 * any. Vectors reach the local APIC through its lock-free `accept`, which wakes the processor.
 */
import type { LocalApic } from '../apic/local-apic.ts';
import type { InspectTree } from '../apic/ports.ts';
import {
  EVENT_FLAG_COUNT,
  EVENT_FLAGS_SIZE,
  MESSAGE_PAYLOAD,
  MESSAGE_PENDING,
  MESSAGE_SIZE,
  MESSAGE_TYPE_TIMER_EXPIRED,
  Message,
  Msr,
  SINT_AUTO_EOI,
  SINT_COUNT,
  SINT_FIRST_VECTOR,
  SINT_MASKED,
  SINT_POLLING,
  STIMER_COUNT,
  Stimer,
  SYNIC_VERSION,
  TIMER_MESSAGE_PAYLOAD,
} from './constants.ts';
import { enabledPage, pageAcceptable } from './pages.ts';
import type { TlfsMemory } from './ports.ts';
import type { ReferenceTime } from './reference-time.ts';
import { type HypervVpView, MESSAGE_QUEUE } from './state.ts';

/**
 * What became of a message: in its slot or waiting for it (`accepted`), the queue is full (try again later), or the guest
 * has not enabled the SynIC and its message page.
 */
export type PostResult = 'accepted' | 'full' | 'inactive';
/** `already-set`: the guest has not looked since, and no interrupt was sent. */
export type FlagResult = 'set' | 'already-set' | 'inactive';

const MESSAGE_PENDING_BIT = 8 * (Message.FLAGS - Message.PAYLOAD_SIZE) + Math.log2(MESSAGE_PENDING);
const SCONTROL_ENABLE = 1n;

export class SynIc {
  readonly #state: HypervVpView;
  readonly #apic: LocalApic;
  readonly #memory: TlfsMemory;
  readonly #time: ReferenceTime;

  constructor(state: HypervVpView, apic: LocalApic, memory: TlfsMemory, time: ReferenceTime) {
    this.#state = state;
    this.#apic = apic;
    this.#memory = memory;
    this.#time = time;
  }

  reset(): void {
    const s = this.#state;
    s.scontrol = 0n;
    s.siefp = 0n;
    s.simp = 0n;
    s.sint.fill(SINT_MASKED);
    s.timerMessages = 0;
    s.queued = 0;
    s.queueSint.fill(0);
    s.queue.fill(0);
    this.#apic.setAutoEoi([]);
  }

  // MSRs --------------------------------------------------------------------------------------------------------------

  readMsr(index: number): bigint {
    const s = this.#state;
    switch (index) {
      case Msr.SCONTROL:
        return s.scontrol;
      case Msr.SVERSION:
        return SYNIC_VERSION;
      case Msr.SIEFP:
        return s.siefp;
      case Msr.SIMP:
        return s.simp;
      case Msr.EOM:
        return 0n;
      default:
        return s.sint[index - Msr.SINT0] as bigint;
    }
  }

  /** False for #GP. */
  writeMsr(index: number, value: bigint): boolean {
    const s = this.#state;
    switch (index) {
      case Msr.SCONTROL:
        s.scontrol = value;
        break;
      case Msr.SIEFP:
        // The page keeps its contents: the guest owns it.
        if (!pageAcceptable(this.#memory, value)) return false;
        s.siefp = value;
        return true;
      case Msr.SIMP:
        if (!pageAcceptable(this.#memory, value)) return false;
        s.simp = value;
        break;
      case Msr.EOM:
        break;
      case Msr.SVERSION:
        return false;
      default:
        return this.#writeSint(index - Msr.SINT0, value);
    }
    for (let sint = 0; sint < SINT_COUNT; sint++) this.#pump(sint);
    return true;
  }

  #writeSint(sint: number, value: bigint): boolean {
    if ((value & SINT_MASKED) === 0n && Number(value & 0xffn) < SINT_FIRST_VECTOR) return false;
    this.#state.sint[sint] = value;
    const automatic: number[] = [];
    for (const other of this.#state.sint)
      if ((other & SINT_AUTO_EOI) !== 0n && (other & SINT_MASKED) === 0n) automatic.push(Number(other & 0xffn));
    this.#apic.setAutoEoi(automatic);
    this.#pump(sint);
    return true;
  }

  // Messages ----------------------------------------------------------------------------------------------------------

  get #enabled(): boolean {
    return (this.#state.scontrol & SCONTROL_ENABLE) !== 0n;
  }

  #deaf(sint: number): boolean {
    const register = this.#state.sint[sint] as bigint;
    return (register & SINT_MASKED) !== 0n && (register & SINT_POLLING) === 0n;
  }

  /**
   * Posts a message to a SINT's slot. Messages to one SINT arrive in order; one that finds its slot occupied, or its SINT
   * masked, waits (the guest sees "message pending" and asks with EOM).
   * @param payload at most 240 bytes.
   */
  postMessage(sint: number, type: number, sender: bigint, payload: Uint8Array): PostResult {
    if (payload.length > MESSAGE_PAYLOAD)
      throw new RangeError(`a SynIC message holds 240 bytes, not ${payload.length}`);
    const s = this.#state;
    if (!this.#enabled || enabledPage(s.simp) === undefined) return 'inactive';
    if (s.queued >= MESSAGE_QUEUE) return 'full';
    const at = s.queued * MESSAGE_SIZE;
    s.queue.set(encodeMessage(type, sender, payload), at);
    s.queueSint[s.queued] = sint;
    s.queued++;
    this.#pump(sint);
    return 'accepted';
  }

  /** A synthetic timer's expiration; at most one message per timer waits, a later expiration replaces it. */
  postTimerMessage(timer: number, expiration: bigint): void {
    this.#state.messageExpiration[timer] = expiration;
    this.#state.timerMessages |= 1 << timer;
    this.#pump(this.#timerSint(timer));
  }

  /** Withdraws a timer's waiting message. */
  cancelTimerMessage(timer: number): void {
    this.#state.timerMessages &= ~(1 << timer);
  }

  #timerSint(timer: number): number {
    return Number(((this.#state.timerConfig[timer] as bigint) >> Stimer.SINT_SHIFT) & 15n);
  }

  /** Moves what waits for a SINT into its slot, as far as the slot is free. */
  #pump(sint: number): void {
    const s = this.#state;
    const page = enabledPage(s.simp);
    if (!this.#enabled || page === undefined || this.#deaf(sint)) return;
    const slot = page + sint * MESSAGE_SIZE;
    for (;;) {
      const entry = s.queueSint.subarray(0, Math.min(s.queued, MESSAGE_QUEUE)).indexOf(sint);
      const timer = entry < 0 ? this.#waitingTimer(sint) : -1;
      if (entry < 0 && timer < 0) return;
      if (this.#occupied(slot)) {
        // The guest frees the slot and then looks at the flag, so look at the slot again after setting it.
        this.#memory.setBit(slot + Message.PAYLOAD_SIZE, MESSAGE_PENDING_BIT);
        if (this.#occupied(slot)) return;
      }
      const message = entry < 0 ? this.#takeTimerMessage(timer) : this.#takeQueued(entry);
      const type = new DataView(message.buffer).getUint32(Message.TYPE, true);
      this.#memory.write(slot + Message.PAYLOAD_SIZE, message.subarray(Message.PAYLOAD_SIZE));
      this.#memory.compareExchange32(slot, 0, type);
      this.signal(sint);
    }
  }

  #occupied(slot: number): boolean {
    return this.#memory.compareExchange32(slot, 0, 0) !== 0;
  }

  #waitingTimer(sint: number): number {
    for (let timer = 0; timer < STIMER_COUNT; timer++)
      if (((this.#state.timerMessages >>> timer) & 1) === 1 && this.#timerSint(timer) === sint) return timer;
    return -1;
  }

  #takeTimerMessage(timer: number): Uint8Array<ArrayBuffer> {
    this.cancelTimerMessage(timer);
    const payload = new DataView(new ArrayBuffer(TIMER_MESSAGE_PAYLOAD));
    payload.setUint32(0, timer, true);
    payload.setBigUint64(8, this.#state.messageExpiration[timer] as bigint, true);
    payload.setBigUint64(16, this.#time.now(), true);
    return encodeMessage(MESSAGE_TYPE_TIMER_EXPIRED, 0n, new Uint8Array(payload.buffer));
  }

  #takeQueued(entry: number): Uint8Array<ArrayBuffer> {
    const s = this.#state;
    const message = new Uint8Array(MESSAGE_SIZE);
    message.set(s.queue.subarray(entry * MESSAGE_SIZE, (entry + 1) * MESSAGE_SIZE));
    s.queue.copyWithin(entry * MESSAGE_SIZE, (entry + 1) * MESSAGE_SIZE, s.queued * MESSAGE_SIZE);
    s.queueSint.copyWithin(entry, entry + 1, s.queued);
    s.queued--;
    return message;
  }

  // Event flags and interrupts ----------------------------------------------------------------------------------------

  /** Sets an event flag (0..2047) of a SINT, and interrupts if it was clear. */
  setEventFlag(sint: number, flag: number): FlagResult {
    if (flag < 0 || flag >= EVENT_FLAG_COUNT)
      throw new RangeError(`event flag ${flag} is not in 0..${EVENT_FLAG_COUNT - 1}`);
    const page = enabledPage(this.#state.siefp);
    if (!this.#enabled || page === undefined) return 'inactive';
    const word = page + sint * EVENT_FLAGS_SIZE + (flag >>> 5) * 4;
    if (this.#memory.setBit(word, flag & 31)) return 'already-set';
    this.signal(sint);
    return 'set';
  }

  /** Sends the SINT's vector; false when the SINT is masked or polled or the SynIC is off. */
  signal(sint: number): boolean {
    const register = this.#state.sint[sint] as bigint;
    if (!this.#enabled || (register & (SINT_MASKED | SINT_POLLING)) !== 0n) return false;
    return this.#apic.accept(Number(register & 0xffn), false);
  }

  inspect(): InspectTree {
    const s = this.#state;
    const sints: Record<string, InspectTree> = {};
    s.sint.forEach((register, sint) => {
      if (register === SINT_MASKED) return;
      sints[sint] = {
        vector: Number(register & 0xffn),
        masked: (register & SINT_MASKED) !== 0n,
        autoEoi: (register & SINT_AUTO_EOI) !== 0n,
        polling: (register & SINT_POLLING) !== 0n,
      };
    });
    return {
      enabled: this.#enabled,
      messagePage: s.simp,
      eventFlagsPage: s.siefp,
      sints,
      queuedMessages: s.queued,
      waitingTimerMessages: s.timerMessages,
    };
  }
}

function encodeMessage(type: number, sender: bigint, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(MESSAGE_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(Message.TYPE, type, true);
  view.setUint8(Message.PAYLOAD_SIZE, payload.length);
  view.setBigUint64(Message.SENDER, sender, true);
  bytes.set(payload, Message.PAYLOAD);
  return bytes;
}
