/**
 * REP CMPS and REP SCAS in bulk: within their pages, forward runs are compared sixteen bytes at a time. Intel SDM vol. 2,
 * "REP", CMPS, SCAS.
 */
import { Flag } from '../../vp/state.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { HelperDefinition } from '../library.ts';
import { Register } from '../semantics.ts';
import { at, countRepetition, gpr, hostFor, isSlow, isUnmapped, minimum, RUN_SHIFT, run } from './string-runs.ts';

const { RAX, RCX, RSI, RDI } = Register;

/** What a helper says: RCX was zero and nothing was compared; done; or to be taken up again after interrupts. */
const DONE = 1;
export const INTERRUPTED = 2;

const SHAPES = { 1: 'i8x16', 2: 'i16x8', 4: 'i32x4', 8: 'i64x2' } as const;
type Size = keyof typeof SHAPES;

function loadElement(f: FunctionBuilder, host: Value, size: Size): Value {
  return f.load(size === 8 ? 'i64.load' : `i64.load${size * 8}_u`, host);
}

/**
 * Compares elements from the first on until one stops the instruction, at most `n`; returns how many were compared, and
 * whether the last of them stopped it. `left`: an address, or the value that all are compared with.
 */
function scan(
  f: FunctionBuilder,
  size: Size,
  [left, right, n, whileEqual]: readonly [Value, Value, Value, Value],
): readonly [compared: Value, stopped: Value] {
  const shape = SHAPES[size];
  const compared = f.variable('i32', 0);
  const stopped = f.variable('i32', 0);
  const isAddress = left.type === 'i32';
  const wanted = isAddress ? undefined : f.op(`${shape}.splat`, size === 8 ? left : left.wrap());
  const place = (host: Value): Value => host.add(compared.get().mul(size));
  f.block((found) => {
    f.loop((next) => {
      f.if(n.sub(compared.get()).geU(16 / size), () => {
        const a = wanted ?? f.load('v128.load', place(left));
        const equal = f.op('i8x16.bitmask', f.op(`${shape}.eq`, a, f.load('v128.load', place(right))));
        const stops = f.select(whileEqual, equal.xor(0xffff), equal);
        f.if(stops, () => {
          const elements = stops.ctz().shrU(Math.log2(size)).add(1);
          compared.set(compared.get().add(elements));
          stopped.set(1);
          f.br(found);
        });
        compared.set(compared.get().add(16 / size));
        f.br(next);
      });
    });
    f.loop((next) => {
      f.brIf(found, compared.get().eq(n));
      const a = isAddress ? loadElement(f, place(left), size) : left;
      const equal = a.eq(loadElement(f, place(right), size));
      compared.set(compared.get().add(1));
      stopped.set(equal.ne(whileEqual));
      f.brIf(next, stopped.get().eqz());
    });
  });
  return [compared.get(), stopped.get()];
}

/** (vp, base of the source segment, whether equal elements go on) -> (outcome, left and right of the last comparison). */
function compareHelper(size: Size, hasSource: boolean): HelperDefinition {
  return {
    name: `repeat_${hasSource ? 'cmps' : 'scas'}_${size}`,
    type: { params: ['i32', 'i64', 'i32'], results: ['i32', 'i64', 'i64'] },
    build(f, helper) {
      const [vp, sourceBase, whileEqual] = [f.param(0), f.param(1), f.param(2)];
      const width = f.i64(size);
      const load = (index: number): Value => f.load('i64.load', vp, gpr(index));
      const a = f.variable('i64', load(RAX).zext(size * 8));
      const b = f.variable('i64', 0);
      f.if(load(RCX).eqz(), () => f.return(0, 0, 0));
      f.loop((next) => {
        const count = load(RCX);
        const destination = load(RDI);
        const from = load(RSI).add(sourceBase);
        const slow = isSlow(f, vp);
        const room = run(f, destination, width, count);
        const n = f.variable('i64', hasSource ? minimum(f, room, run(f, from, width, count)) : room);
        f.if(slow, () => n.set(1));
        const one = (linear: Value): void => f.if(isUnmapped(f, vp, linear, false), () => n.set(1));
        // Of two operands that fault, processors report the one at rDI. Its value is taken at once: what is not RAM goes
        // through one bounce buffer.
        const right = hostFor(f, helper, vp, destination, width, false);
        b.set(loadElement(f, right, size));
        one(destination);
        let left = a.get();
        if (hasSource) {
          left = hostFor(f, helper, vp, from, width, false);
          a.set(loadElement(f, left, size));
          one(from);
        }
        const compared = f.variable('i32', 1);
        const stopped = f.variable('i32', a.get().eq(b.get()).ne(whileEqual));
        f.if(n.get().gtU(1n).and(stopped.get().eqz()), () => {
          const [elements, stops] = scan(f, size, [left, right, n.get().wrap(), whileEqual]);
          compared.set(elements);
          stopped.set(stops);
          const last = compared.get().sub(1).mul(size);
          if (hasSource) a.set(loadElement(f, left.add(last), size));
          b.set(loadElement(f, right.add(last), size));
        });
        const bytes = compared.get().mul(size);
        // Going down is one element at a time, and so is stepping.
        const down = f.load('i32.load', vp, at('flags')).and(Flag.DF).ne(0);
        const moved = f.select(down, width.neg(), bytes.extU());
        f.store('i64.store', vp, destination.add(moved), gpr(RDI));
        if (hasSource) f.store('i64.store', vp, load(RSI).add(moved), gpr(RSI));
        f.store('i64.store', vp, count.sub(compared.get().extU()), gpr(RCX));
        countRepetition(f, vp, bytes.shrU(RUN_SHIFT).add(1));
        f.if(stopped.get().or(load(RCX).eqz()), () => f.return(DONE, a.get(), b.get()));
        f.brIf(next, f.load('i32.load', vp, at('attention')).eqz());
      });
      f.return(INTERRUPTED, a.get(), b.get());
    },
  };
}

export const compareHelpers: readonly HelperDefinition[] = ([1, 2, 4, 8] as const).flatMap((size) => [
  compareHelper(size, true),
  compareHelper(size, false),
]);
