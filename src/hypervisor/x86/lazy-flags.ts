/**
 * Arithmetic flags in the lazy form that vp/state.ts describes: what producers of flags store, and how flags and
 * conditions are read back from it.
 */
import { ARITHMETIC_FLAGS, Flag } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Operand as Term, Value } from '../wasm/value.ts';
import type { FlagName, FlagValues } from './semantics.ts';

/** Where the words of the lazy form are kept: VpState's fields, or locals. */
export interface FlagStore {
  state(field: string): Value;
  setState(field: string, value: Term): void;
}

export class LazyFlags {
  readonly #f: FunctionBuilder;
  readonly #bits: number;
  readonly #get: (field: string) => Value;
  readonly #set: (field: string, value: Term) => void;

  /** @param bits the operand size whose results set the flags. */
  constructor(f: FunctionBuilder, bits: number, store: FlagStore) {
    this.#f = f;
    this.#bits = bits;
    this.#get = (field) => store.state(field);
    this.#set = (field, value) => {
      store.setState(field, value);
    };
  }

  #store(result: Value, carries: Term, aux: Term): void {
    this.#set('flagResult', result);
    this.#set('flagCarries', carries);
    this.#set('flagAux', aux);
  }
  add(a: Value, b: Value, result: Value): void {
    const carries = a.and(b).or(a.or(b).and(result.not()));
    this.#store(result.sext(this.#bits), carries.shl(64 - this.#bits), a.xor(b).xor(result).wrap().and(0x10));
  }
  sub(a: Value, b: Value, result: Value): void {
    const borrows = a.not().and(b).or(a.xor(b).not().and(result));
    this.#store(result.sext(this.#bits), borrows.shl(64 - this.#bits), a.xor(b).xor(result).wrap().and(0x10));
  }
  logic(result: Value): void {
    this.#store(result.sext(this.#bits), 0, 0);
  }
  #carries(cf: Value, of: Value): Value {
    return cf.extU().shl(63).or(cf.xor(of).extU().shl(62));
  }
  result(result: Value, values: FlagValues): void {
    const f = this.#f;
    const value = (name: FlagName): Value => {
      const given = values[name];
      return given === undefined ? this.read(name) : f.coerce(given, 'i32');
    };
    const carries = this.#carries(value('CF'), value('OF'));
    const aux = value('AF').shl(4);
    this.#store(result.sext(this.#bits), carries, aux);
  }
  assign(values: FlagValues): void {
    const f = this.#f;
    const value = (name: FlagName): Value => {
      const given = values[name];
      return given === undefined ? this.read(name) : f.coerce(given, 'i32');
    };
    if (values.CF !== undefined || values.OF !== undefined)
      this.#set('flagCarries', this.#carries(value('CF'), value('OF')));
    const shape = values.ZF !== undefined || values.SF !== undefined || values.PF !== undefined;
    if (shape) {
      const zf = value('ZF');
      const aux = value('AF').shl(4).or(value('PF').xor(zf).shl(8)).or(value('SF').shl(31));
      this.#set('flagAux', aux);
      this.#set('flagResult', zf.xor(1).extU());
    } else if (values.AF !== undefined) {
      this.#set('flagAux', this.#get('flagAux').and(~0x10).or(value('AF').shl(4)));
    }
  }
  read(name: FlagName): Value {
    switch (name) {
      case 'CF':
        return this.#get('flagCarries').shrU(63).wrap();
      case 'OF': {
        const carries = this.#get('flagCarries');
        return carries.xor(carries.shl(1)).shrU(63).wrap();
      }
      case 'ZF':
        return this.#get('flagResult').eqz();
      case 'SF':
        return this.#get('flagResult').shrU(63).wrap().xor(this.#get('flagAux').shrU(31));
      case 'AF':
        return this.#get('flagAux').shrU(4).and(1);
      case 'PF': {
        const low = this.#get('flagResult').wrap().xor(this.#get('flagAux').shrU(8)).and(0xff);
        return low.popcnt().and(1).xor(1);
      }
    }
  }
  condition(code: number): Value {
    const positive = (): Value => {
      switch (code >> 1) {
        case 0:
          return this.read('OF');
        case 1:
          return this.#get('flagCarries').ltS(0);
        case 2:
          return this.read('ZF');
        case 3:
          return this.read('CF').or(this.read('ZF'));
        case 4:
          return this.read('SF');
        case 5:
          return this.read('PF');
        case 6:
          return this.read('SF').xor(this.read('OF'));
        default:
          return this.read('SF').xor(this.read('OF')).or(this.read('ZF'));
      }
    };
    return code & 1 ? positive().eqz() : positive();
  }
  all(): Value {
    const bit = (name: FlagName, shift: number): Value => this.read(name).shl(shift);
    return this.#get('flags')
      .or(bit('CF', 0))
      .or(bit('PF', 2))
      .or(bit('AF', 4))
      .or(bit('ZF', 6))
      .or(bit('SF', 7))
      .or(bit('OF', 11))
      .extU();
  }
  assignAll(value: Value, mask: Term): void {
    const f = this.#f;
    const m = f.coerce(mask, 'i64').wrap();
    const old = this.all().wrap();
    const next = old.and(m.not()).or(value.wrap().and(m));
    const bit = (shift: number): Value => next.shrU(shift).and(1);
    this.#set('flags', next.and(~ARITHMETIC_FLAGS).or(2));
    const zf = bit(6);
    this.#set('flagResult', zf.xor(1).extU());
    this.#set('flagCarries', this.#carries(bit(0), bit(11)));
    this.#set('flagAux', next.and(0x10).or(bit(2).xor(zf).shl(8)).or(bit(7).shl(31)));
    // A trap flag that is now set must be seen after the next instruction.
    f.if(
      next.and(Flag.TF),
      () => {
        this.#set('attention', 1);
      },
      undefined,
      false,
    );
  }
}
