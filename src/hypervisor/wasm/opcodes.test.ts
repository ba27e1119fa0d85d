import { describe, expect, it } from 'vitest';
import { allMemoryOperators, allOperators, memoryOperator, operator } from './opcodes.ts';
import { functionType, instructionsOf, newModule, single } from './testing.fixture.ts';

/** Lane immediates that are in range for the operator. */
function lanesOf(count: number): number[] {
  return Array.from({ length: count }, (_, i) => (count === 16 ? 31 - i : 1));
}

describe('the instruction table', () => {
  it('assembles every operator to what its name and signature say', () => {
    const module = newModule();
    const names: string[] = [];
    for (const op of allOperators()) {
      names.push(op.name);
      module.function(op.name, functionType(op.params, op.result), (f) => {
        f.return(f.lane(op.name, lanesOf(op.lanes), ...op.params.map((_, i) => f.param(i))));
      });
    }
    const bytes = module.finish();
    expect(WebAssembly.validate(bytes)).toBe(true);
    for (const name of names) {
      const op = operator(name);
      const lanes = lanesOf(op.lanes)
        .map((n) => ` ${n}`)
        .join('');
      expect(instructionsOf(bytes, name)).toEqual([
        ...op.params.map((_, i) => `local.get ${i}`),
        name + lanes,
        'return',
        'unreachable',
      ]);
    }
    expect(names.length).toBeGreaterThan(300);
  });

  it('assembles every memory operator to its name, atomics with their natural alignment', () => {
    const module = newModule();
    const names: string[] = [];
    for (const op of allMemoryOperators()) {
      names.push(op.name);
      const operands = op.name.includes('cmpxchg') ? 2 : op.name.includes('load') ? 0 : 1;
      const returns = op.name.includes('load') || op.name.includes('rmw');
      const type = functionType(
        ['i32', ...Array.from({ length: operands }, () => op.type)],
        ...(returns ? [op.type] : []),
      );
      module.function(op.name, type, (f) => {
        const values = Array.from({ length: operands }, (_, i) => f.param(i + 1));
        if (op.name.includes('rmw')) f.return(f.atomic(op.name, f.param(0), ...values));
        else if (op.name.includes('load')) f.return(f.load(op.name, f.param(0), 24));
        else f.store(op.name, f.param(0), f.param(1), 24);
      });
    }
    const bytes = module.finish();
    expect(WebAssembly.validate(bytes)).toBe(true);
    for (const name of names) {
      const op = memoryOperator(name);
      const line = instructionsOf(bytes, name).find((l) => l.startsWith(`${name} `) || l === name);
      const offset = name.includes('rmw') ? '' : ' offset=24';
      // The disassembler leaves natural alignment out.
      const align = op.atomic || op.align === 0 ? '' : ' align=1';
      expect(line, name).toBe(name + offset + align);
    }
    expect(names.length).toBe(27 + 63);
  });

  it('refuses names that are no instruction', () => {
    expect(() => operator('i32.avg')).toThrow('i32.avg');
    expect(() => memoryOperator('i32.load64_u')).toThrow('i32.load64_u');
    expect(() => single(functionType([]), (f) => f.load('i32.store', 0)).finish()).toThrow('i32.store');
    expect(() => single(functionType([]), (f) => f.store('i32.load', 0, 0)).finish()).toThrow('i32.load');
    expect(() => single(functionType([]), (f) => f.atomic('i32.load', 0, 0)).finish()).toThrow('i32.load');
  });
});
