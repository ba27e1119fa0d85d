import { describe, expect, it } from 'vitest';
import { functionType, load, newModule } from './testing.fixture.ts';

/** A section's contents by id; custom sections by their name. */
function sections(bytes: Uint8Array): { id: number; name: string; at: number; body: Uint8Array }[] {
  const found: { id: number; name: string; at: number; body: Uint8Array }[] = [];
  let p = 8;
  const unsigned = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[p++] as number;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (p < bytes.length) {
    const id = bytes[p++] as number;
    const size = unsigned();
    const end = p + size;
    let name = '';
    if (id === 0) {
      const length = unsigned();
      name = new TextDecoder().decode(bytes.subarray(p, p + length));
      p += length;
    }
    found.push({ id, name, at: p, body: bytes.subarray(p, end) });
    p = end;
  }
  return found;
}

describe('ModuleBuilder', () => {
  it('joins functions that call each other, imports asked for late, and a table', () => {
    const module = newModule();
    const even = module.declare('even', functionType(['i32'], 'i32'), true);
    const odd = module.declare('odd', functionType(['i32'], 'i32'));
    const log = { callee: undefined as ReturnType<typeof module.importFunction> | undefined };
    module.define(even, (f) => {
      f.if(f.param(0).eqz(), () => f.return(1));
      f.return(f.call1(odd, f.param(0).sub(1)));
    });
    module.define(odd, (f) => {
      // The first import appears while bodies are built.
      log.callee ??= module.importFunction('log', functionType(['i32']));
      f.call(log.callee, f.param(0));
      f.if(f.param(0).eqz(), () => f.return(0));
      f.return(f.call1(even, f.param(0).sub(1)));
    });
    module.table([odd, even]);
    module.function(
      'which',
      functionType(['i32', 'i32'], 'i32'),
      (f) => {
        f.return(f.callIndirect({ index: () => 0 }, functionType(['i32'], 'i32'), f.param(0), f.param(1))[0] as never);
      },
      true,
    );
    const logged: number[] = [];
    const { exports } = load(module, { log: (n: number) => logged.push(n) });
    expect(exports.even?.(4)).toBe(1);
    expect(logged).toEqual([3, 1]);
    expect([exports.which?.(0, 3), exports.which?.(1, 3)]).toEqual([1, 0]);
    expect(Object.keys(exports)).toEqual(['even', 'which']);
  });

  it('imports a shared memory with its limits', () => {
    const module = newModule();
    module.function('size', functionType([], 'i32'), (f) => f.return(f.load('i32.load', 8)), true);
    const { exports, memory } = load(module);
    new Int32Array(memory.buffer)[2] = 77;
    expect(exports.size?.()).toBe(77);
    expect(
      () =>
        new WebAssembly.Instance(new WebAssembly.Module(module.finish()), {
          env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 9, shared: true }) },
        }),
    ).toThrow(WebAssembly.LinkError);
  });

  it('throws the imported tag through JavaScript', () => {
    const module = newModule();
    const tag = module.importTag('fault');
    module.function('test', functionType([]), (f) => f.throw(tag), true);
    const fault = new WebAssembly.Tag({ parameters: [] });
    const { exports } = load(module, { fault });
    let caught: unknown;
    try {
      exports.test?.();
    } catch (error) {
      caught = error;
    }
    expect(caught instanceof WebAssembly.Exception && caught.is(fault)).toBe(true);
  });

  it('hints point at the branches: after the locals, in function order, before the code section', () => {
    const module = newModule();
    module.importFunction('spare', functionType([]));
    module.function('plain', functionType([]), () => {});
    module.function(
      'hinted',
      functionType(['i32'], 'i32'),
      (f) => {
        // Enough locals of two types that their declarations shift the code.
        const [a, b] = [f.variable('i32', 1), f.variable('i64', 2)];
        f.if(f.param(0), () => a.set(9), undefined, true);
        f.block((out) => {
          f.brIf(out, b.get().eqz(), false);
          f.brIf(out, a.get());
        });
        f.return(a.get());
      },
      true,
    );
    const bytes = module.finish();
    const all = sections(bytes);
    expect(all.map((s) => s.id)).toEqual([1, 2, 3, 7, 0, 10, 0]);
    const hints = all.find((s) => s.name === 'metadata.code.branch_hint')?.body as Uint8Array;
    // One function, number 2 (one import before them), with two hints: offset, size 1, value.
    expect([...hints.subarray(0, 3)]).toEqual([1, 2, 2]);
    const [ifAt, one, likely, brAt, another, unlikely] = hints.subarray(3);
    expect([one, likely, another, unlikely]).toEqual([1, 1, 1, 0]);
    const codeSection = all.find((s) => s.id === 10)?.body as Uint8Array;
    // count, size of `plain`, its body; size of `hinted`, its body.
    const plainSize = codeSection[1] as number;
    const body = codeSection.subarray(2 + plainSize + 1);
    expect(body[ifAt as number]).toBe(0x04);
    expect(body[brAt as number]).toBe(0x0d);
    expect(load(module, { spare: () => {} }).exports.hinted?.(1)).toBe(9);
  });

  it('has no hint section without hints', () => {
    const module = newModule();
    module.function('plain', functionType([]), () => {});
    expect(sections(module.finish()).map((s) => s.name || s.id)).toEqual([1, 2, 3, 7, 10, 'name']);
  });

  it('refuses what is declared and never defined, and definitions of what is not its own', () => {
    const module = newModule();
    module.declare('ghost', functionType([]));
    expect(() => module.finish()).toThrow('ghost is declared but not defined');
    expect(() => newModule().define(module.declare('x', functionType([])), () => {})).toThrow(
      'x is not a function of this module',
    );
  });
});
