/**
 * The decoder against iced-x86: a sweep over all opcodes and ModRM bytes that matter, and random bytes behind floods of
 * prefixes, in 16, 32 and 64-bit mode. VIRIDIAN_DECODE_CASES sets the number of random cases, VIRIDIAN_SEED their seed.
 */
import { describe, expect, it } from 'vitest';
import { Mode } from '../vp/state.ts';
import {
  type Bitness,
  describeIced,
  describeOurs,
  icedCodeSize,
  icedFeatures,
  icedMnemonic,
  MODES,
  sameRegisters,
  withIced,
} from './decoder.fixture.ts';
import { Decoder, Instruction } from './decoder.ts';
import { type Form, makeForms } from './form.ts';
import { forms } from './table.ts';

const RANDOM_CASES = Number(process.env.VIRIDIAN_DECODE_CASES ?? 60_000);
const SEED = Number(process.env.VIRIDIAN_SEED ?? 1);

/** Features, as iced-x86 calls them, of which we have every instruction (but KNOWN_ABSENT). */
const PROFILE: ReadonlySet<string> = new Set(
  (
    'INTEL8086 INTEL8086_ONLY INTEL186 INTEL286 INTEL386 INTEL486 X64 CLFSH CMOV CMPXCHG16B CPUID CX8 FPU FPU287 FPU387 ' +
    'FSGSBASE FXSR INVPCID MMX MSR MULTIBYTENOP PAUSE POPCNT PREFETCHW RDPMC RDRAND RDSEED RDTSCP SEP SERIALIZE SMAP SSE SSE2 SSE3 ' +
    'SSE4_1 SSE4_2 SSSE3 SYSCALL TSC XSAVE'
  ).split(' '),
);

/** Instructions of those features that our table has not, and why. Exact: an entry that is there after all fails the test. */
const KNOWN_ABSENT: Readonly<Record<string, string>> = {
  UD0: 'it is undefined by definition, whatever its ModRM byte says',
  UD1: 'it is undefined by definition, whatever its ModRM byte says',
};

/** Instructions beyond those features whose encoding means something on a processor without them: ours in their place. */
const OLDER_MEANING: Readonly<Record<string, string>> = {
  // Hints, in opcodes that were reserved for NOP.
  CLDEMOTE: 'NOP',
  ENDBR32: 'NOP',
  ENDBR64: 'NOP',
  PREFETCHIT0: 'NOP',
  PREFETCHIT1: 'NOP',
  PREFETCHWT1: 'PREFETCHWT1',
  RDSSPD: 'NOP',
  RDSSPQ: 'NOP',
  // Hypercalls: offered to guests of a processor that has no virtualization of its own.
  VMCALL: 'VMCALL',
  VMMCALL: 'VMMCALL',
  VMGEXIT: 'VMMCALL',
  // In the table for a later profile.
  CLFLUSHOPT: 'CLFLUSHOPT',
  CLWB: 'CLWB',
};

/** Rows that are to be changed, by what is then no longer different. Exact, as KNOWN_ABSENT is. */
const KNOWN_DIFFERENT: Readonly<Record<string, string>> = {};

/** Other names for our instructions. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  NOP: ['RESERVEDNOP', 'PREFETCH', 'PREFETCHW'],
  FSTP: ['FSTPNCE'],
  FDISI: ['FNDISI'],
  FENI: ['FNENI'],
  FSETPM: ['FNSETPM'],
  PCMPESTRI: ['PCMPESTRI64'],
  PCMPESTRM: ['PCMPESTRM64'],
};

/** Decoded by us and refused, with #UD, when executed: registers that do not exist. */
function refusedWhenExecuted(form: Form): boolean {
  return form.mnemonic === 'MOV' && form.operands.some((o) => 'SCD'.includes(o.kind));
}

/** Operands that name no register or whose registers iced-x86 lists differently. */
function registersAgree(form: Form, ours: readonly string[], iced: readonly string[], name: string): boolean {
  // The other operand of the x87's two is ST(0), written or not.
  if (form.operands.some((o) => o.kind === 'ST')) {
    const other = [...iced];
    const at = other.indexOf(ours[0] as string);
    if (at >= 0) other.splice(at, 1);
    return at >= 0 && other.every((r) => r === 'ST0');
  }
  // Without operands in our table: accumulators, DX and the like are what the instruction is.
  if (ours.length === 0 && form.operands.every((o) => o.kind !== 'E' && o.kind !== 'G')) return true;
  if (form.operands.length === 1 && /^C[BWDQ][WDOQ]E?$/.test(name)) return true;
  if (name === 'NOP')
    return (
      iced.length === 0 ||
      sameRegisters(ours.slice(0, iced.length), iced, true) ||
      form.operands.some((o) => o.width === '')
    );
  // XMM0 of the variable blends is not an operand of ours.
  const explicit = iced.length === ours.length + 1 && iced.at(-1) === 'XMM0' ? iced.slice(0, -1) : iced;
  return sameRegisters(
    ours,
    explicit,
    form.operands.some((o) => /^[ERG][wd]$/.test(o.text)),
  );
}

/** Memory whose bytes we do not count: far pointers, and states of a size that the operand size decides. */
const UNCOUNTED = /^(FLDENV|FNSTENV|FRSTOR|FNSAVE)$/;

/** A list of differences, as many of each kind as help. */
class Differences {
  readonly #seen = new Map<string, { count: number; example: string }>();
  add(kind: string, bytes: Uint8Array, bitness: Bitness, detail: string): void {
    const found = this.#seen.get(kind);
    if (found) found.count++;
    else {
      const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(' ');
      this.#seen.set(kind, { count: 1, example: `${bitness}-bit ${hex}: ${detail}` });
    }
  }
  list(): string[] {
    const unknown = [...this.#seen].filter(([kind]) => !(kind in KNOWN_DIFFERENT));
    return unknown.map(([kind, { count, example }]) => `${kind} (${count} times), as ${example}`);
  }
  /** Known differences that have gone. */
  settled(): string[] {
    return Object.keys(KNOWN_DIFFERENT).filter((kind) => !this.#seen.has(kind));
  }
}

const decoder = new Decoder(forms);
const instruction = new Instruction();
const differences = new Differences();
const absent = new Map<string, number>();
const reached = new Set<Form>();
let compared = 0;

function compare(bytes: Uint8Array, bitness: Bitness): void {
  const outcome = decoder.decode(bytes, 0, bytes.length, MODES[bitness], instruction);
  withIced(bytes, bitness, (iced) => {
    const { form } = instruction;
    const differ = (kind: string, detail = ''): void =>
      differences.add(kind, bytes, bitness, `${detail} ${iced.toString()}`);
    if (iced.isInvalid) {
      if (outcome === 'ok' && !refusedWhenExecuted(form)) differ(`${form.mnemonic} ${form.encoding} is no instruction`);
      return;
    }
    const name = icedMnemonic(iced);
    if (!icedFeatures(iced).every((f) => PROFILE.has(f))) {
      const instead = OLDER_MEANING[name];
      if (outcome === 'ok' && form.mnemonic !== instead) differ(`${form.mnemonic} ${form.encoding} is ${name}`);
      if (outcome !== 'ok' && instead !== undefined) differ(`${name} is not decoded`, outcome);
      if (outcome === 'ok') reached.add(form);
      return;
    }
    if (outcome !== 'ok') {
      if (outcome === 'undefined') absent.set(name, (absent.get(name) ?? 0) + 1);
      else differ(`${name} is not decoded`, outcome);
      return;
    }
    compared++;
    reached.add(form);
    const what = `${form.mnemonic} ${form.encoding}`;
    const ours = describeOurs(instruction, bitness);
    const theirs = describeIced(iced, bitness);
    if (ours.length !== theirs.length) differ(`${what}: length`, `${ours.length} for ${theirs.length}`);
    if (ours.mnemonic !== theirs.mnemonic && !SYNONYMS[ours.mnemonic]?.includes(theirs.mnemonic))
      differ(`${what} is ${theirs.mnemonic}`);
    if (!registersAgree(form, ours.registers, theirs.registers, ours.mnemonic))
      differ(`${what}: registers`, `${ours.registers} for ${theirs.registers}`);
    if (ours.memory !== theirs.memory) differ(`${what}: memory operand`, `${ours.memory} for ${theirs.memory}`);
    if (ours.memoryBytes && ours.memoryBytes !== theirs.memoryBytes && !UNCOUNTED.test(form.mnemonic))
      differ(`${what}: memory bytes`, `${ours.memoryBytes} for ${theirs.memoryBytes}`);
    if (ours.immediates.join() !== theirs.immediates.join())
      differ(`${what}: immediates`, `${ours.immediates} for ${theirs.immediates}`);
    const size = icedCodeSize(iced);
    if (size && size !== instruction.size) differ(`${what}: operand size`, `${instruction.size} for ${size}`);
    if (instruction.lock !== iced.hasLockPrefix) differ(`${what}: LOCK`);
    if (form.options.repeat && (instruction.repeat === 0xf3) !== iced.hasRepPrefix) differ(`${what}: REP`);
    if (form.options.repeat && (instruction.repeat === 0xf2) !== iced.hasRepnePrefix) differ(`${what}: REPNE`);
  });
}

/** Deterministic numbers: the same cases on every machine. */
function generator(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const BITNESSES: readonly Bitness[] = [16, 32, 64];
const MAPS: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];
const MANDATORY: readonly (readonly number[])[] = [[], [0x66], [0xf3], [0xf2]];
const PREFIXES = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x40, 0x41, 0x42, 0x44, 0x48, 0x4f];

describe('the decoder', () => {
  it('agrees with iced-x86 on every opcode, with every kind of ModRM byte', () => {
    const random = generator(SEED);
    const bytes = new Uint8Array(24);
    for (const map of MAPS) {
      for (const prefix of MANDATORY) {
        for (let opcode = 0; opcode < 256; opcode++) {
          for (let n = 0; n < 72; n++) {
            const modrm = n < 8 ? (n << 3) | random(8) | (random(3) << 6) : 0xc0 + n - 8;
            for (let i = 0; i < 24; i++) bytes[i] = random(256);
            bytes.set([...prefix, ...map, opcode, modrm]);
            for (const bitness of BITNESSES) compare(bytes, bitness);
            if ((n & 7) === 7 || (map.length === 2 && n >= 8)) continue;
            bytes.set([...prefix, 0x48 + random(8), ...map, opcode, modrm]);
            compare(bytes, 64);
          }
        }
      }
    }
    expect(differences.list()).toEqual([]);
  });

  it('agrees with iced-x86 on random bytes behind random prefixes', () => {
    const random = generator(SEED + 1);
    const bytes = new Uint8Array(24);
    for (let n = 0; n < RANDOM_CASES; n++) {
      for (let i = 0; i < 24; i++) bytes[i] = random(256);
      const prefixes = [0, random(3), random(3), random(15)][random(4)] as number;
      let at = 0;
      while (at < prefixes) bytes[at++] = PREFIXES[random(PREFIXES.length)] as number;
      bytes.set([[], [0x0f], [0x0f], [0x0f, 0x38], [0x0f, 0x3a], [0xd8 + random(8)]][random(6)] as number[], at);
      for (const bitness of BITNESSES) compare(bytes, bitness);
    }
    expect(differences.list()).toEqual([]);
    expect(compared).toBeGreaterThan(300_000);
  });

  it('lacks exactly what it is known to lack', () => {
    const missing = [...absent.keys()].sort();
    if (missing.length > 0) {
      const reasons = missing.map((m) => `  ${m}: ${KNOWN_ABSENT[m] ?? 'UNKNOWN'}`);
      console.info(`instructions of the profile without a form:\n${reasons.join('\n')}`);
    }
    expect(missing).toEqual(Object.keys(KNOWN_ABSENT).sort());
    expect(differences.settled()).toEqual([]);
  });

  it('reaches every form of the table', () => {
    const unreached = forms
      .filter((f) => !reached.has(f))
      .map((f) => `${f.mnemonic} ${f.encoding} ${f.operands.map((o) => o.text).join(' ')}`);
    expect(unreached).toEqual([]);
  });
});

describe('where bytes end', () => {
  const outcome = (bytes: readonly number[], end: number, mode: number): string =>
    decoder.decode(new Uint8Array([...bytes, ...new Array(16).fill(0)]), 0, end, mode, instruction);

  it('tells a truncated instruction from a whole one, at every byte', () => {
    const random = generator(SEED + 2);
    let whole = 0;
    for (let n = 0; n < 20_000; n++) {
      const bytes = new Uint8Array(16);
      for (let i = 0; i < 16; i++) bytes[i] = random(256);
      const mode = MODES[BITNESSES[random(3)] as Bitness];
      if (decoder.decode(bytes, 0, 16, mode, instruction) !== 'ok') continue;
      whole++;
      const { length, form } = instruction;
      expect(decoder.decode(bytes, 0, length, mode, instruction)).toBe('ok');
      expect([instruction.length, instruction.form]).toEqual([length, form]);
      for (let end = 0; end < length; end++) expect(decoder.decode(bytes, 0, end, mode, instruction)).toBe('truncated');
      // The same instruction elsewhere in the bytes is the same.
      const shifted = new Uint8Array([0xcc, 0xcc, 0xcc, ...bytes]);
      expect(decoder.decode(shifted, 3, 19, mode, instruction)).toBe('ok');
      expect(instruction.length).toBe(length);
    }
    expect(whole).toBeGreaterThan(10_000);
  });

  it.each([
    ['fifteen prefixes', new Array(15).fill(0x66), 'tooLong'],
    ['fourteen prefixes and a one-byte instruction', [...new Array(14).fill(0x66), 0x90], 'ok'],
    ['fourteen prefixes and a two-byte instruction', [...new Array(14).fill(0x2e), 0x89, 0xc0], 'tooLong'],
    ['an immediate beyond the fifteenth byte', [...new Array(11).fill(0x2e), 0xb8, 1, 2, 3, 4], 'tooLong'],
    ['an immediate that ends with the fifteenth byte', [...new Array(10).fill(0x2e), 0xb8, 1, 2, 3, 4], 'ok'],
    ['an undefined opcode with room behind it', [0x0f, 0x0a], 'undefined'],
  ])('%s', (_name, bytes, expected) => {
    expect(outcome(bytes, bytes.length + 8, Mode.PROTECTED | Mode.CODE32)).toBe(expected);
  });
});

describe('the row notation', () => {
  it('NFx refuses REP prefixes and leaves 66 the operand size', () => {
    const only = new Decoder(makeForms([['RDRAND', 'NFx 0F C7 /6', 'Rv=', () => {}]]));
    const decode = (...bytes: number[]): string =>
      only.decode(new Uint8Array([...bytes, 0x0f, 0xc7, 0xf0, 0, 0, 0]), 0, 9, MODES[64], instruction);
    expect([decode(), instruction.size]).toEqual(['ok', 4]);
    expect([decode(0x66), instruction.size]).toEqual(['ok', 2]);
    expect([decode(0x48), instruction.size]).toEqual(['ok', 8]);
    expect([decode(0xf3), decode(0xf2), decode(0x66, 0xf3)]).toEqual(['undefined', 'undefined', 'undefined']);
  });

  it('refuses what it cannot read', () => {
    expect(() => makeForms([['X', '0F ZZ', '', () => {}]])).toThrow('unknown token ZZ');
    expect(() => makeForms([['X', '90', 'Kq', () => {}]])).toThrow('unknown operand Kq');
    expect(() => makeForms([['X', '0F 01 D0 11', '', () => {}]])).toThrow('cannot read encoding');
  });
});
