import { describe, expect, it } from 'vitest';
import { fresh } from '../testing.ts';
import { ResetPorts, resetState } from './device.ts';

function setUp() {
  let resets = 0;
  const device = new ResetPorts(fresh(resetState), {
    reset: () => {
      resets++;
    },
  });
  device.reset();
  return { device, resets: () => resets };
}

describe('reset ports', () => {
  it('answers the keyboard controller command 0xFE and no other', () => {
    const { device, resets } = setUp();
    expect(device.readPort(0x64, 1) & 2).toBe(0);
    device.writePort(0x64, 1, 0xd1);
    expect(resets()).toBe(0);
    device.writePort(0x64, 1, 0xfe);
    expect(resets()).toBe(1);
  });

  it('resets when RST_CPU goes from 0 to 1', () => {
    const { device, resets } = setUp();
    device.writePort(0xcf9, 1, 0x02);
    expect([device.readPort(0xcf9, 1), resets()]).toEqual([0x02, 0]);
    device.writePort(0xcf9, 1, 0x06);
    expect(resets()).toBe(1);
    device.writePort(0xcf9, 1, 0x0e);
    expect(resets()).toBe(1);
  });
});
