import { describe, expect, it } from 'vitest';
import { PortBus } from '../../vid/bus.ts';
import { fresh, RecordingLine } from '../testing.ts';
import { type HypervTestPort, TestDevice, testDeviceState } from './device.ts';

function setUp() {
  const exits: number[] = [];
  const lines = Array.from({ length: 24 }, (_, n) => (n === 2 ? undefined : new RecordingLine()));
  const calls: unknown[] = [];
  const hyperv = new Proxy({} as HypervTestPort, {
    get:
      (_, name) =>
      (...parameters: number[]) =>
        calls.push([name, ...parameters]),
  });
  const power = { exit: (code: number) => exits.push(code) };
  const config = { memoryBytes: 5 * 2 ** 30 + 4096, processors: 300 };
  const device = new TestDevice(fresh(testDeviceState), config, { power: power, lines, hyperv });
  device.reset();
  const bus = new PortBus();
  bus.register('test device', device);
  const fwCfg = (key: number, length: number) => {
    bus.write(0x510, 2, key);
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(bus.read(0x511, 1)) << BigInt(i * 8);
    return value;
  };
  return { bus, exits, lines, calls, fwCfg, device };
}

describe('test device', () => {
  it('ends the run with (value << 1) | 1, cut to a process exit code', () => {
    const { bus, exits } = setUp();
    bus.write(0xf4, 4, 0);
    bus.write(0xf4, 4, 0x10);
    bus.write(0xf4, 1, 3);
    bus.write(0xf4, 4, 0x1ff);
    expect(exits).toEqual([1, 0x21, 7, 0xff]);
  });

  it('answers fw_cfg', () => {
    const { bus, fwCfg } = setUp();
    expect(fwCfg(3, 8)).toBe(5n * 2n ** 30n + 4096n);
    expect(fwCfg(5, 2)).toBe(300n);
    expect(fwCfg(0, 6)).toBe(BigInt(0x554d4551));
    expect(fwCfg(1, 4)).toBe(1n);
    expect(fwCfg(0x11, 8)).toBe(0n);
    expect(fwCfg(0x8002, 4)).toBe(0n);
    bus.write(0x510, 2, 5);
    bus.write(0x510, 1, 3); // a byte selects nothing
    expect(bus.read(0x510, 1)).toBe(300 & 0xff);
  });

  it('keeps four scratch bytes, seen through both windows', () => {
    const { bus } = setUp();
    bus.write(0xe0, 4, 0x12345678);
    expect(bus.read(0xe0, 4)).toBe(0x12345678);
    bus.write(0xe1, 1, 0xaa);
    bus.write(0xe2, 2, 0xbbcc);
    expect([bus.read(0xe0, 4), bus.read(0xe3, 1), bus.read(0xe2, 2)]).toEqual([0xbbccaa78, 0xbb, 0xbbcc]);
    expect(bus.read(0xe8, 4)).toBe(0xbbccaa78);
    bus.write(0xe8, 1, 1);
    expect(bus.read(0xe0, 1)).toBe(1);
    bus.write(0xe4, 4, 0x1000);
    expect(bus.unclaimed.size).toBe(0);
  });

  it('drives interrupt lines', () => {
    const { bus, lines } = setUp();
    bus.write(0x200e, 1, 1);
    expect(lines.map((line) => line?.level ?? false).indexOf(true)).toBe(14);
    bus.write(0x200e, 1, 0);
    bus.write(0x2002, 1, 1);
    bus.write(0x2017, 1, 0x80);
    expect([lines[14]?.level, lines[14]?.rises, lines[23]?.level]).toEqual([false, 1, true]);
  });

  it('decodes the Hyper-V test port', () => {
    const { bus, calls, device } = setUp();
    for (let operation = 0; operation <= 8; operation++) bus.write(0x3000, 4, 0xfe000302 + operation * 0x10000);
    expect(calls).toEqual([
      ['makeRoute', 3, 2],
      ['removeRoute', 3, 2],
      ['raise', 3, 2],
      ['makeMessageConnection', 0xfe, 3, 2],
      ['removeMessageConnection', 0xfe],
      ['makeEventConnection', 0xfe, 3, 2],
      ['removeEventConnection', 0xfe],
    ]);
    expect(device.inspect().unknownOperations).toBe(2);
  });
});
