import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type AcpiConfig, type AcpiTables, buildAcpiTables } from './tables.ts';

const haveIasl = spawnSync('iasl', ['-v']).status === 0;

const UNIPROCESSOR: AcpiConfig = { apicIds: [0] };
const LEGACY: AcpiConfig = { apicIds: [0, 1], legacyPic: true };
const MANY: AcpiConfig = { apicIds: Array.from({ length: 300 }, (_, i) => i) };

function sum(bytes: Uint8Array): number {
  return bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
}

function tableOf(tables: AcpiTables, signature: string): DataView {
  const bytes = tables.tables.get(signature)?.bytes as Uint8Array;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Disassembles a table; the text, and whatever iasl complained of. */
function disassemble(tables: AcpiTables, signature: string): { text: string; complaints: string[] } {
  const folder = mkdtempSync(join(tmpdir(), 'acpi-'));
  try {
    const file = join(folder, 'table.dat');
    writeFileSync(file, tables.tables.get(signature)?.bytes as Uint8Array);
    const { status, stdout, stderr } = spawnSync('iasl', ['-d', file], { encoding: 'utf8' });
    const text = status === 0 ? readFileSync(join(folder, 'table.dsl'), 'utf8') : '';
    const lines = `${stdout}\n${stderr}\n${text}`.split('\n');
    const complaints = lines.filter((line) => /error|warning|invalid|incorrect|\*\*\*\*/i.test(line));
    return { text, complaints: status === 0 ? complaints : [`status ${status}`, ...complaints] };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('ACPI tables', () => {
  it('can be found from the RSDP on, with every checksum right', () => {
    for (const config of [UNIPROCESSOR, LEGACY, MANY]) {
      const { rsdp, segment, tables } = buildAcpiTables(config);
      expect(rsdp).toBe(0xe0000);
      expect(segment.gpa + segment.bytes.length).toBeLessThanOrEqual(0x100000);
      const memory = new DataView(segment.bytes.buffer);
      const at = (gpa: number): number => gpa - segment.gpa;
      expect(new TextDecoder().decode(segment.bytes.subarray(0, 8))).toBe('RSD PTR ');
      expect(sum(segment.bytes.subarray(0, 20))).toBe(0);
      expect(sum(segment.bytes.subarray(0, 36))).toBe(0);

      const signature = (gpa: number): string => {
        const length = memory.getUint32(at(gpa) + 4, true);
        const bytes = segment.bytes.subarray(at(gpa), at(gpa) + length);
        const name = new TextDecoder().decode(bytes.subarray(0, 4));
        if (name !== 'FACS') expect(sum(bytes), name).toBe(0);
        return name;
      };
      const xsdt = Number(memory.getBigUint64(24, true));
      expect(signature(xsdt)).toBe('XSDT');
      const entries = [0, 1].map((i) => Number(memory.getBigUint64(at(xsdt) + 36 + i * 8, true)));
      expect(entries.map(signature)).toEqual(['FACP', 'APIC']);
      const fadt = at(entries[0] as number);
      expect(signature(memory.getUint32(fadt + 40, true))).toBe('DSDT');
      expect(Number(memory.getBigUint64(fadt + 140, true))).toBe(memory.getUint32(fadt + 40, true));
      const facs = memory.getUint32(fadt + 36, true);
      expect(signature(facs)).toBe('FACS');
      expect(facs % 64).toBe(0);
      expect(tables.size).toBe(6);
    }
  });

  it('has no 8259s unless told so', () => {
    const flags = (config: AcpiConfig): number => tableOf(buildAcpiTables(config), 'APIC').getUint32(40, true);
    expect(flags(UNIPROCESSOR)).toBe(0);
    expect(flags(LEGACY)).toBe(1);
  });

  it('lists MADT structures that fill the table exactly', () => {
    const types = (config: AcpiConfig): number[] => {
      const madt = tableOf(buildAcpiTables(config), 'APIC');
      const found: number[] = [];
      let at = 44;
      for (; at < madt.byteLength; at += madt.getUint8(at + 1)) found.push(madt.getUint8(at));
      expect(at).toBe(madt.byteLength);
      return found;
    };
    expect(types(UNIPROCESSOR)).toEqual([0, 1, 2, 4]);
    expect(types(LEGACY)).toEqual([0, 0, 1, 2, 2, 4]);
    const many = types(MANY);
    expect(many.filter((type) => type === 0)).toHaveLength(255);
    expect(many.filter((type) => type === 9)).toHaveLength(45);
    expect(many.at(-1)).toBe(10);
  });

  it('refuses a configuration without processors or with too many', () => {
    expect(() => buildAcpiTables({ apicIds: [] })).toThrow(RangeError);
    expect(() => buildAcpiTables({ apicIds: Array.from({ length: 4000 }, (_, i) => i) })).toThrow(RangeError);
  });

  describe.skipIf(!haveIasl)('by iasl (skipped where acpica-tools is not installed)', () => {
    for (const [what, config] of Object.entries({ UNIPROCESSOR, LEGACY, MANY }))
      it(`disassembles without complaint: ${what}`, () => {
        const tables = buildAcpiTables(config);
        for (const signature of ['XSDT', 'FACP', 'FACS', 'APIC', 'DSDT'])
          expect(disassemble(tables, signature).complaints, signature).toEqual([]);
      });

    it('says what the hardware is', () => {
      const tables = buildAcpiTables(LEGACY);
      const fadt = disassemble(tables, 'FACP').text;
      for (const line of [
        /SCI Interrupt : 0009/,
        /PM1A Event Block Address : 00000400/,
        /PM1A Control Block Address : 00000404/,
        /PM Timer Block Address : 00000408/,
        /GPE0 Block Address : 0000040C/,
        /VGA Not Present \(V4\) : 1/,
        /Control Method Power Button \(V1\) : 0/,
        /Control Method Sleep Button \(V1\) : 1/,
        /32-bit PM Timer \(V1\) : 1/,
        /Reset Register Supported \(V2\) : 1/,
        /Hardware Reduced \(V5\) : 0/,
        /Address : 0000000000000433/,
      ])
        expect(fadt).toMatch(line);

      const madt = disassemble(tables, 'APIC').text;
      expect(madt).toMatch(/Source : 00\n.*Interrupt : 00000002/);
      expect(madt).toMatch(/Source : 09\n.*Interrupt : 00000009\n.*: 000D/);

      const dsdt = disassemble(tables, 'DSDT').text.replaceAll(/\s+/g, ' ');
      expect(dsdt).toContain('Name (\\_S5, Package (0x04) // _S5_: S5 System State { 0x05,');
      expect(dsdt).toMatch(/Device \(VMOD\).*"ACPI0004".*DWordMemory \(ResourceProducer.*0xF8000000.*0xFEBFFFFF/);
      expect(dsdt).toMatch(
        /QWordMemory \(ResourceProducer.*0x0000000FE0000000.*Device \(VMBS\) \{ Name \(_HID, "VMBus"\)/,
      );
      expect(dsdt.match(/EisaId \("PNP0501"\)/g)).toHaveLength(2);
      expect(dsdt).toContain('Name (_CID, Package (0x02) // _CID: Compatible ID { "VM_Gen_Counter", "VMGENCTR" })');
      expect(dsdt).toContain('Name (ADDR, Package (0x02) { 0x000E0040, Zero })');
      expect(dsdt).toMatch(/Scope \(\\_GPE\) \{ Method \(_E00, 0, NotSerialized\).*Notify \(\\_SB.GENC, 0x80\)/);
      expect(dsdt).toContain('EisaId ("PNP0B00")');
      expect(dsdt.match(/"ACPI0007"/g)).toHaveLength(2);
    });
  });
});
