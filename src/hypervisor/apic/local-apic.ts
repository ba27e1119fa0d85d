/**
 * The local APIC of one virtual processor: xAPIC registers at IA32_APIC_BASE, x2APIC MSRs, priorities, interrupt
 * acceptance, inter-processor interrupts, the local vector table and the timer. Intel SDM vol. 3, chapter "Advanced
 * Programmable Interrupt Controller (APIC)". No TSC-deadline mode, no CMCI, no extended (AMD) register space.
 *
 * Threads: the registers belong to the virtual processor's own thread, and every method not listed here is for that thread
 * alone, without the platform lock. `accept`, `requestNmi`, `requestInit`, `requestStartup` and the getters the router
 * reads (`enabled`, `softwareEnabled`, `x2apic`, `busId`, `ldr`, `dfr`, `ppr`) are for any thread: they change IRR, TMR,
 * the pending events and the receive errors with Atomics only, then ring the processor's doorbell. The ports
 * `ioApicEoi` and `external` are called without the platform lock and take it themselves.
 */
import { ApicTimer } from './apic-timer.ts';
import { ProcessorEvents } from './events.ts';
import { inspectLocalApic } from './inspect.ts';
import type { InterruptRouter } from './interrupt-router.ts';
import type { ExternalInterrupt, InspectTree, IoApicEoi, NanosecondClock, VpDoorbell } from './ports.ts';
import {
  APIC_BASE_ADDRESS,
  APIC_DEFAULT_BASE,
  ApicBase,
  ApicError,
  DeliveryMode,
  ICR_ASSERT,
  ICR_LEVEL,
  ICR_LOGICAL,
  ICR_WRITABLE,
  LVT_COUNT,
  LVT_MASKED,
  LVT_WRITABLE,
  Lvt,
  MSR_APIC_BASE,
  MSR_X2APIC_FIRST,
  MSR_X2APIC_LAST,
  Register,
  Shorthand,
  SVR_ENABLE,
  SVR_SUPPRESS_EOI_BROADCAST,
} from './registers.ts';
import { LocalApicState, type LocalApicView } from './state.ts';
import { highest, highestAtomic } from './vectors.ts';
import { apicBaseAllowed, X2APIC_READABLE, X2APIC_WRITABLE, x2apicLdr } from './x2apic.ts';

/** hasInterrupt() answers this when the 8259 pair has an interrupt; acknowledge() then gives its vector. */
export const EXTINT = 256;

const VERSION = 0x14 | ((LVT_COUNT - 1) << 16);
const VERSION_DIRECTED_EOI = 1 << 24;

export interface LocalApicOptions {
  readonly buffer: ArrayBufferLike;
  /** Byte offset of this APIC's LocalApicState. */
  readonly base: number;
  readonly vp: number;
  /** The x2APIC ID, and the initial xAPIC ID. */
  readonly apicId: number;
  readonly bootstrap: boolean;
  readonly clock: NanosecondClock;
  readonly doorbell: VpDoorbell;
  readonly router: InterruptRouter;
  readonly ioApic?: IoApicEoi;
  readonly external?: ExternalInterrupt;
  /** Announce EOI-broadcast suppression (the IO-APIC then needs its EOI register). Default false. */
  readonly directedEoi?: boolean;
}

export class LocalApic {
  readonly vp: number;
  readonly apicId: number;
  readonly state: LocalApicView;
  readonly #options: LocalApicOptions;
  readonly #events: ProcessorEvents;
  readonly #timer: ApicTimer;

  /** Attaches to existing state; `reset()` makes a new one. Adds itself to the router. */
  constructor(options: LocalApicOptions) {
    this.vp = options.vp;
    this.apicId = options.apicId;
    this.#options = options;
    this.state = LocalApicState.view(options.buffer, options.base);
    this.#events = new ProcessorEvents(this.state.events);
    this.#timer = new ApicTimer(this.state, options.clock, () => this.#fireLvt(Lvt.TIMER));
    options.router.add(this);
  }

  // Power-up, INIT and events -----------------------------------------------------------------------------------------

  /** Power-up or partition reset. No virtual processor may be running. */
  reset(): void {
    const s = this.state;
    s.apicBase = APIC_DEFAULT_BASE | ApicBase.ENABLE | (this.#options.bootstrap ? ApicBase.BSP : 0n);
    s.autoEoi.fill(0);
    Atomics.store(s.events, 0, 0);
    s.waitForSipi = this.#options.bootstrap ? 0 : 1;
    s.id = (this.apicId & 0xff) << 24;
    this.#resetRegisters();
  }

  /**
   * What firmware leaves behind on the bootstrap processor (virtual wire mode): the APIC software-enabled, LINT0 as ExtINT
   * and LINT1 as NMI. For machines with an 8259 pair that start a kernel without firmware.
   */
  setVirtualWire(): void {
    this.writeRegister(Register.SVR, SVR_ENABLE | 0xff);
    this.writeRegister(Register.LVT_LINT0, DeliveryMode.EXTINT << 8);
    this.writeRegister(Register.LVT_LINT1, DeliveryMode.NMI << 8);
  }

  /** All registers to their power-up values. IA32_APIC_BASE, the ID and events stay: that is the INIT reset. */
  #resetRegisters(): void {
    const s = this.state;
    s.tpr = 0;
    s.dfr = 0xffffffff;
    s.svr = 0xff;
    s.esr = 0;
    s.icrLow = 0;
    s.icrHigh = 0;
    s.lvt.fill(LVT_MASKED);
    s.initialCount = 0;
    s.divide = 0;
    s.timerRunning = 0;
    s.timerStart = 0n;
    s.isr.fill(0);
    for (let i = 0; i < 8; i++) {
      Atomics.store(s.irr, i, 0);
      Atomics.store(s.tmr, i, 0);
    }
    Atomics.store(s.errors, 0, 0);
    s.ldr = this.x2apic ? x2apicLdr(this.apicId) : 0;
  }

  /** Any thread. */
  requestNmi(): void {
    this.#events.postNmi();
    this.#options.doorbell.ring(this.vp);
  }

  /** Any thread. */
  requestInit(): void {
    this.#events.postInit();
    this.#options.doorbell.ring(this.vp);
  }

  /** Any thread. */
  requestStartup(vector: number): void {
    this.#events.postSipi(vector);
    this.#options.doorbell.ring(this.vp);
  }

  /** An NMI, INIT or SIPI waits to be taken. A cheap test for the processor's loop. */
  get eventPending(): boolean {
    return this.#events.any;
  }

  /** True when an NMI was pending; clears it. Leave it pending while NMIs are blocked (see `nmiPending`). */
  takeNmi(): boolean {
    return this.#events.takeNmi();
  }

  /** Tells that an NMI is being handled. */
  mergeNmis(): void {
    this.#events.mergeNmis();
  }

  get nmiPending(): boolean {
    return this.#events.nmi;
  }

  get initPending(): boolean {
    return this.#events.init;
  }

  get sipiPending(): boolean {
    return this.#events.sipi;
  }

  /**
   * True when an INIT was pending; the APIC has then been reset. The caller resets the processor: the bootstrap processor
   * starts again at the reset vector, every other one waits for a SIPI (`waitingForSipi`).
   */
  takeInit(): boolean {
    if (!this.#events.takeInit()) return false;
    this.#resetRegisters();
    this.state.waitForSipi = this.#options.bootstrap ? 0 : 1;
    return true;
  }

  get waitingForSipi(): boolean {
    return this.state.waitForSipi !== 0;
  }

  /**
   * The start-up vector (the processor starts at vector << 12 in real mode), or -1. Call after takeInit(). A SIPI that
   * arrives while the processor does not wait for one is lost.
   */
  takeSipi(): number {
    const vector = this.#events.takeSipi();
    if (vector < 0 || !this.waitingForSipi) return -1;
    this.state.waitForSipi = 0;
    return vector;
  }

  // What the router reads ---------------------------------------------------------------------------------------------

  get enabled(): boolean {
    return (this.state.apicBase & ApicBase.ENABLE) !== 0n;
  }

  get x2apic(): boolean {
    return (this.state.apicBase & ApicBase.EXTENDED) !== 0n;
  }

  get softwareEnabled(): boolean {
    return (this.state.svr & SVR_ENABLE) !== 0;
  }

  /** The ID that physical destinations are compared with. */
  get busId(): number {
    return this.x2apic ? this.apicId : this.state.id >>> 24;
  }

  get ldr(): number {
    return this.state.ldr;
  }

  get dfr(): number {
    return this.state.dfr;
  }

  // Acceptance and delivery -------------------------------------------------------------------------------------------

  /**
   * Accepts a fixed interrupt; any thread.
   * @returns false when this APIC is disabled or the vector is illegal.
   */
  accept(vector: number, level: boolean): boolean {
    if (!this.enabled || !this.softwareEnabled) return false;
    if (vector < 16) {
      this.#error(ApicError.RECEIVE_ILLEGAL_VECTOR);
      return false;
    }
    const word = vector >>> 5;
    const bit = 1 << (vector & 31);
    if (level) Atomics.or(this.state.tmr, word, bit);
    else Atomics.and(this.state.tmr, word, ~bit);
    if ((Atomics.or(this.state.irr, word, bit) & bit) === 0) this.#options.doorbell.ring(this.vp);
    return true;
  }

  #error(bit: number): void {
    if ((Atomics.or(this.state.errors, 0, bit) & bit) !== 0) return;
    const lvt = this.state.lvt[Lvt.ERROR] as number;
    // An illegal error vector has already raised this error; it must not recurse.
    if ((lvt & LVT_MASKED) === 0 && (lvt & 0xff) >= 16) this.accept(lvt & 0xff, false);
  }

  #fireLvt(index: number): void {
    const lvt = this.state.lvt[index] as number;
    if ((lvt & LVT_MASKED) !== 0) return;
    switch (index === Lvt.TIMER ? DeliveryMode.FIXED : (lvt >>> 8) & 7) {
      case DeliveryMode.FIXED:
        this.accept(lvt & 0xff, false);
        break;
      case DeliveryMode.NMI:
        this.requestNmi();
        break;
      case DeliveryMode.INIT:
        this.requestInit();
        break;
    }
  }

  /** A pulse on LINT0 or LINT1 (LINT1 is the host's way to inject an NMI), delivered as its LVT register says. */
  pulseLint(pin: 0 | 1): void {
    this.#fireLvt(pin === 0 ? Lvt.LINT0 : Lvt.LINT1);
  }

  get ppr(): number {
    const { tpr, isr } = this.state;
    const inService = highest(isr);
    return inService < 0 || tpr >>> 4 >= inService >>> 4 ? tpr : inService & 0xf0;
  }

  /**
   * The vector to deliver now, EXTINT (256) when the 8259 pair has one (its vector comes with acknowledge()), or -1. The
   * processor's own conditions (RFLAGS.IF, shadows) are the caller's.
   */
  hasInterrupt(): number {
    if (this.#externalPending()) return EXTINT;
    const vector = highestAtomic(this.state.irr);
    if (vector < 0 || vector >>> 4 <= this.ppr >>> 4) return -1;
    return vector;
  }

  /** An interrupt is requested whether or not the priority lets it through now: what ends HV_X64_MSR_GUEST_IDLE. */
  get anyPending(): boolean {
    return highestAtomic(this.state.irr) >= 0 || this.eventPending || this.#externalPending();
  }

  #externalPending(): boolean {
    const { external } = this.#options;
    if (!external) return false;
    // Globally disabled, the LINT0 pin is the processor's INTR pin.
    if (this.enabled) {
      const lvt = this.state.lvt[Lvt.LINT0] as number;
      if ((lvt & LVT_MASKED) !== 0 || ((lvt >>> 8) & 7) !== DeliveryMode.EXTINT) return false;
    }
    return external.extIntPending();
  }

  /** Takes the interrupt that hasInterrupt() announced; the vector to deliver (the spurious one when it has gone). */
  acknowledge(): number {
    const vector = this.hasInterrupt();
    if (vector === EXTINT) return this.#options.external?.extIntAcknowledge() ?? this.state.svr & 0xff;
    if (vector < 0) return this.state.svr & 0xff;
    const { irr, isr, autoEoi } = this.state;
    const word = vector >>> 5;
    const bit = 1 << (vector & 31);
    Atomics.and(irr, word, ~bit);
    if (((autoEoi[word] as number) & bit) === 0) isr[word] = ((isr[word] as number) | bit) >>> 0;
    return vector;
  }

  /** Which vectors end by themselves; set by the SynIC whenever a SINT changes. Own thread. */
  setAutoEoi(vectors: Iterable<number>): void {
    const { autoEoi } = this.state;
    autoEoi.fill(0);
    for (const vector of vectors) {
      const word = vector >>> 5;
      autoEoi[word] = ((autoEoi[word] as number) | (1 << (vector & 31))) >>> 0;
    }
  }

  /** The end of the interrupt of highest priority in service. */
  eoi(): void {
    const { isr, tmr, svr } = this.state;
    const vector = highest(isr);
    if (vector < 0) return;
    const word = vector >>> 5;
    const bit = 1 << (vector & 31);
    isr[word] = (isr[word] as number) & ~bit;
    if ((Atomics.load(tmr, word) & bit) === 0) return;
    if ((svr & SVR_SUPPRESS_EOI_BROADCAST) === 0) this.#options.ioApic?.ioApicEoi(vector);
  }

  // Task priority, as CR8 and the Hyper-V MSR see it ------------------------------------------------------------------

  get cr8(): number {
    return this.state.tpr >>> 4;
  }

  set cr8(value: number) {
    this.state.tpr = (value & 15) << 4;
  }

  // Timer -------------------------------------------------------------------------------------------------------------

  /** When poll() next has something to do, in the clock's nanoseconds. */
  nextDeadline(): bigint | undefined {
    return this.#timer.nextDeadline();
  }

  poll(now: bigint): void {
    this.#timer.poll(now);
  }

  /**
   * A write of the interrupt command register in its xAPIC form (destination in bits 63:56), as HV_X64_MSR_ICR takes it
   * in either mode.
   */
  writeIcr(value: bigint): void {
    this.state.icrHigh = Number((value >> 32n) & 0xff000000n);
    this.state.icrLow = Number(value & 0xffffffffn) & ICR_WRITABLE;
    this.#sendIpi(this.state.icrLow, this.state.icrHigh >>> 24, false);
  }

  /** The interrupt command register, low part in bits 31:0. */
  get icr(): bigint {
    return BigInt(this.state.icrLow) | (BigInt(this.state.icrHigh) << 32n);
  }

  // Registers ---------------------------------------------------------------------------------------------------------

  /** Where the registers are mapped now, or undefined: x2APIC mode or globally disabled. Only the own VP sees them there. */
  get mmioBase(): number | undefined {
    return this.enabled && !this.x2apic ? Number(this.state.apicBase & APIC_BASE_ADDRESS) : undefined;
  }

  /** @param offset from mmioBase, 0..0xFFF. Registers are 32 bits wide at multiples of 16; the rest reads zero. */
  readMmio(offset: number, size: number): number {
    const at = offset & 15;
    if (at + size > 4) return 0;
    const value = this.readRegister(offset >>> 4) >>> (at * 8);
    return size === 4 ? value : value & ((1 << (size * 8)) - 1);
  }

  /** Writes other than aligned 32-bit ones are undefined in the SDM; they do nothing here. */
  writeMmio(offset: number, size: number, value: number): void {
    if (size === 4 && (offset & 15) === 0) this.writeRegister(offset >>> 4, value >>> 0);
  }

  /** An xAPIC register by number (offset >> 4). A reserved one sets the illegal-register error and reads zero. */
  readRegister(register: number): number {
    const s = this.state;
    if (register >= Register.ISR && register < Register.ISR + 8) return s.isr[register - Register.ISR] as number;
    if (register >= Register.TMR && register < Register.TMR + 8) return Atomics.load(s.tmr, register - Register.TMR);
    if (register >= Register.IRR && register < Register.IRR + 8) return Atomics.load(s.irr, register - Register.IRR);
    if (register >= Register.LVT_TIMER && register < Register.LVT_TIMER + LVT_COUNT)
      return s.lvt[register - Register.LVT_TIMER] as number;
    switch (register) {
      case Register.ID:
        return s.id;
      case Register.VERSION:
        return VERSION | (this.#options.directedEoi ? VERSION_DIRECTED_EOI : 0);
      case Register.TPR:
        return s.tpr;
      case Register.APR:
      case Register.RRD:
      case Register.EOI:
        return 0;
      case Register.PPR:
        return this.ppr;
      case Register.LDR:
        return s.ldr;
      case Register.DFR:
        return s.dfr;
      case Register.SVR:
        return s.svr;
      case Register.ESR:
        return s.esr;
      case Register.ICR_LOW:
        return s.icrLow;
      case Register.ICR_HIGH:
        return s.icrHigh;
      case Register.INITIAL_COUNT:
        return s.initialCount;
      case Register.CURRENT_COUNT:
        return this.#timer.currentCount();
      case Register.DIVIDE:
        return s.divide;
      default:
        this.#error(ApicError.ILLEGAL_REGISTER);
        return 0;
    }
  }

  writeRegister(register: number, value: number): void {
    const s = this.state;
    if (register >= Register.LVT_TIMER && register < Register.LVT_TIMER + LVT_COUNT) {
      this.#writeLvt(register - Register.LVT_TIMER, value);
      return;
    }
    switch (register) {
      case Register.ID:
        s.id = (value & 0xff000000) >>> 0;
        break;
      case Register.TPR:
        s.tpr = value & 0xff;
        break;
      case Register.EOI:
        this.eoi();
        break;
      case Register.LDR:
        s.ldr = (value & 0xff000000) >>> 0;
        break;
      case Register.DFR:
        s.dfr = (value | 0x0fffffff) >>> 0;
        break;
      case Register.SVR:
        s.svr = value & (0x1ff | (this.#options.directedEoi ? SVR_SUPPRESS_EOI_BROADCAST : 0));
        // While software-disabled every LVT mask bit is set and cannot be cleared.
        if (!this.softwareEnabled) for (let i = 0; i < LVT_COUNT; i++) this.#writeLvt(i, s.lvt[i] as number);
        break;
      case Register.ESR:
        s.esr = Atomics.exchange(s.errors, 0, 0);
        break;
      case Register.ICR_LOW:
        s.icrLow = value & ICR_WRITABLE;
        this.#sendIpi(s.icrLow, s.icrHigh >>> 24, false);
        break;
      case Register.ICR_HIGH:
        s.icrHigh = (value & 0xff000000) >>> 0;
        break;
      case Register.INITIAL_COUNT:
        this.#timer.start(value);
        break;
      case Register.DIVIDE:
        this.#timer.setDivide(value & 0xb);
        break;
      case Register.SELF_IPI:
        if (!this.x2apic) this.#error(ApicError.ILLEGAL_REGISTER);
        else this.#sendIpi((Shorthand.SELF << 18) | (value & 0xff), 0, true);
        break;
      case Register.VERSION:
      case Register.APR:
      case Register.PPR:
      case Register.RRD:
      case Register.CURRENT_COUNT:
        break;
      default:
        // ISR, TMR and IRR are read-only; what is left does not exist.
        if (register < Register.ISR || register >= Register.ESR) this.#error(ApicError.ILLEGAL_REGISTER);
    }
  }

  #writeLvt(index: number, value: number): void {
    // An expiry that is due belongs to the old setting.
    if (index === Lvt.TIMER) this.#timer.settle();
    const masked = this.softwareEnabled ? 0 : LVT_MASKED;
    const lvt = (value & (LVT_WRITABLE[index] as number)) | masked;
    this.state.lvt[index] = lvt;
    const fixed = index === Lvt.TIMER || index === Lvt.ERROR || ((lvt >>> 8) & 7) === DeliveryMode.FIXED;
    if (fixed && (lvt & 0xff) < 16 && (lvt & LVT_MASKED) === 0) this.#error(ApicError.RECEIVE_ILLEGAL_VECTOR);
  }

  /** Table "Valid Combinations for the APIC's ICR": what is not in it is not sent. */
  #sendIpi(icrLow: number, destination: number, wide: boolean): void {
    const shorthand = (icrLow >>> 18) & 3;
    const mode = (icrLow >>> 8) & 7;
    const vector = icrLow & 0xff;
    const toSelf = shorthand === Shorthand.SELF || shorthand === Shorthand.ALL;
    if (toSelf && mode !== DeliveryMode.FIXED) return;
    if (mode === 3 || mode === DeliveryMode.EXTINT) return;
    // "INIT level de-assert" set arbitration IDs on old processors; it has no effect since.
    if (mode === DeliveryMode.INIT && (icrLow & ICR_LEVEL) !== 0 && (icrLow & ICR_ASSERT) === 0) return;
    if ((mode === DeliveryMode.FIXED || mode === DeliveryMode.LOWEST_PRIORITY) && vector < 16) {
      this.#error(ApicError.SEND_ILLEGAL_VECTOR);
      return;
    }
    // Only the IO-APIC sends level-triggered interrupts: the trigger mode of an IPI is always edge.
    const logical = (icrLow & ICR_LOGICAL) !== 0;
    const request = { vector, deliveryMode: mode, destination, logical, trigger: 'edge', wide } as const;
    this.#options.router.sendIpi(this.vp, shorthand, request);
  }

  // MSRs --------------------------------------------------------------------------------------------------------------

  /** IA32_APIC_BASE and the x2APIC range. */
  static ownsMsr(index: number): boolean {
    return index === MSR_APIC_BASE || (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
  }

  /** The value, or undefined for #GP. */
  readMsr(index: number): bigint | undefined {
    if (index === MSR_APIC_BASE) return this.state.apicBase;
    if (!this.x2apic) return undefined;
    const register = index - MSR_X2APIC_FIRST;
    if (!X2APIC_READABLE.has(register)) return undefined;
    if (register === Register.ID) return BigInt(this.apicId);
    if (register === Register.ICR_LOW) return this.icr;
    return BigInt(this.readRegister(register) >>> 0);
  }

  /** False for #GP. */
  writeMsr(index: number, value: bigint): boolean {
    if (index === MSR_APIC_BASE) return this.#writeApicBase(value);
    if (!this.x2apic) return false;
    const register = index - MSR_X2APIC_FIRST;
    if (register === Register.ICR_LOW) {
      // Bit 12 was the delivery status; writing it is tolerated.
      if ((value & 0xffffffffn & ~BigInt(ICR_WRITABLE | 0x1000)) !== 0n) return false;
      this.state.icrLow = Number(value & 0xffffffffn) & ICR_WRITABLE;
      this.state.icrHigh = Number(value >> 32n);
      this.#sendIpi(this.state.icrLow, this.state.icrHigh, true);
      return true;
    }
    let writable = X2APIC_WRITABLE.get(register);
    if (writable === undefined) return false;
    if (register === Register.SVR && this.#options.directedEoi) writable |= SVR_SUPPRESS_EOI_BROADCAST;
    if ((value & ~BigInt(writable >>> 0)) !== 0n) return false;
    this.writeRegister(register, Number(value));
    return true;
  }

  #writeApicBase(value: bigint): boolean {
    if (!apicBaseAllowed(this.state.apicBase, value)) return false;
    const enable = (value & ApicBase.ENABLE) !== 0n;
    const wasEnabled = this.enabled;
    const wasExtended = this.x2apic;
    this.state.apicBase = value;
    if (wasEnabled && !enable) this.#resetRegisters();
    if (this.x2apic && !wasExtended) {
      // The ID, LDR and ICR take their x2APIC forms; everything else is kept.
      this.state.ldr = x2apicLdr(this.apicId);
      this.state.icrHigh = 0;
    }
    if (enable && !wasEnabled) this.state.id = (this.apicId & 0xff) << 24;
    return true;
  }

  inspect(): InspectTree {
    return inspectLocalApic(this, this.#timer.inspect());
  }
}
