import { beforeAll, describe, expect, it } from 'vitest';
import { compileInterpreter } from '../../src/hypervisor/interpreter/generate.ts';
import type { InterpreterModule } from '../../src/hypervisor/interpreter/interpreter.ts';
import { Prisoner } from './code.ts';

let module: InterpreterModule;
beforeAll(() => {
  module = compileInterpreter();
});

describe('guest code that means harm', () => {
  it('raises exceptions of the guest, and changes only its own processor and RAM', () => {
    const prisoner = new Prisoner(module);
    for (let seed = 0; seed < 250; seed++) prisoner.run(seed);
    prisoner.checkCanaries();
    // It must have come somewhere: the modes run code, fault, and shut down.
    expect(prisoner.counts.instructions).toBeGreaterThan(100_000n);
    expect(prisoner.counts.faults).toBeGreaterThan(1000);
    expect(prisoner.counts.tripleFaults).toBeGreaterThan(10);
  });

  it('keeps a program at CPL 3 in its own pages and registers', () => {
    const prisoner = new Prisoner(module);
    for (let seed = 0; seed < 120; seed++) prisoner.runJailed(seed);
    prisoner.checkCanaries();
    expect(prisoner.counts.instructions).toBeGreaterThan(100_000n);
  });

  it('finds every system operation ready for any operand', () => {
    const prisoner = new Prisoner(module);
    for (let seed = 0; seed < 12; seed++) prisoner.runOperations(seed);
    prisoner.checkCanaries();
  });
});
