// The comparison with the host's processor, as much of it as a test run has time for; the rest is `npm run oracle`.

import { afterAll, describe, expect, it } from 'vitest';
import { buildInterpreter } from '../../src/hypervisor/interpreter/build.ts';
import { compileInterpreter } from '../../src/hypervisor/interpreter/generate.ts';
import { HandlerTable } from '../../src/hypervisor/interpreter/handlers.ts';
import type { InterpreterModule } from '../../src/hypervisor/interpreter/interpreter.ts';
import type { Form, SemanticFunction } from '../../src/hypervisor/x86/form.ts';
import type { Semantics } from '../../src/hypervisor/x86/semantics.ts';
import { forms, helperDefinitions } from '../../src/hypervisor/x86/table.ts';
import { CaseMaker } from './cases.ts';
import { compare } from './compare.ts';
import { Comparison, type ComparisonOptions, type Divergence } from './comparison.ts';
import { readFixtures } from './fixtures.ts';
import { cellName, cellsOf, exclusion } from './forms.ts';
import { Random } from './generate.ts';
import { InterpretedProcessor } from './interpreted.ts';
import { NativeProcessor } from './native/runner.ts';
import { describeDivergence, disassemble } from './report.ts';

const started = await NativeProcessor.start();
const reason = started.available ? '' : ` (skipped: ${started.reason})`;
const native = started as NativeProcessor;
afterAll(() => started.available && started.close());

async function divergences(instructions: number, options: Omit<ComparisonOptions, 'native'>): Promise<string[]> {
  const found: Divergence[] = [];
  const comparison = await Comparison.start({ native, ...options });
  await comparison.run(instructions, (d) => found.push(d));
  expect(comparison.instructions).toBeGreaterThanOrEqual(instructions);
  // System instructions and the like are not translated.
  if (options.translate) expect(comparison.translated).toBeGreaterThan(instructions / (options.length ?? 1) / 2);
  return found.slice(0, 5).map(describeDivergence);
}

describe.skipIf(!started.available)(`Viridian and this host's processor${reason}`, () => {
  it('agree on single instructions', async () => {
    expect(await divergences(80_000, { seed: 0x20 })).toEqual([]);
  });

  it('agree on sequences', async () => {
    expect(await divergences(40_000, { seed: 0x21, length: 6 })).toEqual([]);
  });

  it('agree on translated instructions', async () => {
    expect(await divergences(15_000, { seed: 0x22, modes: [64], translate: true })).toEqual([]);
    expect(await divergences(15_000, { seed: 0x23, modes: [64], translate: true, length: 6 })).toEqual([]);
  });

  it('do not agree when the carry is missing from ADC', async () => {
    const module = mutated('ADC', (semantics) => (s) => {
      const deaf = Object.create(s, { flag: { value: () => s.f.i32(0) } }) as Semantics;
      semantics(bindTo(deaf, s));
    });
    expect(await divergences(400, { seed: 1, mnemonic: /^ADC$/ })).toEqual([]);
    const found = await divergences(400, { seed: 1, mnemonic: /^ADC$/, module });
    expect(found.length).toBeGreaterThan(0);
    expect(found[0]).toContain('adc');
  });

  it('do not agree when SAHF forgets a flag', async () => {
    const module = mutated('SAHF', () => (s) => {
      s.setRflags(s.reg(0, 2).shrU(8), 0xd4);
    });
    expect((await divergences(200, { seed: 1, mnemonic: /^SAHF$/, module })).length).toBeGreaterThan(0);
  });
});

/** Private members of a port are the original's: calls go to it, what is overridden stays. */
function bindTo(changed: Semantics, original: Semantics): Semantics {
  return new Proxy(original, {
    get(target, name) {
      if (Object.hasOwn(changed, name)) return Reflect.get(changed, name);
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** An interpreter in which one mnemonic does something else. */
function mutated(mnemonic: string, change: (semantics: SemanticFunction) => SemanticFunction): InterpreterModule {
  const changes = new Map<SemanticFunction, SemanticFunction>();
  const changed = forms.map((form): Form => {
    if (form.mnemonic !== mnemonic) return form;
    // One function for all rows that shared one, so that handlers keep their numbers.
    const semantics = changes.get(form.semantics) ?? change(form.semantics);
    changes.set(form.semantics, semantics);
    return { ...form, semantics };
  });
  return compileInterpreter(
    buildInterpreter(new HandlerTable(changed), helperDefinitions, { initial: 1, maximum: 65536 }),
  );
}

describe('fixtures', () => {
  const processor = new InterpretedProcessor();
  it.each(readFixtures().map((fixture) => [fixture.name, fixture] as const))('%s', (_name, fixture) => {
    expect(compare(fixture.case, fixture.expected, processor.run(fixture.case), fixture)).toEqual([]);
  });
});

describe('generated instructions', () => {
  const maker = new CaseMaker(new Random(5));
  const modes = [64, 32, 16] as const;
  const compared = forms.filter((form) => exclusion(form, undefined) === '');
  const cells = compared.flatMap((form) => cellsOf(form, modes));

  it('are of every form', () => {
    expect(new Set(cells.map((cell) => cell.form))).toEqual(new Set(compared));
    expect(cells.length).toBeGreaterThan(2000);
  });

  it('are what they claim to be', () => {
    // iced-x86 names some instructions otherwise, so it only says whether it is one.
    const wrong: string[] = [];
    for (const cell of cells) {
      const c = maker.make([cell]);
      const piece = c.pieces[0];
      if (!piece) continue;
      const text = disassemble(c, piece);
      const isCut = c.codeOffset + c.code.length === 0x2000;
      const isNumbered = cell.form.operands.some((o) => 'SCD'.includes(o.kind)); // not every number has a register
      const isIllegal = isNumbered || (!cell.locked && c.code.includes(0xf0));
      if (text === '(bad)' && piece.length < 15 && !isCut && !isIllegal) wrong.push(`${cellName(cell)}: ${text}`);
    }
    expect(wrong).toEqual([]);
  });
});
