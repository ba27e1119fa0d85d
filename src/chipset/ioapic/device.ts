/**
 * An I/O APIC with 24 inputs (Intel 82093AA data sheet), version 0x20: it also has the EOI register of later chipsets.
 * Input levels mean asserted or not; the polarity bit is kept and has no effect, as ACPI describes inputs the same way.
 */
import { array, struct, type View } from '../../support/struct.ts';
import type { Inspectable, InspectNode, InterruptLine, MmioDevice } from '../../vid/ports.ts';
import {
  DELIVERY_MODE,
  DESTINATION_SHIFT,
  ENTRY,
  ENTRY_WRITABLE,
  ID_MASK,
  INDEX,
  INPUTS,
  IOAPIC_BASE,
  IOAPIC_SIZE,
  MMIO,
  VERSION,
} from './protocol.ts';

export const ioApicState = struct('ioapic', 1, {
  select: 'u8',
  id: 'u32',
  /** Bit n: input n is asserted. */
  levels: 'u32',
  low: array('u32', INPUTS),
  high: array('u32', INPUTS),
  delivered: array('u32', INPUTS),
});
export type IoApicState = View<(typeof ioApicState)['fields']>;

/** The interrupt bus towards the local APICs. */
export interface InterruptDelivery {
  /**
   * @param destination the 8-bit destination field; `logical` says how to read it
   * @param deliveryMode as in the redirection entry (0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT)
   * @param level the trigger mode: true when the local APIC must report its EOI
   */
  deliver(destination: number, logical: boolean, deliveryMode: number, vector: number, level: boolean): void;
}

/** Delivery modes whose interrupts a local APIC ends with an EOI; the others act as edges whatever the entry says. */
const ENDED_BY_EOI: readonly number[] = [DELIVERY_MODE.FIXED, DELIVERY_MODE.LOWEST_PRIORITY];

export class IoApic implements MmioDevice, Inspectable {
  readonly ranges = [{ first: IOAPIC_BASE, size: IOAPIC_SIZE }];
  readonly #state: IoApicState;
  readonly #bus: InterruptDelivery;

  constructor(state: IoApicState, bus: InterruptDelivery) {
    this.#state = state;
    this.#bus = bus;
  }

  /** The inputs' levels are their sources' and stay. */
  reset(): void {
    const s = this.#state;
    s.select = 0;
    s.id = 0;
    s.low.fill(ENTRY.MASKED);
    s.high.fill(0);
  }

  /** Input `input`, 0..23. */
  line(input: number): InterruptLine {
    if (!(input >= 0 && input < INPUTS)) throw new RangeError(`IO-APIC input ${input}: there are 0..${INPUTS - 1}`);
    return { set: (level) => this.#setInput(input, level) };
  }

  /** A local APIC ended a level-triggered interrupt of this vector. */
  endOfInterrupt(vector: number): void {
    const s = this.#state;
    for (let input = 0; input < INPUTS; input++) {
      const low = s.low[input] as number;
      if ((low & ENTRY.VECTOR) !== vector || !(low & ENTRY.REMOTE_IRR)) continue;
      s.low[input] = low & ~ENTRY.REMOTE_IRR;
      this.#service(input);
    }
  }

  readMmio(gpa: number, _size: number): number {
    const s = this.#state;
    const offset = (gpa - IOAPIC_BASE) & 0xff;
    if (offset === MMIO.IOREGSEL) return s.select;
    if (offset === MMIO.IOWIN) return this.#readRegister(s.select);
    return 0;
  }

  writeMmio(gpa: number, _size: number, value: number): void {
    const s = this.#state;
    const offset = (gpa - IOAPIC_BASE) & 0xff;
    if (offset === MMIO.IOREGSEL) s.select = value & 0xff;
    else if (offset === MMIO.IOWIN) this.#writeRegister(s.select, value);
    else if (offset === MMIO.EOIR) this.endOfInterrupt(value & 0xff);
  }

  inspect(): InspectNode {
    const s = this.#state;
    const inputs: Record<string, InspectNode> = {};
    for (let input = 0; input < INPUTS; input++) {
      const low = s.low[input] as number;
      const asserted = ((s.levels >>> input) & 1) === 1;
      if (low === ENTRY.MASKED && !asserted) continue;
      inputs[`input ${input}`] = {
        asserted,
        vector: low & ENTRY.VECTOR,
        deliveryMode: (low & ENTRY.DELIVERY_MODE) >> ENTRY.DELIVERY_MODE_SHIFT,
        destination: (s.high[input] as number) >>> DESTINATION_SHIFT,
        logical: (low & ENTRY.LOGICAL) !== 0,
        level: (low & ENTRY.LEVEL) !== 0,
        masked: (low & ENTRY.MASKED) !== 0,
        remoteIrr: (low & ENTRY.REMOTE_IRR) !== 0,
        delivered: s.delivered[input] as number,
      };
    }
    return { id: s.id >>> 24, select: s.select, ...inputs };
  }

  #setInput(input: number, level: boolean): void {
    const s = this.#state;
    const bit = 1 << input;
    const was = (s.levels & bit) !== 0;
    if (was === level) return;
    s.levels = level ? s.levels | bit : s.levels & ~bit;
    if (!level) return;
    if ((s.low[input] as number) & ENTRY.LEVEL) this.#service(input);
    // An edge that meets a masked input is gone: the data sheet keeps none.
    else if (!((s.low[input] as number) & ENTRY.MASKED)) this.#deliver(input);
  }

  /** Delivers a level-triggered input that is asserted, open and not waiting for an EOI. */
  #service(input: number): void {
    const low = this.#state.low[input] as number;
    if (!(low & ENTRY.LEVEL) || low & (ENTRY.MASKED | ENTRY.REMOTE_IRR)) return;
    if ((this.#state.levels >>> input) & 1) this.#deliver(input);
  }

  #deliver(input: number): void {
    const s = this.#state;
    const low = s.low[input] as number;
    const mode = (low & ENTRY.DELIVERY_MODE) >> ENTRY.DELIVERY_MODE_SHIFT;
    const level = (low & ENTRY.LEVEL) !== 0 && ENDED_BY_EOI.includes(mode);
    // Before the delivery, which may come back with the EOI at once.
    if (level) s.low[input] = low | ENTRY.REMOTE_IRR;
    s.delivered[input] = (s.delivered[input] as number) + 1;
    const destination = (s.high[input] as number) >>> DESTINATION_SHIFT;
    this.#bus.deliver(destination, (low & ENTRY.LOGICAL) !== 0, mode, low & ENTRY.VECTOR, level);
  }

  #readRegister(index: number): number {
    const s = this.#state;
    if (index === INDEX.ID || index === INDEX.ARBITRATION) return s.id;
    if (index === INDEX.VERSION) return VERSION;
    const input = (index - INDEX.REDIRECTION) >> 1;
    if (input < 0 || input >= INPUTS) return 0;
    return (index & 1 ? s.high[input] : s.low[input]) as number;
  }

  #writeRegister(index: number, value: number): void {
    const s = this.#state;
    if (index === INDEX.ID) {
      s.id = value & ID_MASK;
      return;
    }
    const input = (index - INDEX.REDIRECTION) >> 1;
    if (input < 0 || input >= INPUTS) return;
    if (index & 1) {
      s.high[input] = (value & (0xff << DESTINATION_SHIFT)) >>> 0;
      return;
    }
    let low = (value & ENTRY_WRITABLE) | ((s.low[input] as number) & ENTRY.REMOTE_IRR);
    // An edge-triggered entry has no Remote IRR; drivers flip the trigger mode to get rid of a stale one.
    if (!(low & ENTRY.LEVEL)) low &= ~ENTRY.REMOTE_IRR;
    s.low[input] = low;
    this.#service(input);
  }
}
