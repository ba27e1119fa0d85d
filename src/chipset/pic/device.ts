/**
 * The PC's pair of 8259A interrupt controllers (Intel 8259A data sheet), the second cascaded into input 2 of the first,
 * and the edge/level control registers ELCR at 0x4D0/0x4D1 (Intel 82371 data sheet).
 *
 * One liberty, shared with other virtual machines: an edge stays latched when its input falls before the acknowledge,
 * where the chip would answer with a spurious interrupt 7. Short pulses are then never lost.
 */
import { array, struct, type View } from '../../support/struct.ts';
import type { BytePortDevice } from '../../vid/bus.ts';
import type { Inspectable, InspectNode, InterruptLine } from '../../vid/ports.ts';

export const picState = struct('pic', 1, {
  /** Inputs' levels, then rising edges not yet acknowledged. */
  lines: array('u8', 2),
  edges: array('u8', 2),
  isr: array('u8', 2),
  imr: array('u8', 2),
  elcr: array('u8', 2),
  vectorBase: array('u8', 2),
  /** The input that has the lowest priority; the next one has the highest. */
  lowest: array('u8', 2),
  icw1: array('u8', 2),
  icw4: array('u8', 2),
  /** Which initialization word is expected next at the odd port: 0 none, else 2, 3 or 4. */
  expects: array('u8', 2),
  rotateOnAutoEoi: array('u8', 2),
  specialMask: array('u8', 2),
  readIsr: array('u8', 2),
  poll: array('u8', 2),
  outputLevel: 'u8',
  spurious: 'u32',
});
export type PicState = View<(typeof picState)['fields']>;

type Chip = 0 | 1;
const MASTER = 0;
const SLAVE = 1;
const CASCADE = 2;
const SPURIOUS = 7;
const NOTHING = -1;

const ICW1 = { IC4: 0x01, SNGL: 0x02, LTIM: 0x08, INIT: 0x10 } as const;
const ICW4 = { AEOI: 0x02, SFNM: 0x10 } as const;
const OCW3 = { RIS: 0x01, RR: 0x02, POLL: 0x04, SELECT: 0x08, SMM: 0x20, ESMM: 0x40 } as const;
/** OCW2's R, SL and EOI bits. */
const OCW2 = {
  CLEAR_ROTATE_ON_AUTO_EOI: 0,
  NON_SPECIFIC_EOI: 1,
  SPECIFIC_EOI: 3,
  SET_ROTATE_ON_AUTO_EOI: 4,
  ROTATE_ON_NON_SPECIFIC_EOI: 5,
  SET_PRIORITY: 6,
  ROTATE_ON_SPECIFIC_EOI: 7,
} as const;

const ELCR_FIRST = 0x4d0;
/** The timer, the keyboard, the cascade, the clock and the coprocessor are edge-triggered for good. */
const ELCR_WRITABLE: Record<Chip, number> = { 0: 0xf8, 1: 0xde };

export class Pic implements BytePortDevice, Inspectable {
  readonly bytesOnly = true;
  readonly ports = [
    { first: 0x20, count: 2 },
    { first: 0xa0, count: 2 },
    { first: ELCR_FIRST, count: 2 },
  ];
  readonly #state: PicState;
  readonly #intr: InterruptLine;

  /** @param intr the INTR output of the first controller; the processor's answer to it is `acknowledge()`. */
  constructor(state: PicState, intr: InterruptLine) {
    this.#state = state;
    this.#intr = intr;
  }

  reset(): void {
    const s = this.#state;
    for (const chip of [MASTER, SLAVE] as const) {
      this.#initialize(chip, 0);
      s.expects[chip] = 0;
      s.vectorBase[chip] = 0;
      // Until it is initialized the controller forwards nothing.
      s.imr[chip] = 0xff;
      s.elcr[chip] = 0;
    }
    s.outputLevel = 0;
    this.#intr.set(false);
  }

  /** IRQ 0..15; IRQ 2 is the cascade and has no input. */
  line(irq: number): InterruptLine {
    if (!(irq >= 0 && irq < 16) || irq === CASCADE)
      throw new RangeError(`8259A input ${irq}: there are 0..15 without 2`);
    const chip = irq < 8 ? MASTER : SLAVE;
    return { set: (level) => this.#setInput(chip, 1 << (irq & 7), level) };
  }

  /** The INTR output: the processor has an interrupt to acknowledge. */
  output(): boolean {
    return this.#pending(MASTER) !== NOTHING;
  }

  /** The processor's interrupt acknowledge cycle: returns the vector. With nothing left to say that of input 7. */
  acknowledge(): number {
    const s = this.#state;
    let chip: Chip = MASTER;
    let irq = this.#pending(MASTER);
    if (irq !== NOTHING) this.#take(MASTER, irq);
    if (irq === CASCADE) {
      chip = SLAVE;
      irq = this.#pending(SLAVE);
      if (irq !== NOTHING) this.#take(SLAVE, irq);
    }
    if (irq === NOTHING) {
      irq = SPURIOUS;
      s.spurious++;
    }
    this.#update();
    return (s.vectorBase[chip] as number) | irq;
  }

  readPort(port: number, _size: number): number {
    const s = this.#state;
    if (port >= ELCR_FIRST) return s.elcr[port - ELCR_FIRST] as number;
    const chip = chipOf(port);
    if (s.poll[chip]) {
      s.poll[chip] = 0;
      const irq = this.#pending(chip);
      if (irq === NOTHING) return 0;
      this.#take(chip, irq);
      this.#update();
      return 0x80 | irq;
    }
    if (port & 1) return s.imr[chip] as number;
    return s.readIsr[chip] ? (s.isr[chip] as number) : this.#requests(chip);
  }

  writePort(port: number, _size: number, value: number): void {
    const s = this.#state;
    if (port >= ELCR_FIRST) {
      const chip = (port - ELCR_FIRST) as Chip;
      s.elcr[chip] = value & ELCR_WRITABLE[chip];
    } else if (port & 1) this.#writeOdd(chipOf(port), value);
    else if (value & ICW1.INIT) this.#initialize(chipOf(port), value);
    else if (value & OCW3.SELECT) this.#writeOcw3(chipOf(port), value);
    else this.#writeOcw2(chipOf(port), value);
    this.#update();
  }

  inspect(): InspectNode {
    const s = this.#state;
    const chip = (which: Chip) => ({
      IRR: this.#requests(which),
      ISR: s.isr[which] as number,
      IMR: s.imr[which] as number,
      ELCR: s.elcr[which] as number,
      vectorBase: s.vectorBase[which] as number,
      lowestPriority: s.lowest[which] as number,
      autoEoi: ((s.icw4[which] as number) & ICW4.AEOI) !== 0,
    });
    return { output: this.output(), spurious: s.spurious, master: chip(MASTER), slave: chip(SLAVE) };
  }

  #setInput(chip: Chip, bit: number, level: boolean): void {
    const s = this.#state;
    const lines = s.lines[chip] as number;
    if (((lines & bit) !== 0) === level) return;
    s.lines[chip] = lines ^ bit;
    if (level) s.edges[chip] = (s.edges[chip] as number) | bit;
    this.#update();
  }

  /** The interrupt request register: levels of level-triggered inputs, unacknowledged edges of the others. */
  #requests(chip: Chip): number {
    const s = this.#state;
    const level = (s.icw1[chip] as number) & ICW1.LTIM ? 0xff : (s.elcr[chip] as number);
    const requests = ((s.lines[chip] as number) & level) | ((s.edges[chip] as number) & ~level);
    // The cascade input follows the other controller's output, so that nothing is lost between the two.
    if (chip === MASTER && this.#pending(SLAVE) !== NOTHING) return requests | (1 << CASCADE);
    return requests;
  }

  /** The input this controller would have acknowledged now, or NOTHING. */
  #pending(chip: Chip): number {
    const s = this.#state;
    const imr = s.imr[chip] as number;
    const requests = this.#requests(chip) & ~imr;
    if (requests === 0) return NOTHING;
    let inService = s.isr[chip] as number;
    if (s.specialMask[chip]) inService &= ~imr;
    // Special fully nested mode: the cascade in service does not keep out a higher input of the other controller.
    if (chip === MASTER && (s.icw4[chip] as number) & ICW4.SFNM) inService &= ~(1 << CASCADE);
    const request = this.#highest(chip, requests);
    const serving = this.#highest(chip, inService);
    return serving === NOTHING || this.#rank(chip, request) < this.#rank(chip, serving) ? request : NOTHING;
  }

  /** 0 for the highest priority, 7 for the lowest. */
  #rank(chip: Chip, irq: number): number {
    return (irq + 7 - (this.#state.lowest[chip] as number)) & 7;
  }

  #highest(chip: Chip, bits: number): number {
    const first = (this.#state.lowest[chip] as number) + 1;
    for (let i = 0; i < 8; i++) if (bits & (1 << ((first + i) & 7))) return (first + i) & 7;
    return NOTHING;
  }

  #take(chip: Chip, irq: number): void {
    const s = this.#state;
    s.edges[chip] = (s.edges[chip] as number) & ~(1 << irq);
    if (!((s.icw4[chip] as number) & ICW4.AEOI)) s.isr[chip] = (s.isr[chip] as number) | (1 << irq);
    else if (s.rotateOnAutoEoi[chip]) s.lowest[chip] = irq;
  }

  #initialize(chip: Chip, icw1: number): void {
    const s = this.#state;
    s.icw1[chip] = icw1;
    s.icw4[chip] = 0;
    s.expects[chip] = 2;
    s.edges[chip] = s.isr[chip] = s.imr[chip] = 0;
    s.lowest[chip] = 7;
    s.rotateOnAutoEoi[chip] = s.specialMask[chip] = s.readIsr[chip] = s.poll[chip] = 0;
  }

  #writeOdd(chip: Chip, value: number): void {
    const s = this.#state;
    const icw1 = s.icw1[chip] as number;
    const last = icw1 & ICW1.IC4 ? 4 : 0;
    switch (s.expects[chip]) {
      case 2:
        s.vectorBase[chip] = value & 0xf8;
        s.expects[chip] = icw1 & ICW1.SNGL ? last : 3;
        break;
      case 3: // The wiring of the cascade is fixed.
        s.expects[chip] = last;
        break;
      case 4:
        s.icw4[chip] = value;
        s.expects[chip] = 0;
        break;
      default:
        s.imr[chip] = value;
    }
  }

  #writeOcw2(chip: Chip, value: number): void {
    const s = this.#state;
    const command = value >> 5;
    const selected = value & 7;
    switch (command) {
      case OCW2.CLEAR_ROTATE_ON_AUTO_EOI:
      case OCW2.SET_ROTATE_ON_AUTO_EOI:
        s.rotateOnAutoEoi[chip] = command === OCW2.SET_ROTATE_ON_AUTO_EOI ? 1 : 0;
        break;
      case OCW2.NON_SPECIFIC_EOI:
      case OCW2.ROTATE_ON_NON_SPECIFIC_EOI: {
        // In special mask mode a masked input in service is left alone.
        const candidates = (s.isr[chip] as number) & (s.specialMask[chip] ? ~(s.imr[chip] as number) : 0xff);
        const irq = this.#highest(chip, candidates);
        if (irq === NOTHING) break;
        s.isr[chip] = (s.isr[chip] as number) & ~(1 << irq);
        if (command === OCW2.ROTATE_ON_NON_SPECIFIC_EOI) s.lowest[chip] = irq;
        break;
      }
      case OCW2.SPECIFIC_EOI:
      case OCW2.ROTATE_ON_SPECIFIC_EOI:
        s.isr[chip] = (s.isr[chip] as number) & ~(1 << selected);
        if (command === OCW2.ROTATE_ON_SPECIFIC_EOI) s.lowest[chip] = selected;
        break;
      case OCW2.SET_PRIORITY:
        s.lowest[chip] = selected;
        break;
      default: // No operation.
    }
  }

  #writeOcw3(chip: Chip, value: number): void {
    const s = this.#state;
    if (value & OCW3.POLL) s.poll[chip] = 1;
    else if (value & OCW3.RR) s.readIsr[chip] = value & OCW3.RIS;
    if (value & OCW3.ESMM) s.specialMask[chip] = value & OCW3.SMM ? 1 : 0;
  }

  #update(): void {
    const s = this.#state;
    const level = this.output() ? 1 : 0;
    if (level === s.outputLevel) return;
    s.outputLevel = level;
    this.#intr.set(level === 1);
  }
}

function chipOf(port: number): Chip {
  return port & 0x80 ? SLAVE : MASTER;
}
