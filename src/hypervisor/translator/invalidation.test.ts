/** Translated code whose bytes change: installed regions and their places, two pages, and changes from within calls. */
import { beforeEach, describe, expect, it } from 'vitest';
import { assembled, barePlan, CODE, MEMORY } from '../../../tests/fixtures/bare.ts';
import { Lockstep } from '../../vmwp/check/lockstep.ts';
import { SteppedMachine } from '../../vmwp/stepped-machine.ts';
import { compileInterpreter } from '../interpreter/generate.ts';
import { translate } from './service.ts';

const interpreter = compileInterpreter();
const PAGE = 4096;

// biome-ignore format: a listing
const TWO_PAGES = assembled([
  ['start: add rax, 1',   '48 83 c0 01'],
  ['add rbx, rax',        '48 01 c3'],
  ['add rcx, rbx',        '48 01 d9'],
  ['add rdx, 0x12345678', '48 81 c2 78 56 34 12'],
  ['add rsi, rdx',        '48 01 d6'],
  ['jmp start',           'eb ea'],
]);
const START = PAGE - 16;
/** ADD RDX is in both pages; its last byte is in the second one. */
const FAR_BYTE = CODE + START + 16;

describe('a region over two pages', () => {
  const machineOf = (translated: boolean) =>
    new SteppedMachine({
      memory: MEMORY,
      plan: barePlan(TWO_PAGES, CODE + START),
      interpreter,
      translated,
      hotAfter: 50,
    });
  let machine: SteppedMachine;
  beforeEach(() => {
    machine = machineOf(true);
    machine.runTo(100_000n);
  });

  it('is executed', () => {
    expect(
      machine.regions.some(({ item, blocks }) => item.nextHost !== 0 && blocks.some((at) => at >= START + 10)),
    ).toBe(true);
    expect(machine.vp.regionsDropped).toBe(0n);
    expect(machine.vp.regionInstructions).toBeGreaterThan(70_000n);
  });

  it.each([
    ['first', CODE + START + 3],
    ['second', FAR_BYTE],
  ])('is dropped for a store to its code in the %s page', (_which, gpa) => {
    const plain = machineOf(false);
    plain.runTo(100_000n);
    for (const each of [machine, plain]) {
      each.machine.memory.write(gpa, Uint8Array.of(0x21));
      each.runTo(200_000n);
    }
    expect(machine.vp.regionsDropped).toBeGreaterThan(0n);
    expect([...machine.vp.gpr]).toEqual([...plain.vp.gpr]);
    // And made anew.
    expect(machine.vp.regionInstructions).toBeGreaterThan(150_000n);
  });

  it('stays for a store beside its code', () => {
    for (const gpa of [CODE + START - 1, CODE + PAGE + 64]) machine.machine.memory.write(gpa, Uint8Array.of(0x21));
    machine.runTo(200_000n);
    expect(machine.vp.regionsDropped).toBe(0n);
  });

  it('gives its place back, once, also when everything is dropped', () => {
    const { blocks } = machine.engine;
    const free: number[] = [];
    const { released } = blocks;
    blocks.released = (place) => {
      free.push(place);
      released(place);
    };
    const made = Number(machine.vp.regionsMade);
    blocks.flush();
    expect(free).toHaveLength(made);
    expect(new Set(free).size).toBe(made);
    blocks.flush();
    blocks.written(CODE, 2 * PAGE);
    expect(free).toHaveLength(made);
    machine.runTo(200_000n);
    expect(machine.vp.regionInstructions).toBeGreaterThan(150_000n);
  });
});

const HEAD = [
  ['mov ecx, 40000', 'b9 40 9c 00 00'],
  ['mov ebx, target + 3', 'bb 12 00 10 00'],
  ['again: call f', 'e8 0a 00 00 00'],
  ['target: add rax, 1', '48 83 c0 01'],
  ['dec ecx', 'ff c9'],
  ['jnz again', '75 f3'],
  ['cli', 'fa'],
  ['hlt', 'f4'],
  ['f: lea rdx, [rdx+rax]', '48 8d 14 02'],
  ['test ecx, 0xfff', 'f7 c1 ff 0f 00 00'],
] as const;
const STORE = [
  ['jnz out', '75 02'],
  ['inc byte [rbx]', 'fe 03'],
  ['out: ret', 'c3'],
] as const;
const STRING = [
  ['jnz out', '75 12'],
  ['push rax', '50'],
  ['push rcx', '51'],
  ['mov rdi, rbx', '48 89 df'],
  ['mov al, [rbx]', '8a 03'],
  ['inc al', 'fe c0'],
  ['mov ecx, 1', 'b9 01 00 00 00'],
  ['rep stosb', 'f3 aa'],
  ['pop rcx', '59'],
  ['pop rax', '58'],
  ['out: ret', 'c3'],
] as const;

describe('a function that changes the code of its caller', () => {
  it.each([
    ['by a store, which is left to the interpreter', STORE],
    ['by an instruction that the interpreter executes on call', STRING],
  ])('%s', (_how, tail) => {
    const lockstep = new Lockstep({
      memory: MEMORY,
      plan: barePlan(assembled([...HEAD, ...tail])),
      interpreter,
      hotAfter: 50,
    });
    // At once, so that calls are nested wherever the stores find them.
    lockstep.runTo(240_000n);
    expect(lockstep.compare(true)).toBe(true);
    expect(lockstep.interpreted.machine.memory.read(CODE + 18, 1)[0]).toBeGreaterThan(5);
    expect(lockstep.translated.vp.regionsDropped).toBeGreaterThan(3n);
    expect(lockstep.translated.vp.regionInstructions).toBeGreaterThan(50_000n);
  });
});

// biome-ignore format: a listing
const CALLED = assembled([
  ['start: add r8, 1',     '49 83 c0 01'],
  ['jmp second',           'eb 00'],
  ['second: mov eax, r8d', '44 89 c0'],
  ['cpuid',                '0f a2'],
  ['add rdi, rbx',         '48 01 df'],
  ['jmp start',            'eb f0'],
]);
const SECOND = CODE + 100 + 6;

describe('a region that calls the interpreter’s functions', () => {
  it('is not put in place when the records that it calls them with have gone meanwhile', () => {
    let answers = 0;
    const machine: SteppedMachine = new SteppedMachine({
      memory: MEMORY,
      plan: barePlan(CALLED, CODE + 100),
      interpreter,
      translated: true,
      hotAfter: 100,
      translate: (request, buffer, options) => {
        const result = translate(request, buffer, options);
        if (result.regions.some((region) => region !== undefined && region.calls.length > 0)) answers++;
        // The guest stores there what is there already.
        machine.engine.blocks.written(SECOND, 3);
        return result;
      },
    });
    for (let to = 500n; to < 5000n; to += 500n) machine.runTo(to);
    expect(answers).toBeGreaterThan(2);
    expect(machine.vp.regionsStale).toBeGreaterThanOrEqual(BigInt(answers));
  });
});
