import { describe, expect, it } from 'vitest';
import { efiTables } from './efi.ts';

const MIB = 2 ** 20;

describe('the tables of a kernel started by UEFI', () => {
  const efi = efiTables(512 * MIB, 0xe0000);
  const view = new DataView(efi.segment.bytes.buffer);
  const at = (gpa: number): number => gpa - efi.segment.gpa;
  const u64 = (gpa: number): number => Number(view.getBigUint64(at(gpa), true));

  it('are where nothing else is, below 1 MiB', () => {
    expect(efi.segment.gpa + efi.segment.bytes.length).toBe(MIB);
  });

  it('have signatures, and services that do nothing', () => {
    expect(view.getBigUint64(at(efi.systemTable), true)).toBe(0x5453_5953_2049_4249n);
    const services = u64(efi.systemTable + 88);
    expect(view.getBigUint64(at(services), true)).toBe(0x5652_4553_544e_5552n);
    const code = (gpa: number, count: number): number[] => [...efi.segment.bytes.subarray(at(gpa), at(gpa) + count)];
    expect(code(u64(services + 56), 3)).toEqual([0x31, 0xc0, 0xc3]);
    expect(code(u64(services + 24), 3)).toEqual([0x48, 0xb8, 3]);
    // ACPI's root pointer is the first configuration table.
    expect(u64(u64(efi.systemTable + 112) + 16)).toBe(0xe0000);
  });

  it('describe memory in order; what guests keep is for run time, the system table too', () => {
    const { gpa, size, descriptorSize } = efi.memoryMap;
    const entries = Array.from({ length: size / descriptorSize }, (_, i) => {
      const entry = gpa + i * descriptorSize;
      return {
        type: view.getUint32(at(entry), true),
        first: u64(entry + 8),
        end: u64(entry + 8) + u64(entry + 24) * 4096,
        runtime: view.getUint32(at(entry) + 36, true) >>> 31,
      };
    });
    expect(entries.map(({ type, runtime }) => [type, runtime])).toEqual([
      [7, 0],
      [5, 1],
      [6, 1],
      [7, 0],
    ]);
    entries.reduce((end, entry) => {
      expect(entry.first).toBeGreaterThanOrEqual(end);
      return entry.end;
    }, 0);
    expect(entries[2]!.end).toBeGreaterThan(efi.systemTable);
    expect(entries[3]!.end).toBe(512 * MIB);
  });
});
