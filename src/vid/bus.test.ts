import { describe, expect, it } from 'vitest';
import { MmioBus, PortBus, UNCLAIMED_OTHER } from './bus.ts';
import type { MmioDevice, PortDevice, PortRange } from './ports.ts';

type Access = [kind: string, address: number, size: number, value: number];

function portDevice(ports: PortRange[], log: Access[], answer = 0): PortDevice {
  return {
    ports,
    readPort: (port, size) => {
      log.push(['in', port, size, 0]);
      return answer;
    },
    writePort: (port, size, value) => {
      log.push(['out', port, size, value]);
    },
  };
}

describe('PortBus', () => {
  it('routes to the device that claimed the port and cuts values to the access size', () => {
    const bus = new PortBus();
    const log: Access[] = [];
    bus.register('a', portDevice([{ first: 0x60, count: 2 }], log, -1));
    expect(bus.read(0x61, 1)).toBe(0xff);
    expect(bus.read(0x60, 4)).toBe(0xffffffff);
    bus.write(0x60, 2, 0x12345);
    expect(log).toEqual([
      ['in', 0x61, 1, 0],
      ['in', 0x60, 4, 0],
      ['out', 0x60, 2, 0x2345],
    ]);
  });

  it('splits wide accesses of byte devices and routes each byte by its own port', () => {
    const bus = new PortBus();
    const log: Access[] = [];
    bus.register('low', { ...portDevice([{ first: 0x60, count: 1 }], log, 0x11), bytesOnly: true });
    bus.register('high', portDevice([{ first: 0x61, count: 1 }], log, 0x22));
    expect(bus.read(0x60, 4)).toBe(0xffff2211);
    bus.write(0x60, 2, 0xabcd);
    expect(log.slice(2)).toEqual([
      ['out', 0x60, 1, 0xcd],
      ['out', 0x61, 1, 0xab],
    ]);
    expect(bus.unclaimed.get(0x62)).toEqual({ reads: 1, writes: 0 });
  });

  it('reads all ones where nobody listens, and counts it', () => {
    const bus = new PortBus();
    expect([bus.read(0x80, 1), bus.read(0x80, 2), bus.read(0x80, 4)]).toEqual([0xff, 0xffff, 0xffffffff]);
    bus.write(0x80, 1, 1);
    expect(bus.unclaimed.get(0x80)).toEqual({ reads: 3, writes: 1 });
  });

  it('refuses an overlap, naming both, and claims nothing then', () => {
    const bus = new PortBus();
    bus.register('COM1', portDevice([{ first: 0x3f8, count: 8 }], []));
    const other = portDevice(
      [
        { first: 0x100, count: 1 },
        { first: 0x3ff, count: 2 },
      ],
      [],
    );
    expect(() => bus.register('game port', other)).toThrow(/game port claims port 0x3ff, which COM1 has/);
    expect(bus.owner(0x100)).toBeUndefined();
    expect(() => bus.register('far', portDevice([{ first: 0xffff, count: 2 }], []))).toThrow(/outside/);
  });

  it('tells the trace hook of every access', () => {
    const bus = new PortBus();
    const seen: unknown[] = [];
    bus.trace = (...access) => seen.push(access);
    bus.read(0x70, 1);
    bus.write(0x71, 2, -1);
    expect(seen).toEqual([
      ['port-read', 0x70, 1, 0xff],
      ['port-write', 0x71, 2, 0xffffffff],
    ]);
  });
});

describe('MmioBus', () => {
  function mmioDevice(first: number, size: number, log: Access[]): MmioDevice {
    return {
      ranges: [{ first, size }],
      readMmio: (gpa, width) => {
        log.push(['read', gpa, width, 0]);
        return gpa;
      },
      writeMmio: (gpa, width, value) => {
        log.push(['write', gpa, width, value]);
      },
    };
  }

  it('finds devices wherever they were registered', () => {
    const bus = new MmioBus();
    for (const first of [0xfec00000, 0x1000, 0xfee00000]) bus.register(`at ${first}`, mmioDevice(first, 0x1000, []));
    for (const gpa of [0x1000, 0x1ffc, 0xfec00010, 0xfee00ffc, 0x1004]) expect(bus.read(gpa, 4)).toBe(gpa);
    expect(bus.owner(0x1fff)).toBe('at 4096');
    for (const gpa of [0xffc, 0x2000, 0x1ffe, 0xfec01000]) expect(bus.read(gpa, 4)).toBe(0xffffffff);
    expect(bus.unclaimed.get(0x1ffe)).toEqual({ reads: 1, writes: 0 });
  });

  it('does 8-byte accesses as two of 4, low first', () => {
    const bus = new MmioBus();
    const log: Access[] = [];
    bus.register('d', mmioDevice(0x1000, 0x100, log));
    expect(bus.read64(0x1008)).toBe(0x0000100c00001008n);
    bus.write64(0x1010, 0x1122334455667788n);
    expect(log.slice(2)).toEqual([
      ['write', 0x1010, 4, 0x55667788],
      ['write', 0x1014, 4, 0x11223344],
    ]);
  });

  it('refuses overlaps, naming both', () => {
    const bus = new MmioBus();
    bus.register('IO-APIC', mmioDevice(0xfec00000, 0x1000, []));
    expect(() => bus.register('x', mmioDevice(0xfec00fff, 1, []))).toThrow(/x claims 0xfec00fff.*overlaps IO-APIC/);
  });

  it('keeps a bounded number of counters', () => {
    const bus = new MmioBus();
    for (let gpa = 0; gpa < 3000; gpa++) bus.write(gpa * 4096, 4, 0);
    expect(bus.unclaimed.size).toBe(1025);
    expect(bus.unclaimed.get(UNCLAIMED_OTHER)).toEqual({ reads: 0, writes: 3000 - 1024 });
  });
});
