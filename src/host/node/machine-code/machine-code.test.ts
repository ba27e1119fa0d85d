import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { BRIDGE } from './bridge.ts';
import { machineCode } from './machine-code.ts';

const folder = mkdtempSync(join(tmpdir(), 'vir-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const nasm = spawnSync('nasm', ['-v']).error === undefined;
/** (a, b) -> the sum of 0 to a, times b; in a loop, so that it gets hot. */
const SUM = Uint8Array.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f],
  ...[3, 2, 1, 0],
  ...[7, 7, 1, 3, ...Buffer.from('sum'), 0, 0],
  ...[10, 30, 1, 28, 1, 1, 0x7f],
  ...[0x03, 0x40, 0x20, 2, 0x20, 0, 0x6a, 0x21, 2, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b],
  ...[0x20, 2, 0x20, 1, 0x6c, 0x0b],
]);

describe('the bridge to V8', () => {
  it.skipIf(!nasm)(`is what its source says (${nasm ? 'with nasm' : 'nasm is not here'})`, () => {
    const file = join(folder, 'assembled');
    execFileSync('nasm', ['-f', 'bin', '-o', file, fileURLToPath(new URL('bridge.asm', import.meta.url))]);
    expect(Buffer.compare(readFileSync(file), BRIDGE)).toBe(0);
  });
});

const code = machineCode();

describe.skipIf(code === undefined)(
  `machine code of modules (${code ? 'here' : `not with Node ${process.version}`})`,
  () => {
    const sum = (module: WebAssembly.Module): ((a: number, b: number) => number) =>
      new WebAssembly.Instance(module).exports['sum'] as (a: number, b: number) => number;
    /** V8 optimizes on threads of its own. */
    const optimized = async (module: WebAssembly.Module): Promise<Uint8Array<ArrayBuffer>> => {
      const f = sum(module);
      for (let n = 0; n < 1000; n++) {
        for (let round = 0; round < 100; round++) f(1000, 2);
        const bytes = code!.of(module);
        if (bytes) return bytes;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      throw new Error('never optimized');
    };

    it('is none of what nobody has called', () => {
      const fresh = Uint8Array.from([...SUM, 0, 2, 1, 0x61]);
      expect(code!.of(new WebAssembly.Module(fresh))).toBeUndefined();
    });

    it('is of a module in this process and in another one', async () => {
      const bytes = await optimized(new WebAssembly.Module(SUM));
      const module = code!.module(SUM, bytes)!;
      expect(WebAssembly.Module.exports(module)).toEqual([{ name: 'sum', kind: 'function' }]);
      expect(sum(module)(10, 3)).toBe(165);
      const script = `
      const { machineCode } = await import(${JSON.stringify(new URL('machine-code.ts', import.meta.url).href)});
      const { readFileSync } = await import('node:fs');
      const [bytes, code] = JSON.parse(readFileSync(0, 'utf8')).map((text) => Uint8Array.fromBase64(text));
      const module = machineCode().module(bytes, code);
      const taken = machineCode().of(module).length;
      console.log(new WebAssembly.Instance(module).exports.sum(10, 3), taken);
    `;
      const input = JSON.stringify([Buffer.from(SUM).toString('base64'), Buffer.from(bytes).toString('base64')]);
      const printed = execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], { input });
      expect(printed.toString().trim()).toBe(`165 ${bytes.length}`);
    });

    it.each([
      ['another version', (bytes: Uint8Array) => (bytes[4]! ^= 1)],
      ['no code at all', (bytes: Uint8Array) => bytes.fill(0)],
    ])('is not taken where it is of %s', async (_name, damage) => {
      const bytes = (await optimized(new WebAssembly.Module(SUM))).slice();
      damage(bytes);
      expect(code!.module(SUM, bytes)).toBeUndefined();
      expect(code!.module(SUM, new Uint8Array(3))).toBeUndefined();
    });
  },
);
