/**
 * The SynIC side of the Hyper-V test device that bare-metal test kernels written for QEMU drive through port 0x3000:
 * routes through which SINTs can be raised, and loop-back connections. A message posted to a connection arrives at its
 * processor's SINT unchanged; a signal sets the event flag whose number is the connection's.
 *
 * Threads: called with the platform lock held (`signalEvent` takes it), from any thread; the connections are in shared memory.
 */
import { array, struct, type View } from '../../support/struct.ts';
import { SINT_COUNT, Status } from './constants.ts';
import type { HypervPartition } from './partition.ts';
import type { ConnectionPort, HypervTestPort } from './ports.ts';

const CONNECTIONS = 256;
const PRESENT = 0x10000;

export const HypervTestState = struct('hyperv-test', 1, {
  /** One bit per SINT, by processor. */
  routes: array('u16', 256),
  /** PRESENT | processor << 8 | SINT, by connection; 0 is none. */
  messages: array('u32', CONNECTIONS),
  events: array('u32', CONNECTIONS),
});

/** Operations by the number in bits 23:16 of what is written to the port. */
const OPERATIONS: Readonly<Record<number, keyof HypervTestPort>> = {
  1: 'makeRoute',
  2: 'removeRoute',
  3: 'raise',
  4: 'makeMessageConnection',
  5: 'removeMessageConnection',
  6: 'makeEventConnection',
  7: 'removeEventConnection',
};

export class HypervTest implements HypervTestPort, ConnectionPort {
  readonly state: View<typeof HypervTestState.fields>;
  readonly #partition: HypervPartition;

  /** Adds its connections to the partition. */
  constructor(partition: HypervPartition, buffer: ArrayBufferLike, base: number) {
    this.#partition = partition;
    this.state = HypervTestState.view(buffer, base);
    partition.addConnections(this);
  }

  reset(): void {
    this.state.routes.fill(0);
    this.state.messages.fill(0);
    this.state.events.fill(0);
  }

  /** A 32-bit write to the port: connection << 24 | operation << 16 | processor << 8 | SINT. Unknown operations do nothing. */
  command(value: number): void {
    const operation = OPERATIONS[(value >>> 16) & 0xff];
    if (operation) this[operation]((value >>> 8) & 0xff, value & 0xff, value >>> 24);
  }

  makeRoute(processor: number, sint: number): void {
    if (sint < SINT_COUNT) this.state.routes[processor & 0xff] = this.#route(processor) | (1 << sint);
  }

  removeRoute(processor: number, sint: number): void {
    if (sint < SINT_COUNT) this.state.routes[processor & 0xff] = this.#route(processor) & ~(1 << sint);
  }

  raise(processor: number, sint: number): void {
    if (sint < SINT_COUNT && (this.#route(processor) & (1 << sint)) !== 0) this.#partition.signalSint(processor, sint);
  }

  #route(processor: number): number {
    return this.state.routes[processor & 0xff] as number;
  }

  makeMessageConnection(processor: number, sint: number, connection: number): void {
    if (sint < SINT_COUNT) this.state.messages[connection & 0xff] = PRESENT | ((processor & 0xff) << 8) | sint;
  }

  removeMessageConnection(_processor: number, _sint: number, connection: number): void {
    this.state.messages[connection & 0xff] = 0;
  }

  makeEventConnection(processor: number, sint: number, connection: number): void {
    if (sint < SINT_COUNT) this.state.events[connection & 0xff] = PRESENT | ((processor & 0xff) << 8) | sint;
  }

  removeEventConnection(_processor: number, _sint: number, connection: number): void {
    this.state.events[connection & 0xff] = 0;
  }

  postMessage(connection: number, type: number, payload: Uint8Array): number | undefined {
    const target = this.state.messages[connection];
    if (target === undefined || target === 0) return undefined;
    const result = this.#partition.postMessage((target >>> 8) & 0xff, target & (SINT_COUNT - 1), type, 0n, payload);
    return { accepted: Status.SUCCESS, full: Status.INSUFFICIENT_BUFFERS, inactive: Status.INVALID_HYPERCALL_INPUT }[
      result
    ];
  }

  signalEvent(connection: number, _flag: number): number | undefined {
    const target = this.state.events[connection];
    if (target === undefined || target === 0) return undefined;
    this.#partition.lock.with(() => {
      this.#partition.setEventFlag((target >>> 8) & 0xff, target & (SINT_COUNT - 1), connection);
    });
    return Status.SUCCESS;
  }
}
