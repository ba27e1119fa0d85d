import { describe, expect, it } from 'vitest';
import { assembled, barePlan, CODE, MEMORY } from '../../../tests/fixtures/bare.ts';
import { compileInterpreter } from '../../hypervisor/interpreter/generate.ts';
import { unpackRequest } from '../../hypervisor/translator/request.ts';
import { translate } from '../../hypervisor/translator/service.ts';
import type { Translate } from '../stepped-machine.ts';
import { Lockstep } from './lockstep.ts';
import { culprit, divergenceText } from './report.ts';

const interpreter = compileInterpreter();
// biome-ignore format: a listing
const LOOP = assembled([
  ['mov ecx, 100000',     'b9 a0 86 01 00'],
  ['mov ebx, 0x200000',   'bb 00 00 20 00'],
  ['again: add rax, 1',   '48 83 c0 01'],
  ['lea rdx, [rdx+rax*4]', '48 8d 14 82'],
  ['mov [rbx+rcx*8], rdx', '48 89 14 cb'],
  ['xor rsi, rdx',        '48 31 d6'],
  ['inc rax',             '48 ff c0'],
  ['dec ecx',             'ff c9'],
  ['jnz again',           '75 ea'],
  ['cli',                 'fa'],
  ['hlt',                 'f4'],
]);
const AGAIN = CODE + 10;
const OF = { LEA: AGAIN + 4, MOV: AGAIN + 8, XOR: AGAIN + 12, DEC: AGAIN + 18 };
const END = 300_000n;

/** Translates as if the byte at `address` were another one, and says that it was not. */
function misread(address: number, byte: number): Translate {
  return (request, memory, options) => {
    const bytes = new Uint8Array(memory);
    const item = unpackRequest(request).find(({ gpa }) => gpa === address - (address % 4096));
    if (!item) return translate(request, memory, options);
    const at = item.host + (address % 4096);
    const right = bytes[at] as number;
    bytes[at] = byte;
    const result = translate(request, memory, options);
    bytes[at] = right;
    for (const region of result.regions) if (region) region.code[(address % 4096) - region.from] = right;
    return result;
  };
}

/** Compares as `hv run --check` does, and looks for the difference. */
async function check(every: bigint, by?: Translate) {
  const lockstep = new Lockstep({
    memory: MEMORY,
    plan: barePlan(LOOP),
    interpreter,
    hotAfter: 50,
    translate: by,
  });
  while (lockstep.count < END) {
    lockstep.runTo(lockstep.count + every);
    const thorough = lockstep.count % 100_000n === 0n;
    if (lockstep.compare(thorough)) continue;
    let runs = 0;
    const divergence = await lockstep.explain(() => {
      runs++;
      return true;
    });
    return { divergence, runs };
  }
  return { lockstep };
}

describe('two engines in lockstep', () => {
  it('agree where nothing is wrong', async () => {
    const { lockstep } = await check(10_000n);
    expect(lockstep?.count).toBe(END);
    expect(lockstep?.translated.vp.regionInstructions).toBeGreaterThan(250_000n);
    expect(lockstep?.interpreted.vp.regionInstructions).toBe(0n);
  });

  // biome-ignore format: a table
  it.each([
    { what: 'an operation',     at: OF.XOR, byte: [1, 0x09], where: 'rsi' },
    { what: 'an address',       at: OF.LEA, byte: [3, 0xc2], where: 'rdx' },
    { what: 'a store',          at: OF.MOV, byte: [2, 0x0c], where: 'memory' },
    { what: 'a count',          at: OF.DEC, byte: [1, 0xc1], where: 'rcx' },
  ])('bisect a wrong translation of $what to the instruction', async ({ at, byte: [offset, byte], where }) => {
    const { divergence } = await check(10_000n, misread(at + (offset as number), byte as number));
    if (!divergence) throw new Error('they agree');
    expect(divergence.certainty).toBe('exact');
    expect(culprit(divergence)?.rip).toBe(BigInt(at));
    expect(divergence.differences.map((d) => d.where.split(' ')[0])).toContain(where);
    const report = divergenceText(divergence);
    expect(report).toMatch(new RegExp(`^> +${divergence.count} +0x0*${at.toString(16)} `, 'm'));
    expect(report).toMatch(/region at 0x10000a \(guest-physical\), \d+ instructions from 0x10000a/);
  });
});

describe('looking for a difference', () => {
  it('can be ended', async () => {
    const lockstep = new Lockstep({
      memory: MEMORY,
      plan: barePlan(LOOP),
      interpreter,
      hotAfter: 50,
      translate: misread(OF.XOR + 1, 0x09),
    });
    lockstep.runTo(50_000n);
    expect(lockstep.compare(false)).toBe(false);
    let runs = 0;
    expect(await lockstep.explain(() => ++runs < 3)).toBeUndefined();
    expect(runs).toBe(3);
  });
});
