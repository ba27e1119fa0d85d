/**
 * String instructions: Intel SDM vol. 2, MOVS, CMPS, STOS, LODS, SCAS and "REP". In 64-bit mode, forward runs of all but
 * LODS take as many elements at once as lie within their pages; a fault leaves the registers at the element it hit.
 */
import { BOUNCE } from '../../mmu/access.ts';
import { Flag, Segment } from '../../vp/state.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { HelperDefinition } from '../library.ts';
import { Register, type Semantics } from '../semantics.ts';
import { compareHelpers, INTERRUPTED } from './string-compare.ts';
import { at, countRepetition, gpr, hostFor, isSlow, isUnmapped, minimum, RUN_SHIFT, run } from './string-runs.ts';

export { countRepetition, LONGEST_REPEAT, PORT_WORK } from './string-runs.ts';

const { RAX, RCX, RSI, RDI } = Register;

/** +size or -size by the direction flag. */
function stride(s: Semantics): Value {
  return s.f.select(s.state('flags').and(Flag.DF), s.f.i64(-s.size), s.f.i64(s.size));
}
function source(s: Semantics): Value {
  return s.loadLinear(s.segmentLinear('override', s.addressReg(RSI), s.size, 'read'), s.size);
}
function destinationLinear(s: Semantics, access: 'read' | 'write'): Value {
  return s.segmentLinear(Segment.ES, s.addressReg(RDI), s.size, access);
}
function advance(s: Semantics, register: number): void {
  s.setAddressReg(register, s.truncateAddress(s.addressReg(register).add(stride(s))));
}

/**
 * Runs `element` RCX times where a repeat prefix stands, looking for interrupts between elements. Each element is complete before the next begins, so the instruction can be taken up again anywhere.
 */
function repeated(s: Semantics, element: () => void): void {
  const { f } = s;
  if (s.repeat === 'none') {
    element();
    return;
  }
  f.block((done) => {
    f.loop((next) => {
      f.brIf(done, s.addressReg(RCX).eqz());
      element();
      s.setAddressReg(RCX, s.truncateAddress(s.addressReg(RCX).sub(1)));
      countRepetition(f, s.vp(), 1);
      f.brIf(done, s.addressReg(RCX).eqz());
      f.if(s.state('attention'), () => {
        s.again();
      });
      f.br(next);
    });
  });
}

const movs: SemanticFunction = (s) => {
  if (s.flat && s.repeat !== 'none') {
    bulk(s, 'repeat_movs', s.segmentLinear('override', s.f.i64(0), 0, 'read'));
    return;
  }
  repeated(s, () => {
    const value = source(s);
    s.storeLinear(destinationLinear(s, 'write'), s.size, value);
    advance(s, RSI);
    advance(s, RDI);
  });
};
const stos: SemanticFunction = (s) => {
  if (s.flat && s.repeat !== 'none') {
    bulk(s, 'repeat_stos', s.f.i64(0));
    return;
  }
  repeated(s, () => {
    s.storeLinear(destinationLinear(s, 'write'), s.size, s.reg(RAX));
    advance(s, RDI);
  });
};
const lods: SemanticFunction = (s) => {
  repeated(s, () => {
    s.setReg(RAX, source(s));
    advance(s, RSI);
  });
};

/**
 * CMPS and SCAS go on while the operands are equal (REPE) or differ (REPNE). The flags change when the instruction is
 * done or is interrupted; a fault leaves them as they were (SDM vol. 2, "REP").
 */
function comparing(
  bulkName: string,
  operands: (s: Semantics) => readonly [Value, Value],
  registers: readonly number[],
): SemanticFunction {
  return (s) => {
    const { f } = s;
    const element = (): readonly [Value, Value] => {
      const pair = operands(s);
      for (const register of registers) advance(s, register);
      return pair;
    };
    const compare = (a: Value, b: Value): void => {
      s.flagsSub(a, b, a.sub(b));
    };
    if (s.repeat === 'none') {
      compare(...element());
      return;
    }
    if (s.flat) {
      const base = s.segmentLinear('override', f.i64(0), 0, 'read');
      const whileEqual = s.repeat === 'rep' ? 1 : 0;
      const [outcome, a, b] = s.helper(`${bulkName}_${s.size}`, s.vp(), base, whileEqual) as [Value, Value, Value];
      f.if(outcome, () => {
        compare(a, b);
        f.if(outcome.eq(INTERRUPTED), () => {
          s.again();
        });
      });
      return;
    }
    f.block((nothing) => {
      f.brIf(nothing, s.addressReg(RCX).eqz());
      const a = f.variable('i64', 0);
      const b = f.variable('i64', 0);
      f.block((done) => {
        f.loop((next) => {
          const [left, right] = element();
          a.set(left);
          b.set(right);
          s.setAddressReg(RCX, s.truncateAddress(s.addressReg(RCX).sub(1)));
          countRepetition(f, s.vp(), 1);
          const equal = a.get().eq(b.get());
          f.brIf(done, s.repeat === 'rep' ? equal.eqz() : equal);
          f.brIf(done, s.addressReg(RCX).eqz());
          f.if(s.state('attention'), () => {
            compare(a.get(), b.get());
            s.again();
          });
          f.br(next);
        });
      });
      compare(a.get(), b.get());
    });
  };
}
/** Of two operands that fault, processors report the one at rDI. */
const cmps = comparing(
  'repeat_cmps',
  (s) => {
    const b = s.loadLinear(destinationLinear(s, 'read'), s.size);
    return [source(s), b];
  },
  [RSI, RDI],
);
const scas = comparing('repeat_scas', (s) => [s.reg(RAX), s.loadLinear(destinationLinear(s, 'read'), s.size)], [RDI]);

/** A helper moves whole runs; it returns 1 where it stopped for an interrupt with elements left. */
function bulk(s: Semantics, helper: string, sourceBase: Value): void {
  const [unfinished] = s.helper(helper, s.vp(), sourceBase, s.f.i64(s.size)) as [Value];
  s.f.if(unfinished, () => {
    s.again();
  });
}

function bulkHelper(name: string, copies: boolean): HelperDefinition {
  return {
    name,
    // (vp, base of the source segment, element size) -> 1 when interrupted
    type: { params: ['i32', 'i64', 'i64'], results: ['i32'] },
    build(f, helper) {
      const [vp, sourceBase, size] = [f.param(0), f.param(1), f.param(2)];
      const load = (index: number): Value => f.load('i64.load', vp, gpr(index));
      f.block((done) => {
        f.loop((next) => {
          const count = load(RCX);
          f.brIf(done, count.eqz());
          const down = f.load('i32.load', vp, at('flags')).and(Flag.DF).ne(0);
          const destination = load(RDI);
          const from = load(RSI).add(sourceBase);
          const wanted = f.variable('i64', run(f, destination, size, count));
          if (copies) wanted.set(minimum(f, wanted.get(), run(f, from, size, count)));
          f.if(isSlow(f, vp), () => {
            wanted.set(1);
          });
          const n = f.variable('i64', wanted.get());
          const bytes = f.variable('i32', size.wrap());
          // An element that crosses a page, or memory that is not RAM, goes through the bounce buffer alone.
          const sourceHost = f.variable('i32', 0);
          const bounced = f.variable('i64', 0);
          if (copies) {
            sourceHost.set(hostFor(f, helper, vp, from, size, false));
            f.if(sourceHost.get().eq(vp.add(BOUNCE)), () => {
              n.set(1);
              bounced.set(f.load('i64.load', sourceHost.get()));
            });
          }
          const host = hostFor(f, helper, vp, destination, size, true);
          f.if(isUnmapped(f, vp, destination, true), () => {
            n.set(1);
          });
          bytes.set(n.get().mul(size).wrap());
          if (copies) {
            f.if(
              sourceHost.get().eq(vp.add(BOUNCE)),
              () => {
                storeElement(f, host, size, bounced.get());
              },
              () => {
                // Overlap with the destination ahead of the source repeats the pattern: one element at a time.
                const ahead = host.sub(sourceHost.get());
                f.if(ahead.ne(0).and(ahead.ltU(bytes.get())).and(down.eqz()), () => {
                  n.set(minimum(f, n.get(), ahead.extU().divU(size)));
                  f.if(n.get().eqz(), () => {
                    n.set(1);
                  });
                  bytes.set(n.get().mul(size).wrap());
                });
                f.memoryCopy(host, sourceHost.get(), bytes.get());
              },
            );
          } else {
            const rax = load(RAX);
            f.if(
              size.eq(1),
              () => {
                f.memoryFill(host, rax.wrap(), bytes.get());
              },
              () => {
                // The pattern is doubled until the run is full.
                storeElement(f, host, size, rax);
                const filled = f.variable('i32', size.wrap());
                f.block((full) => {
                  f.loop((double) => {
                    f.brIf(full, filled.get().geU(bytes.get()));
                    const rest = bytes.get().sub(filled.get());
                    const piece = f.select(rest.ltU(filled.get()), rest, filled.get());
                    f.memoryCopy(host.add(filled.get()), host, piece);
                    filled.set(filled.get().add(piece));
                    f.br(double);
                  });
                });
              },
            );
          }
          f.if(host.eq(vp.add(BOUNCE)), () => {
            f.call(helper('store_commit'), vp);
          });
          const moved = f.select(down, size.neg(), n.get().mul(size));
          f.store('i64.store', vp, destination.add(moved), gpr(RDI));
          if (copies) f.store('i64.store', vp, load(RSI).add(moved), gpr(RSI));
          f.store('i64.store', vp, count.sub(n.get()), gpr(RCX));
          countRepetition(f, vp, bytes.get().shrU(RUN_SHIFT).add(1));
          f.if(f.load('i32.load', vp, at('attention')), () => {
            f.brIf(done, load(RCX).eqz());
            f.return(1);
          });
          f.br(next);
        });
      });
      f.return(0);
    },
  };
}

function storeElement(f: FunctionBuilder, host: Value, size: Value, value: Value): void {
  f.block((done) => {
    for (const bytes of [1, 2, 4]) {
      f.if(size.eq(bytes), () => {
        f.store(`i64.store${bytes * 8}`, host, value);
        f.br(done);
      });
    }
    f.store('i64.store', host, value);
  });
}

export const helpers: readonly HelperDefinition[] = [
  bulkHelper('repeat_movs', true),
  bulkHelper('repeat_stos', false),
  ...compareHelpers,
];

const rep = { repeat: 'rep', flavored: true } as const;
const repz = { repeat: 'repz', flavored: true } as const;
export const rows: readonly Row[] = [
  ['MOVSB', 'A4', '', movs, { ...rep, size: 1 }],
  ['MOVS', 'A5', '', movs, { ...rep, sizes: [2, 4, 8] }],
  ['CMPSB', 'A6', '', cmps, { ...repz, size: 1 }],
  ['CMPS', 'A7', '', cmps, { ...repz, sizes: [2, 4, 8] }],
  ['STOSB', 'AA', '', stos, { ...rep, size: 1 }],
  ['STOS', 'AB', '', stos, { ...rep, sizes: [2, 4, 8] }],
  ['LODSB', 'AC', '', lods, { ...rep, size: 1 }],
  ['LODS', 'AD', '', lods, { ...rep, sizes: [2, 4, 8] }],
  ['SCASB', 'AE', '', scas, { ...repz, size: 1 }],
  ['SCAS', 'AF', '', scas, { ...repz, sizes: [2, 4, 8] }],
];
