/**
 * The four synthetic timers of a virtual processor. TLFS, "Synthetic Timers". Counts are reference time (100 ns units);
 * nothing runs between events: poll() fires what is due. All periodic timers are lazy: periods that went by while the
 * processor did not look are one expiration, whether or not the guest asked for that.
 *
 * Threads: the processor's own, without the platform lock, which is taken for messages only.
 */
import type { LocalApic } from '../apic/local-apic.ts';
import type { InspectTree } from '../apic/ports.ts';
import { Msr, STIMER_COUNT, Stimer } from './constants.ts';
import type { PlatformLock, TlfsClock } from './ports.ts';
import type { ReferenceTime } from './reference-time.ts';
import type { HypervVpView } from './state.ts';
import type { SynIc } from './synic.ts';

export interface SyntheticTimerPorts {
  readonly apic: LocalApic;
  readonly synic: SynIc;
  readonly time: ReferenceTime;
  readonly clock: TlfsClock;
  readonly lock: PlatformLock;
}

export class SyntheticTimers {
  readonly #state: HypervVpView;
  readonly #ports: SyntheticTimerPorts;

  constructor(state: HypervVpView, ports: SyntheticTimerPorts) {
    this.#state = state;
    this.#ports = ports;
  }

  reset(): void {
    this.#state.timerConfig.fill(0n);
    this.#state.timerCount.fill(0n);
    this.#state.timerExpiration.fill(0n);
    this.#state.messageExpiration.fill(0n);
  }

  readMsr(index: number): bigint {
    const { timer, count } = locate(index);
    return (count ? this.#state.timerCount[timer] : this.#state.timerConfig[timer]) as bigint;
  }

  writeMsr(index: number, value: bigint): void {
    const { timer, count } = locate(index);
    const s = this.#state;
    let config = count ? (s.timerConfig[timer] as bigint) : value & Stimer.WRITABLE;
    if (count) {
      s.timerCount[timer] = value;
      if (value === 0n) config &= ~Stimer.ENABLE;
      else if ((config & Stimer.AUTO_ENABLE) !== 0n) config |= Stimer.ENABLE;
    }
    const toSint0 = (config & Stimer.DIRECT) === 0n && ((config >> Stimer.SINT_SHIFT) & 15n) === 0n;
    if (toSint0) config &= ~Stimer.ENABLE;
    if (((s.timerMessages >>> timer) & 1) === 1)
      this.#ports.lock.with(() => this.#ports.synic.cancelTimerMessage(timer));
    s.timerConfig[timer] = config;
    this.#start(timer);
  }

  #start(timer: number): void {
    const s = this.#state;
    const config = s.timerConfig[timer] as bigint;
    const count = s.timerCount[timer] as bigint;
    s.timerExpiration[timer] = 0n;
    if ((config & Stimer.ENABLE) === 0n || count === 0n) return;
    const now = this.#ports.time.now();
    s.timerExpiration[timer] = (config & Stimer.PERIODIC) !== 0n ? BigInt.asUintN(64, now + count) : count;
    // A one-shot in the past fires at once.
    this.#fireIfDue(timer, now);
  }

  #fireIfDue(timer: number, now: bigint): void {
    const s = this.#state;
    const expiration = s.timerExpiration[timer] as bigint;
    if (expiration === 0n || now < expiration) return;
    const config = s.timerConfig[timer] as bigint;
    if ((config & Stimer.PERIODIC) !== 0n) {
      const count = s.timerCount[timer] as bigint;
      s.timerExpiration[timer] = BigInt.asUintN(64, expiration + ((now - expiration) / count + 1n) * count);
    } else {
      s.timerExpiration[timer] = 0n;
      s.timerConfig[timer] = config & ~Stimer.ENABLE;
    }
    if ((config & Stimer.DIRECT) !== 0n)
      this.#ports.apic.accept(Number((config >> Stimer.VECTOR_SHIFT) & 0xffn), false);
    else this.#ports.lock.with(() => this.#ports.synic.postTimerMessage(timer, expiration));
  }

  /** When poll() next has something to do, in the clock's nanoseconds. */
  nextDeadline(): bigint | undefined {
    let first: bigint | undefined;
    for (const expiration of this.#state.timerExpiration)
      if (expiration !== 0n && (first === undefined || expiration < first)) first = expiration;
    if (first === undefined) return undefined;
    // Through the reference counter, whose rounding may differ from the clock's: waking always makes progress.
    const wait = first - this.#ports.time.now();
    return this.#ports.clock.now() + (wait > 0n ? wait * 100n : 0n);
  }

  poll(): void {
    if (this.#state.timerExpiration.every((expiration) => expiration === 0n)) return;
    const now = this.#ports.time.now();
    for (let timer = 0; timer < STIMER_COUNT; timer++) this.#fireIfDue(timer, now);
  }

  inspect(): InspectTree {
    const out: Record<string, InspectTree> = {};
    for (let timer = 0; timer < STIMER_COUNT; timer++) {
      const config = this.#state.timerConfig[timer] as bigint;
      const count = this.#state.timerCount[timer] as bigint;
      if (config === 0n && count === 0n) continue;
      out[timer] = {
        enabled: (config & Stimer.ENABLE) !== 0n,
        periodic: (config & Stimer.PERIODIC) !== 0n,
        autoEnable: (config & Stimer.AUTO_ENABLE) !== 0n,
        ...((config & Stimer.DIRECT) !== 0n
          ? { vector: Number((config >> Stimer.VECTOR_SHIFT) & 0xffn) }
          : { sint: Number((config >> Stimer.SINT_SHIFT) & 15n) }),
        count,
        expiration: this.#state.timerExpiration[timer] as bigint,
      };
    }
    return out;
  }
}

function locate(index: number): { timer: number; count: boolean } {
  const at = index - Msr.STIMER0_CONFIG;
  return { timer: at >>> 1, count: (at & 1) === 1 };
}
