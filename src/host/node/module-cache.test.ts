import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { crc32 } from 'node:zlib';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { machineCode } from './machine-code/machine-code.ts';
import { cachedModule } from './module-cache.ts';

const folder = mkdtempSync(join(tmpdir(), 'viridian-modules-'));
/** a -> the sum of 0 to a. */
const SUM = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0],
  ...[7, 7, 1, 3, ...Buffer.from('sum'), 0, 0, 10, 27, 1, 25, 1, 1, 0x7f],
  ...[0x03, 0x40, 0x20, 1, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x0b],
]);
const sum = (module: WebAssembly.Module): ((a: number) => number) =>
  new WebAssembly.Instance(module).exports['sum'] as (a: number) => number;
const code = machineCode();

afterAll(() => rmSync(folder, { recursive: true, force: true }));
beforeEach(() => {
  for (const name of readdirSync(folder)) rmSync(join(folder, name));
});

describe('modules of the program', () => {
  it('are compiled where nothing is kept', () => {
    expect(sum(cachedModule(SUM, folder).module)(10)).toBe(55);
    expect(readdirSync(folder)).toEqual([]);
  });

  describe.skipIf(code === undefined)(`kept (${code ? 'here' : `not with Node ${process.version}`})`, () => {
    /** V8 optimizes on threads of its own. */
    const kept = async (): Promise<string> => {
      const cached = cachedModule(SUM, folder);
      for (let n = 0; n < 1000 && readdirSync(folder).length === 0; n++) {
        for (let round = 0; round < 100; round++) sum(cached.module)(1000);
        cached.keep();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      return join(folder, readdirSync(folder)[0]!);
    };

    it('are what they were, and nobody else reads them', async () => {
      const path = await kept();
      expect(statSync(path).mode & 0o777).toBe(0o600);
      const { module, keep } = cachedModule(SUM, folder);
      expect(sum(module)(10)).toBe(55);
      expect(code!.of(module)).toBeDefined();
      const written = statSync(path).mtimeMs;
      keep();
      expect(statSync(path).mtimeMs).toBe(written);
    });

    it('are kept anew where V8 has refused what there was', async () => {
      const path = await kept();
      const whole = readFileSync(path);
      // Of another version of V8, by its mark in the head.
      whole[8]! ^= 1;
      whole.writeUInt32LE(crc32(whole.subarray(4)), 0);
      writeFileSync(path, whole, { mode: 0o600 });
      const { module, keep } = cachedModule(SUM, folder);
      expect(sum(module)(10)).toBe(55);
      for (let n = 0; n < 1000 && readFileSync(path).equals(whole); n++) {
        for (let round = 0; round < 100; round++) sum(module)(1000);
        keep();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      expect(code!.of(cachedModule(SUM, folder).module)).toBeDefined();
    });

    it.each([
      ['damaged', (whole: Buffer) => whole.fill(0, 20, 30)],
      ['cut off', (whole: Buffer) => whole.subarray(0, 3)],
    ])('are compiled where the file is %s', async (_how, damage) => {
      const path = await kept();
      writeFileSync(path, damage(readFileSync(path)));
      expect(sum(cachedModule(SUM, folder).module)(10)).toBe(55);
    });
  });
});
