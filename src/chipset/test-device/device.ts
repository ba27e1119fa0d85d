/**
 * The debug devices for bare-metal test kernels, `hv run --test-device`: see protocol.ts for the ports and README.md for
 * what each one is for. The 64 KiB of memory at 0xFF000000 that belong to them are ordinary RAM.
 */
import { struct, type View } from '../../support/struct.ts';
import { allOnes } from '../../vid/bus.ts';
import type { Inspectable, InspectNode, InterruptLine, PortDevice, PortRange, PowerControl } from '../../vid/ports.ts';
import {
  DEBUG_EXIT,
  FLUSH_PAGE,
  FW_CFG_DATA,
  FW_CFG_ID,
  FW_CFG_KEY,
  FW_CFG_KEY_MASK,
  FW_CFG_SELECTOR,
  HYPERV_OPERATION,
  HYPERV_TEST,
  INTERRUPT_LINES,
  SCRATCH,
  SCRATCH_BYTES,
} from './protocol.ts';

export const testDeviceState = struct('test-device', 1, {
  scratch: 'u32',
  fwCfgKey: 'u16',
  fwCfgOffset: 'u32',
  /** Writes to the Hyper-V test port whose operation does not exist. */
  unknownOperations: 'u32',
});
export type TestDeviceState = View<(typeof testDeviceState)['fields']>;

/** What the Hyper-V test port asks of the synthetic interrupt controllers. Removing what is not there does nothing. */
export interface HypervTestPort {
  makeRoute(processor: number, sint: number): void;
  removeRoute(processor: number, sint: number): void;
  /** Requests the SINT's vector, as the hypervisor does after a message; no message is written. */
  raise(processor: number, sint: number): void;
  /** Messages posted to the connection arrive, type and payload unchanged, at that processor's SINT. */
  makeMessageConnection(connection: number, processor: number, sint: number): void;
  removeMessageConnection(connection: number): void;
  /** Events signalled to the connection set the flag with the connection's own number at that processor's SINT. */
  makeEventConnection(connection: number, processor: number, sint: number): void;
  removeEventConnection(connection: number): void;
}

export interface TestDeviceConfig {
  readonly memoryBytes: number;
  readonly processors: number;
}

export interface TestDevicePorts {
  readonly power: Pick<PowerControl, 'exit'>;
  /** Interrupt lines 0..23; a line that is missing (the cascade) is not driven. */
  readonly lines: readonly (InterruptLine | undefined)[];
  readonly hyperv: HypervTestPort;
}

export class TestDevice implements PortDevice, Inspectable {
  readonly ports: readonly PortRange[] = [
    DEBUG_EXIT,
    { first: FW_CFG_SELECTOR, count: 2 },
    SCRATCH,
    FLUSH_PAGE,
    SCRATCH_BYTES,
    INTERRUPT_LINES,
    HYPERV_TEST,
  ];
  readonly #state: TestDeviceState;
  readonly #to: TestDevicePorts;
  readonly #fwCfg: ReadonlyMap<number, Uint8Array>;

  constructor(state: TestDeviceState, config: TestDeviceConfig, ports: TestDevicePorts) {
    this.#state = state;
    this.#to = ports;
    this.#fwCfg = new Map([
      [FW_CFG_KEY.SIGNATURE, new TextEncoder().encode('QEMU')],
      [FW_CFG_KEY.ID, littleEndian(FW_CFG_ID, 4)],
      [FW_CFG_KEY.RAM_SIZE, littleEndian(config.memoryBytes, 8)],
      [FW_CFG_KEY.CPU_COUNT, littleEndian(config.processors, 2)],
      // The test kernels' own limit on memory to use, settable in their environment: zero is none.
      [FW_CFG_KEY.MAX_RAM, littleEndian(0, 8)],
    ]);
  }

  reset(): void {
    const s = this.#state;
    s.scratch = s.fwCfgKey = s.fwCfgOffset = 0;
  }

  readPort(port: number, size: number): number {
    if (within(port, SCRATCH) || within(port, SCRATCH_BYTES)) return this.#state.scratch >>> ((port & 3) * 8);
    // fw_cfg is read through either port, a byte at a time.
    if (port === FW_CFG_SELECTOR || port === FW_CFG_DATA) return size === 1 ? this.#readFwCfg() : allOnes(size);
    if (within(port, HYPERV_TEST) || within(port, DEBUG_EXIT)) return 0;
    return allOnes(size);
  }

  writePort(port: number, size: number, value: number): void {
    if (within(port, SCRATCH) || within(port, SCRATCH_BYTES)) this.#writeScratch(port & 3, size, value);
    else if (within(port, DEBUG_EXIT)) this.#to.power.exit(((value << 1) | 1) & 0xff);
    else if (port === FW_CFG_SELECTOR && size === 2) this.#selectFwCfg(value);
    else if (within(port, INTERRUPT_LINES)) this.#to.lines[port - INTERRUPT_LINES.first]?.set((value & 0xff) !== 0);
    else if (port === HYPERV_TEST.first && size === 4) this.#hyperv(value);
  }

  inspect(): InspectNode {
    const { scratch, fwCfgKey, fwCfgOffset, unknownOperations } = this.#state;
    return { scratch, fwCfgKey, fwCfgOffset, unknownOperations };
  }

  #writeScratch(byte: number, size: number, value: number): void {
    const mask = (allOnes(size) << (byte * 8)) >>> 0;
    this.#state.scratch = (this.#state.scratch & ~mask) | ((value << (byte * 8)) & mask);
  }

  #selectFwCfg(key: number): void {
    this.#state.fwCfgKey = key & FW_CFG_KEY_MASK;
    this.#state.fwCfgOffset = 0;
  }

  /** Past an item's end, and of an unknown item, zeros. */
  #readFwCfg(): number {
    const s = this.#state;
    const byte = this.#fwCfg.get(s.fwCfgKey)?.[s.fwCfgOffset] ?? 0;
    s.fwCfgOffset++;
    return byte;
  }

  #hyperv(value: number): void {
    const { hyperv } = this.#to;
    const sint = value & 0xff;
    const processor = (value >>> 8) & 0xff;
    const connection = value >>> 24;
    const operations: Record<number, () => void> = {
      [HYPERV_OPERATION.SINT_ROUTE_CREATE]: () => hyperv.makeRoute(processor, sint),
      [HYPERV_OPERATION.SINT_ROUTE_DESTROY]: () => hyperv.removeRoute(processor, sint),
      [HYPERV_OPERATION.SINT_ROUTE_SET_SINT]: () => hyperv.raise(processor, sint),
      [HYPERV_OPERATION.MSG_CONN_CREATE]: () => hyperv.makeMessageConnection(connection, processor, sint),
      [HYPERV_OPERATION.MSG_CONN_DESTROY]: () => hyperv.removeMessageConnection(connection),
      [HYPERV_OPERATION.EVT_CONN_CREATE]: () => hyperv.makeEventConnection(connection, processor, sint),
      [HYPERV_OPERATION.EVT_CONN_DESTROY]: () => hyperv.removeEventConnection(connection),
    };
    const operation = operations[(value >>> 16) & 0xff];
    if (operation) operation();
    else this.#state.unknownOperations++;
  }
}

function within(port: number, range: PortRange): boolean {
  return port >= range.first && port < range.first + range.count;
}

function littleEndian(value: number, size: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setBigUint64(0, BigInt(value), true);
  return new Uint8Array(bytes.buffer, 0, size);
}
