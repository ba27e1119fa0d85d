/**
 * A 16550A UART (National Semiconductor PC16550D data sheet) whose line is infinitely fast: the transmitter is empty as
 * soon as THR was written, and the receiver's "four character times" have always passed, so a non-empty FIFO below its
 * trigger level reports the character timeout at once.
 */
import { array, struct, type View } from '../../support/struct.ts';
import type { BytePortDevice } from '../../vid/bus.ts';
import type { Inspectable, InspectNode, InterruptLine, PortRange } from '../../vid/ports.ts';
import { FCR, FIFO_SIZE, IER, IIR, LCR, LSR, MCR, MSR, PORT_COUNT, REGISTER, TRIGGER_LEVELS } from './protocol.ts';

export const uartState = struct('uart', 1, {
  ier: 'u8',
  fcr: 'u8',
  lcr: 'u8',
  mcr: 'u8',
  /** OE and the error bits of the character that was last on top of the FIFO, until LSR is read. */
  lsrErrors: 'u8',
  /** Low four bits: what changed since MSR was read. High four: the lines as they were then seen. */
  msr: 'u8',
  scr: 'u8',
  dll: 'u8',
  dlm: 'u8',
  thrInterrupt: 'u8',
  lineLevel: 'u8',
  rxHead: 'u8',
  rxCount: 'u8',
  rxData: array('u8', FIFO_SIZE),
  rxErrors: array('u8', FIFO_SIZE),
  transmitted: 'u64',
  received: 'u64',
  overruns: 'u64',
});
export type UartState = View<(typeof uartState)['fields']>;

/** The far end of the serial cable. */
export interface UartLine {
  transmit(byte: number): void;
  /** The receiver could take bytes again after it could not. A hint; `rxSpace()` is the truth. */
  receiverReady?(): void;
}

export interface UartConfig {
  readonly firstPort: number;
  /**
   * `rts` (the default): the far end honours RTS, so input waits there until the guest's driver has set the port up, and
   * is not lost to the driver's own clearing of the FIFOs. `none`: input is taken whenever the FIFO has room.
   */
  readonly flowControl?: 'rts' | 'none';
}

/** A connected terminal: clear to send, ready, carrier. */
const CONNECTED = MSR.CTS | MSR.DSR | MSR.DCD;
/** Which MSR line each MCR output drives in loopback. */
const LOOPBACK: readonly (readonly [output: number, input: number])[] = [
  [MCR.RTS, MSR.CTS],
  [MCR.DTR, MSR.DSR],
  [MCR.OUT1, MSR.RI],
  [MCR.OUT2, MSR.DCD],
];
const DIVISOR_9600 = 12;

export class Uart implements BytePortDevice, Inspectable {
  readonly bytesOnly = true;
  readonly ports: readonly PortRange[];
  readonly #state: UartState;
  readonly #config: UartConfig;
  readonly #interrupt: InterruptLine;
  readonly #line: UartLine;

  constructor(state: UartState, config: UartConfig, interrupt: InterruptLine, line: UartLine) {
    this.ports = [{ first: config.firstPort, count: PORT_COUNT }];
    this.#state = state;
    this.#config = config;
    this.#interrupt = interrupt;
    this.#line = line;
  }

  reset(): void {
    const s = this.#state;
    s.ier = s.fcr = s.lcr = s.mcr = s.scr = s.dlm = s.lsrErrors = s.rxHead = s.rxCount = 0;
    s.dll = DIVISOR_9600;
    s.msr = CONNECTED;
    s.thrInterrupt = 0;
    s.lineLevel = 0;
    this.#interrupt.set(false);
  }

  /** How many bytes `receive` would accept now. */
  rxSpace(): number {
    const s = this.#state;
    if (s.mcr & MCR.LOOP) return 0;
    if (this.#config.flowControl !== 'none' && !(s.mcr & MCR.RTS)) return 0;
    return this.#capacity() - s.rxCount;
  }

  /** Takes as many bytes as there is room for and returns how many; the caller keeps the rest and retries. */
  receive(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.rxSpace());
    for (let i = 0; i < count; i++) this.#push(bytes[i] as number, 0);
    if (count > 0) this.#update();
    return count;
  }

  /** A break condition on the line: a zero character with BI. Returns false when there is no room. */
  receiveBreak(): boolean {
    if (this.rxSpace() === 0) return false;
    this.#push(0, LSR.BI);
    this.#update();
    return true;
  }

  readPort(port: number, _size: number): number {
    const s = this.#state;
    const dlab = s.lcr & LCR.DLAB;
    switch (port - this.#config.firstPort) {
      case REGISTER.RBR:
        return dlab ? s.dll : this.#readReceiver();
      case REGISTER.IER:
        return dlab ? s.dlm : s.ier;
      case REGISTER.IIR: {
        const cause = this.#cause();
        if (cause === IIR.THR_EMPTY) {
          s.thrInterrupt = 0;
          this.#update();
        }
        return cause | (s.fcr & FCR.FIFO_ENABLE ? IIR.FIFOS_ENABLED : 0);
      }
      case REGISTER.LCR:
        return s.lcr;
      case REGISTER.MCR:
        return s.mcr;
      case REGISTER.LSR: {
        const value = this.#lineStatus();
        s.lsrErrors = 0;
        this.#update();
        return value;
      }
      case REGISTER.MSR: {
        const value = s.msr;
        s.msr &= 0xf0;
        this.#update();
        return value;
      }
      default:
        return s.scr;
    }
  }

  writePort(port: number, _size: number, value: number): void {
    const s = this.#state;
    const dlab = s.lcr & LCR.DLAB;
    const couldReceive = this.rxSpace() > 0;
    switch (port - this.#config.firstPort) {
      case REGISTER.THR:
        if (dlab) s.dll = value;
        else this.#writeTransmitter(value);
        return;
      case REGISTER.IER:
        if (dlab) {
          s.dlm = value;
          return;
        }
        // THR is always empty here, so enabling its interrupt reports that at once: drivers probe for this.
        if (value & ~s.ier & IER.ETBEI) s.thrInterrupt = 1;
        s.ier = value & 0x0f;
        break;
      case REGISTER.FCR:
        this.#writeFifoControl(value);
        break;
      case REGISTER.LCR:
        s.lcr = value;
        return;
      case REGISTER.MCR:
        s.mcr = value & 0x1f;
        this.#updateModemLines();
        break;
      case REGISTER.SCR:
        s.scr = value;
        return;
      default:
        return; // LSR and MSR: writes are for factory test.
    }
    this.#update();
    if (!couldReceive && this.rxSpace() > 0) this.#line.receiverReady?.();
  }

  inspect(): InspectNode {
    const s = this.#state;
    return {
      IER: s.ier,
      IIR: this.#cause(),
      FCR: s.fcr,
      LCR: s.lcr,
      MCR: s.mcr,
      LSR: this.#lineStatus(),
      MSR: s.msr,
      SCR: s.scr,
      divisor: s.dll | (s.dlm << 8),
      interrupt: s.lineLevel === 1,
      receiverFifo: s.rxCount,
      transmitted: s.transmitted,
      received: s.received,
      overruns: s.overruns,
    };
  }

  #capacity(): number {
    return this.#state.fcr & FCR.FIFO_ENABLE ? FIFO_SIZE : 1;
  }

  #push(byte: number, errors: number): void {
    const s = this.#state;
    if (s.rxCount >= this.#capacity()) {
      // The shift register's character is lost; without FIFOs the new one replaces the old.
      s.lsrErrors |= LSR.OE;
      s.overruns += 1n;
      if (s.fcr & FCR.FIFO_ENABLE) return;
      s.rxCount = 0;
    }
    const tail = (s.rxHead + s.rxCount) % FIFO_SIZE;
    s.rxData[tail] = byte;
    s.rxErrors[tail] = errors;
    s.rxCount++;
    s.received += 1n;
    if (s.rxCount === 1) s.lsrErrors |= errors;
  }

  #readReceiver(): number {
    const s = this.#state;
    const fifo = s.fcr & FCR.FIFO_ENABLE;
    const byte = s.rxData[s.rxHead] as number;
    // An empty RBR still holds its last character; an empty FIFO has nothing to show.
    if (s.rxCount === 0) return fifo ? 0 : byte;
    const wasFull = this.rxSpace() === 0;
    if (fifo) s.rxHead = (s.rxHead + 1) % FIFO_SIZE;
    s.rxCount--;
    if (s.rxCount > 0) s.lsrErrors |= s.rxErrors[s.rxHead] as number;
    this.#update();
    if (wasFull && this.rxSpace() > 0) this.#line.receiverReady?.();
    return byte;
  }

  #writeTransmitter(byte: number): void {
    const s = this.#state;
    // Writing THR clears its interrupt and emptying it sets it again. An edge-triggered input must see both.
    s.thrInterrupt = 0;
    this.#update();
    s.transmitted += 1n;
    if (s.mcr & MCR.LOOP) this.#push(byte, 0);
    else this.#line.transmit(byte);
    s.thrInterrupt = 1;
    this.#update();
  }

  #writeFifoControl(value: number): void {
    const s = this.#state;
    const toggled = (value ^ s.fcr) & FCR.FIFO_ENABLE;
    if (toggled || value & FCR.RCVR_RESET) {
      s.rxHead = s.rxCount = 0;
      s.lsrErrors &= LSR.OE;
    }
    if (toggled || value & FCR.XMIT_RESET) s.thrInterrupt = 1;
    // The trigger bits are programmed only together with FIFO_ENABLE.
    s.fcr = value & FCR.FIFO_ENABLE ? value & 0xc9 : 0;
  }

  #lineStatus(): number {
    const s = this.#state;
    let value = LSR.THRE | LSR.TEMT | s.lsrErrors;
    if (s.rxCount > 0) value |= LSR.DR;
    if (s.fcr & FCR.FIFO_ENABLE)
      for (let i = 0; i < s.rxCount; i++) if (s.rxErrors[(s.rxHead + i) % FIFO_SIZE] !== 0) value |= LSR.FIFO_ERROR;
    return value;
  }

  #updateModemLines(): void {
    const s = this.#state;
    let lines = CONNECTED;
    if (s.mcr & MCR.LOOP) {
      lines = 0;
      for (const [output, input] of LOOPBACK) if (s.mcr & output) lines |= input;
    }
    const changed = (lines ^ s.msr) & 0xf0;
    // RI reports its trailing edge only.
    const delta = (changed >> 4) & (lines & MSR.RI ? ~MSR.TERI : 0xf);
    s.msr = lines | (s.msr & 0x0f) | delta;
  }

  /** The interrupt identification: the pending, enabled cause of highest priority. */
  #cause(): number {
    const s = this.#state;
    if (s.ier & IER.ELSI && s.lsrErrors) return IIR.RECEIVER_LINE_STATUS;
    if (s.ier & IER.ERBFI && s.rxCount > 0) {
      const trigger = s.fcr & FCR.FIFO_ENABLE ? (TRIGGER_LEVELS[s.fcr >> FCR.TRIGGER_SHIFT] as number) : 1;
      return s.rxCount >= trigger ? IIR.RECEIVED_DATA_AVAILABLE : IIR.CHARACTER_TIMEOUT;
    }
    if (s.ier & IER.ETBEI && s.thrInterrupt) return IIR.THR_EMPTY;
    if (s.ier & IER.EDSSI && s.msr & 0x0f) return IIR.MODEM_STATUS;
    return IIR.NONE;
  }

  /** PC wiring: the INTR pin reaches the interrupt controller through a gate that OUT2 opens. */
  #update(): void {
    const s = this.#state;
    const level = s.mcr & MCR.OUT2 && this.#cause() !== IIR.NONE ? 1 : 0;
    if (level === s.lineLevel) return;
    s.lineLevel = level;
    this.#interrupt.set(level === 1);
  }
}
