import { describe, expect, it } from 'vitest';
import { type Callee, FunctionBuilder, Label } from './function.ts';
import { functionType, instructionsOf, load, newModule, single } from './testing.fixture.ts';

function code(...args: Parameters<typeof single>): string[] {
  return instructionsOf(single(...args).finish(), 'test');
}
function run(module: ReturnType<typeof single>, ...args: (number | bigint)[]): number | bigint {
  return (load(module).exports.test as (...a: unknown[]) => number | bigint)(...args);
}

describe('placement of values', () => {
  it('computes a value used once where it is used', () => {
    expect(
      code(functionType(['i32', 'i32'], 'i32'), (f) => f.return(f.param(0).add(f.param(1)).mul(f.param(1)))),
    ).toEqual(['local.get 0', 'local.get 1', 'i32.add', 'local.get 1', 'i32.mul', 'return', 'unreachable']);
  });

  it('computes a value used twice once, and keeps it', () => {
    const lines = code(functionType(['i32', 'i32'], 'i32'), (f) => {
      const sum = f.param(0).add(f.param(1));
      f.return(sum.mul(sum));
    });
    expect(lines).toEqual([
      'local.get 0',
      'local.get 1',
      'i32.add',
      'local.tee 2',
      'local.get 2',
      'i32.mul',
      'return',
      'unreachable',
    ]);
  });

  it('drops what nobody uses, and what only that used', () => {
    const lines = code(functionType(['i32'], 'i32'), (f) => {
      const loaded = f.load('i32.load', f.param(0));
      loaded.add(1).mul(3);
      f.return(f.param(0));
    });
    expect(lines).toEqual(['local.get 0', 'return', 'unreachable']);
  });

  it('drops the result of a call that nobody uses, but not the call', () => {
    const module = newModule();
    const two = module.function('two', functionType([], 'i32', 'i64'), (f) => f.return(1, 2n));
    module.function('test', functionType([], 'i64'), (f) => {
      f.call(two);
      f.return(f.call(two)[1] as never);
    });
    expect(instructionsOf(module.finish(), 'test')).toEqual([
      'call 0',
      'drop',
      'drop',
      'call 0',
      'local.set 0',
      'drop',
      'local.get 0',
      'return',
      'unreachable',
    ]);
  });

  it.each([
    ['a store', (f: FunctionBuilder) => f.store('i32.store', 64, 5)],
    ['memory.fill', (f: FunctionBuilder) => f.memoryFill(64, 5, 4)],
    ['an atomic operation', (f: FunctionBuilder) => f.atomic('i32.atomic.rmw.xchg', 64, 0x05050505)],
  ])('leaves a load before %s', (_name, effect) => {
    const module = single(functionType(['i32'], 'i32'), (f) => {
      const before = f.load('i32.load', f.param(0)).add(1);
      effect(f);
      f.return(before);
    });
    expect(run(module, 64)).toBe(1);
  });

  it('leaves a load before a call, and a read of a variable before its assignment', () => {
    const module = newModule();
    const poke = module.function('poke', functionType([]), (f) => f.store('i32.store', 64, 5));
    module.function(
      'test',
      functionType([], 'i32'),
      (f) => {
        const v = f.variable('i32', 10);
        const before = f.load('i32.load', 64).add(v.get());
        f.call(poke);
        v.set(1000);
        f.return(before.add(v.get()));
      },
      true,
    );
    expect(load(module).exports.test?.()).toBe(1010);
  });

  it('moves a load into its use where nothing stands between', () => {
    expect(code(functionType(['i32'], 'i32'), (f) => f.return(f.load('i32.load', f.param(0), 4).add(1)))).toEqual([
      'local.get 0',
      'i32.load offset=4 align=1',
      'i32.const 1',
      'i32.add',
      'return',
      'unreachable',
    ]);
  });

  it('moves a pure operation over effects, but not the load it is made of', () => {
    const lines = code(functionType(['i32'], 'i32'), (f) => {
      const value = f.load('i32.load', f.param(0)).add(1);
      f.store('i32.store', f.param(0), 7);
      f.return(value);
    });
    expect(lines.indexOf('i32.load align=1')).toBeLessThan(lines.indexOf('i32.store align=1'));
    expect(lines.indexOf('i32.add')).toBeGreaterThan(lines.indexOf('i32.store align=1'));
  });

  it('computes what a loop uses, and stands outside it, once', () => {
    const module = single(functionType(['i32', 'i32'], 'i32'), (f) => {
      const product = f.param(0).mul(f.param(1));
      const total = f.variable('i32', 0);
      const i = f.variable('i32', 5);
      f.loop((again) => {
        total.set(total.get().add(product));
        i.set(i.get().sub(1));
        f.brIf(again, i.get());
      });
      f.return(total.get());
    });
    const lines = instructionsOf(module.finish(), 'test');
    expect(lines.indexOf('i32.mul')).toBeLessThan(lines.findIndex((l) => l.startsWith('loop')));
    expect(run(module, 6, 7)).toBe(210);
  });

  it('keeps a local of a value from outside a loop until the loop ends', () => {
    // Each pass makes and ends other values of the type; their locals must not be the outer value's.
    const module = single(functionType(['i32'], 'i32'), (f) => {
      const outer = f.param(0).mul(3);
      const total = f.variable('i32', 0);
      const i = f.variable('i32', 4);
      f.loop((again) => {
        total.set(total.get().add(outer).add(outer));
        const inner = i.get().mul(100);
        total.set(total.get().add(inner.xor(inner)));
        const other = i.get().mul(1000);
        total.set(total.get().add(other.sub(other)));
        i.set(i.get().sub(1));
        f.brIf(again, i.get());
      });
      f.return(total.get());
    });
    expect(run(module, 5)).toBe(120);
  });

  it('uses a local again once its value has no more use', () => {
    const locals = (count: number): number => {
      const f = new FunctionBuilder('test', functionType(['i32'], 'i32'), () => 0);
      const v = f.variable('i32', 0);
      for (let n = 0; n < count; n++) {
        const twice = f.param(0).add(n + 1);
        v.set(v.get().add(twice).xor(twice));
      }
      f.return(v.get());
      const body = f.finish().body;
      expect(body[0]).toBe(1);
      return body[1] as number;
    };
    expect(locals(1)).toBe(2);
    expect(locals(40)).toBe(2);
  });

  it('shares variables between scopes', () => {
    const lines = code(functionType([], 'i32'), (f) => {
      f.scope(() => f.variable('i32', 1));
      f.scope(() => f.variable('i32', 2));
      f.return(0);
    });
    expect(lines.filter((l) => l.startsWith('local.set'))).toEqual(['local.set 0', 'local.set 0']);
  });

  it('keeps what a scope read of a variable when the variable is used again', () => {
    const module = single(functionType([], 'i32'), (f) => {
      const first = f.scope(() => f.variable('i32', 1).get());
      f.scope(() => f.variable('i32', 2));
      f.return(first);
    });
    expect(run(module)).toBe(1);
  });
});

describe('control flow', () => {
  it('takes the branch that holds', () => {
    const module = single(functionType(['i32'], 'i32'), (f) => {
      const v = f.variable('i32');
      f.if(
        f.param(0),
        () => v.set(1),
        () => v.set(2),
      );
      f.return(v.get());
    });
    expect([run(module, 5), run(module, 0)]).toEqual([1, 2]);
  });

  it.each([
    [1, 'then'],
    [0, 'otherwise'],
    [0x1_0000_0000, 'otherwise'],
    [-1, 'then'],
  ])('decides a constant condition of %i while building', (condition, taken) => {
    const built: string[] = [];
    const lines = code(functionType([], 'i32'), (f) => {
      f.if(
        condition,
        () => built.push('then'),
        () => built.push('otherwise'),
      );
      f.block((out) => f.brIf(out, condition));
      f.return(f.select(f.i32(condition), 3, 4));
    });
    expect(built).toEqual([taken]);
    expect(lines.some((l) => l.startsWith('br'))).toBe(taken === 'then');
    expect(lines).toContain(`i32.const ${taken === 'then' ? 3 : 4}`);
  });

  it('branches by a table', () => {
    const module = single(functionType(['i32'], 'i32'), (f) => {
      f.block((outer) => {
        f.block((middle) => {
          f.block((inner) => f.brTable(f.param(0), [middle, inner, middle], outer));
          f.return(1);
        });
        f.return(0);
      });
      f.return(99);
    });
    expect([0, 1, 2, 3, -1].map((n) => run(module, n))).toEqual([0, 1, 0, 99, 99]);
  });

  it('catches a tag where it says so, with values of the outside at hand', () => {
    const module = newModule();
    const tag = module.importTag('fault');
    const risky = module.function('risky', functionType(['i32']), (f) => {
      f.if(f.param(0), () => f.throw(tag));
    });
    module.function(
      'test',
      functionType(['i32'], 'i32'),
      (f) => {
        const kept = f.param(0).add(40);
        const result = f.variable('i32', 0);
        f.loop((again) => {
          f.try(
            tag,
            () => {
              f.call(risky, f.param(0));
              result.set(result.get().or(kept));
            },
            () => {
              result.set(kept.add(kept));
            },
          );
          f.brIf(again, 0);
        });
        f.return(result.get());
      },
      true,
    );
    const { exports } = load(module, { fault: new WebAssembly.Tag({ parameters: [] }) });
    expect([exports.test?.(0), exports.test?.(2)]).toEqual([40, 84]);
  });

  it('returns several values and takes them in order', () => {
    const module = newModule();
    const pair = module.function('pair', functionType(['i32'], 'i32', 'i32'), (f) => f.return(f.param(0), 7));
    module.function(
      'test',
      functionType(['i32'], 'i32'),
      (f) => {
        const [a, b] = f.call(pair, f.param(0));
        f.return((a as NonNullable<typeof a>).mul(10).sub(b as NonNullable<typeof b>));
      },
      true,
    );
    expect(load(module).exports.test?.(5)).toBe(43);
  });
});

describe('misuse', () => {
  const fails = (build: (f: FunctionBuilder) => void, message: string): void => {
    expect(() => single(functionType(['i32', 'i64'], 'i32'), build).finish()).toThrow(message);
  };

  it('refuses a value of a branch outside that branch', () => {
    fails((f) => {
      let inside = f.i32(0);
      f.if(f.param(0), () => {
        inside = f.param(0).add(1);
      });
      f.return(inside);
    }, 'use a variable');
    fails((f) => {
      let inside = f.i32(0);
      f.if(
        f.param(0),
        () => {
          inside = f.load('i32.load', 0);
        },
        () => {
          f.store('i32.store', 0, inside);
        },
      );
    }, 'use a variable');
    fails((f) => {
      let inside = f.i32(0);
      f.block(() => {
        inside = f.atomic('i32.atomic.rmw.add', 0, 1);
      });
      inside.add(1);
    }, 'use a variable');
  });

  it('lets a branch use constants and parameters made in another', () => {
    const module = single(functionType(['i32'], 'i32'), (f) => {
      let [constant, param] = [f.i32(0), f.i32(0)];
      f.block(() => {
        [constant, param] = [f.i32(4), f.param(0)];
      });
      f.return(constant.add(param));
    });
    expect(run(module, 38)).toBe(42);
  });

  it('refuses operands of another type, count or function', () => {
    fails((f) => f.param(0).add(f.param(1)), 'i64 given where i32 is needed');
    fails((f) => f.op('i32.add', 1), 'i32.add takes 2 operands');
    fails((f) => f.lane('i8x16.extract_lane_u', [], f.v128(new Array(16).fill(0))), '1 immediates');
    fails((f) => f.param(2), 'no parameter 2');
    fails((f) => f.return(), 'returns 1 values, 0 given');
    fails((f) => f.return(1, 2), 'returns 1 values, 2 given');
    const other = new FunctionBuilder('other', functionType(['i32']), () => 0);
    fails((f) => f.return(other.param(0)), 'a value of other');
  });

  it('refuses a branch to what is not open', () => {
    fails((f) => f.br(new Label('nowhere')), 'not open');
    fails((f) => {
      let escaped = new Label('');
      f.block((out) => {
        escaped = out;
      });
      f.br(escaped);
    }, 'not open');
  });

  it('refuses a call with other arguments than declared', () => {
    const build = (body: (f: FunctionBuilder, callee: Callee) => void) => () => {
      const module = newModule();
      const callee = module.importFunction('callee', functionType(['i32', 'i64']));
      module.function('x', functionType([]), (f) => body(f, callee));
      module.finish();
    };
    expect(build((f, callee) => f.call(callee, 1))).toThrow('x: callee takes 2 arguments');
    expect(build((f, callee) => f.call1(callee, 1, 1n))).toThrow('callee returns nothing');
  });
});

describe('bits that change their type', () => {
  it('are loaded and stored as what they become', () => {
    const lines = code(functionType(['i32']), (f) => {
      const bits = f.load('i64.load', f.param(0), 8);
      const x = f.op('f64.reinterpret_i64', bits);
      f.store('i64.store', f.param(0), f.op('i64.reinterpret_f64', f.op('f64.add', x, x)), 16);
    });
    expect(lines.map((line) => line.split(' ')[0])).toEqual([
      'local.get',
      'f64.load',
      'local.set',
      'local.get',
      'local.get',
      'local.get',
      'f64.add',
      'f64.store',
    ]);
  });

  it('stay where they were loaded when something was stored since', () => {
    const lines = code(functionType(['i32'], 'f32'), (f) => {
      const bits = f.load('i32.load', f.param(0));
      f.store('i32.store', f.param(0), 1);
      f.return(f.op('f32.reinterpret_i32', bits));
    });
    expect(lines).toContain('f32.reinterpret_i32');
    expect(lines.some((line) => line.startsWith('f32.load'))).toBe(false);
  });

  it('come from and go to lanes of the other kind', () => {
    const lines = code(functionType(['v128'], 'v128'), (f) => {
      const x = f.op('f64.reinterpret_i64', f.lane('i64x2.extract_lane', [1], f.param(0)));
      const bits = f.op('i64.reinterpret_f64', f.op('f64.sqrt', x));
      f.return(f.lane('i64x2.replace_lane', [0], f.param(0), bits));
    });
    expect(lines).toEqual([
      'local.get 0',
      'local.get 0',
      'f64x2.extract_lane 1',
      'f64.sqrt',
      'f64x2.replace_lane 0',
      'return',
      'unreachable',
    ]);
  });

  it('are what they were after a way there and back', () => {
    expect(
      code(functionType(['f32'], 'f32'), (f) =>
        f.return(f.op('f32.reinterpret_i32', f.op('i32.reinterpret_f32', f.param(0)))),
      ),
    ).toEqual(['local.get 0', 'return', 'unreachable']);
  });
});
