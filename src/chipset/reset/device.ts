/**
 * The two legacy ways to reset a PC: the keyboard controller's "pulse output port bit 0" command 0xFE at port 0x64, and
 * the Reset Control Register at port 0xCF9 (Intel ICH/PCH data sheets). There is no keyboard controller otherwise: its
 * status always says that both buffers are empty, so that whoever waits before the command goes on at once.
 */
import { struct, type View } from '../../support/struct.ts';
import type { BytePortDevice } from '../../vid/bus.ts';
import type { Inspectable, InspectNode, PowerControl } from '../../vid/ports.ts';

export const resetState = struct('reset', 1, { control: 'u8' });
export type ResetState = View<(typeof resetState)['fields']>;

const KEYBOARD_COMMAND = 0x64;
const PULSE_RESET = 0xfe;
const RESET_CONTROL = 0xcf9;
/** SYS_RST: hard or soft. RST_CPU: going from 0 to 1 resets. FULL_RST: power cycle too. */
const SYS_RST = 0x02;
const RST_CPU = 0x04;
const FULL_RST = 0x08;

export class ResetPorts implements BytePortDevice, Inspectable {
  readonly bytesOnly = true;
  readonly ports = [
    { first: KEYBOARD_COMMAND, count: 1 },
    { first: RESET_CONTROL, count: 1 },
  ];
  readonly #state: ResetState;
  readonly #power: Pick<PowerControl, 'reset'>;

  constructor(state: ResetState, power: Pick<PowerControl, 'reset'>) {
    this.#state = state;
    this.#power = power;
  }

  reset(): void {
    this.#state.control = 0;
  }

  readPort(port: number, _size: number): number {
    return port === RESET_CONTROL ? this.#state.control : 0;
  }

  writePort(port: number, _size: number, value: number): void {
    if (port === KEYBOARD_COMMAND) {
      if (value === PULSE_RESET) this.#power.reset();
      return;
    }
    const resets = value & ~this.#state.control & RST_CPU;
    this.#state.control = value & (SYS_RST | RST_CPU | FULL_RST);
    if (resets) this.#power.reset();
  }

  inspect(): InspectNode {
    return { RST_CNT: this.#state.control };
  }
}
