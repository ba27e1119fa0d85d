/**
 * What the short ways share. A short way is a system operation's usual case in 64-bit mode, as a WebAssembly helper: it
 * checks everything first, changes nothing until nothing can fail, and gives up (0) on whatever is unusual. The operation in
 * TypeScript beside it then does the whole work, so that stays the one full description; both must agree where both act.
 * Intel SDM vol. 3, "Segment Descriptors", "System Descriptor Types", "Linear-Address Pre-processing".
 */
import {
  PAGE_MAP,
  PageFlag,
  TLB,
  TLB_CONTEXT_SHIFT,
  TLB_ENTRIES,
  TLB_WRITE,
  WALKED_GLOBAL,
} from '../../memory/layout.ts';
import { noteFilled } from '../../mmu/access.ts';
import { Access as WalkAccess } from '../../mmu/walk.ts';
import { Attribute, Flag, Mode, Segment, VpState } from '../../vp/state.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Operand, Value } from '../../wasm/value.ts';
import type { FlagState, FlagStore } from '../lazy-flags.ts';
import type { HelperContext, HelperDefinition } from '../library.ts';
import { Access } from './context.ts';
import { Cr4 } from './mode.ts';

type FieldName = Parameters<typeof VpState.offset>[0];
const at = (name: FieldName): number => VpState.offset(name);
const PAGE = 4096;
export const LONG_MODE = Mode.LONG64 | Mode.LONG | Mode.PROTECTED;
/** Halves of a descriptor's access byte and flags, in its upper word: see descriptor.ts. */
const CODE = { MASK: 0x60_9d00, WANTED: 0x20_9900, DPL: 0x6000 } as const;
const DATA = { MASK: 0x9b00, WANTED: 0x9300 } as const;

/**
 * system_access(vp, linear, bytes, write?, context): where a supervisor's access may be made in guest RAM, as the TLB of an
 * `Access` says; 0 where it faults, crosses a page, or meets anything but RAM (a store: code too).
 */
const access: HelperDefinition = {
  name: 'system_access',
  type: { params: ['i32', 'i64', 'i32', 'i32', 'i32'], results: ['i32'] },
  build(f, helper, context) {
    const [vp, linear, bytes, write, as] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
    const entry = vp.add(as.shl(TLB_CONTEXT_SHIFT)).add(
      linear
        .wrap()
        .shrU(8)
        .and((TLB_ENTRIES - 1) << 4),
    );
    const used = entry.add(f.select(write, TLB_WRITE, 0));
    const reach = f.i32(PAGE + 1).sub(bytes);
    f.if(
      linear.sub(f.load('i64.load', used, TLB)).ltU(reach.extU()),
      () => {
        f.return(linear.wrap().add(f.load('i32.load', used, TLB + 8)));
      },
      undefined,
      true,
    );
    const offset = linear.wrap().and(PAGE - 1);
    f.if(linear.shl(16).shrS(16).ne(linear).or(offset.geU(reach)), () => {
      f.return(0);
    });
    // What the walk says of a fault is not this instruction's yet.
    const cr2 = f.variable('i64', f.load('i64.load', vp, at('cr2')));
    const vector = f.variable('i32', f.load('i32.load', vp, at('faultVector')));
    const error = f.variable('i32', f.load('i32.load', vp, at('faultError')));
    const gpa = f.variable('i64');
    f.try(
      context.fault,
      () => {
        const kind = f.select(as.eq(Access.SUPERVISOR_SMAP), WalkAccess.IMPLICIT, 0);
        gpa.set(f.call1(helper('walk'), vp, linear, kind.or(f.select(write, WalkAccess.WRITE, 0))));
      },
      () => {
        f.store('i64.store', vp, cr2.get(), at('cr2'));
        f.store('i32.store', vp, vector.get(), at('faultVector'));
        f.store('i32.store', vp, error.get(), at('faultError'));
        f.return(0);
      },
    );
    const map = f.call1(helper('page_entry'), gpa.get());
    const wanted = f.select(write, PageFlag.PRESENT | PageFlag.WRITABLE, PageFlag.PRESENT);
    const looked = f.select(write, PageFlag.PRESENT | PageFlag.WRITABLE | PageFlag.CODE, PageFlag.PRESENT);
    f.if(map.and(looked).ne(wanted), () => {
      f.return(0);
    });
    const page = linear.and(-PAGE);
    const host = map.and(-PAGE);
    const fill = (kind: number): void => {
      f.store('i64.store', entry, page, TLB + kind);
      f.store('i32.store', entry, host.sub(page.wrap()), TLB + kind + 8);
      noteFilled(f, vp, entry.add(TLB + kind), f.load('i32.load', vp, WALKED_GLOBAL));
    };
    f.if(write, () => {
      fill(TLB_WRITE);
      f.if(map.and(PageFlag.DIRTY).eqz(), () => {
        f.atomic('i32.atomic.rmw.or', gpa.get().wrap().shrU(12).shl(2).add(PAGE_MAP), PageFlag.DIRTY);
      });
    });
    fill(0);
    f.return(host.or(offset));
  },
};

export const shortWayHelpers: readonly HelperDefinition[] = [access];

/** One short way under construction. */
export class ShortWay implements FlagStore {
  readonly f: FunctionBuilder;
  readonly vp: Value;
  readonly #helper: HelperContext['helper'];

  constructor(f: FunctionBuilder, helper: HelperContext['helper']) {
    this.f = f;
    this.vp = f.param(0);
    this.#helper = helper;
  }

  #place(name: FieldName, index: number): { type: 'i32' | 'i64'; offset: number } {
    const type = VpState.fields[name];
    const wide = (typeof type === 'string' ? type : type.of) === 'u64';
    return { type: wide ? 'i64' : 'i32', offset: at(name) + index * (wide ? 8 : 4) };
  }
  get(name: FieldName, index = 0): Value {
    const { type, offset } = this.#place(name, index);
    return this.f.load(`${type}.load`, this.vp, offset);
  }
  set(name: FieldName, value: Operand, index = 0): void {
    const { type, offset } = this.#place(name, index);
    this.f.store(`${type}.store`, this.vp, value, offset);
  }

  state(field: 'flags'): Value {
    return this.get(field);
  }
  setState(field: 'flags' | 'attention', value: Operand): void {
    this.set(field, value);
  }
  flagState(): FlagState {
    const form = this.get('flagForm');
    const words = { result: this.get('flagResult'), a: this.get('flagA'), b: this.get('flagB') };
    return { ...words, carry: form.and(1), kind: form.shrU(1) };
  }
  setFlagState({ result, a, b, carry, kind }: FlagState): void {
    this.set('flagResult', result);
    this.set('flagA', a);
    this.set('flagB', b);
    this.set('flagForm', carry.or(kind.shl(1)));
  }

  /** Leaves everything to TypeScript. */
  refuseIf(condition: Value): void {
    this.f.if(
      condition,
      () => {
        this.f.return(0);
      },
      undefined,
      false,
    );
  }
  /** Not in 64-bit mode; traced or stepped; breakpoints are set or a trap waits. */
  refuseUnusual(): void {
    const mode = this.get('mode').and(~Mode.USER).xor(LONG_MODE);
    const armed = this.f.load('i32.load8_u', this.vp, at('dr') + 7 * 8);
    this.refuseIf(this.get('shortWays').eqz().or(mode).or(armed).or(this.get('pendingDebug')));
  }
  refuseNonCanonical(address: Value): void {
    this.refuseIf(address.shl(16).shrS(16).ne(address));
  }

  #smap(): Value {
    return this.get('cr4').wrap().and(Cr4.SMAP).ne(0);
  }
  /** How tables are accessed: systemAccess() of mode.ts. */
  tables(): Value {
    return this.#smap().add(Access.SUPERVISOR);
  }
  /** How a supervisor's stack is accessed, and a supervisor's TLB: accessAt(). */
  supervisor(): Value {
    return this.#smap().and(this.get('flags').and(Flag.AC).eqz()).add(Access.SUPERVISOR);
  }
  /** Address in guest RAM; refuses where there is none. */
  host(linear: Value, bytes: Operand, write: boolean, as: Value): Value {
    const host = this.f.call1(this.#helper('system_access'), this.vp, linear, bytes, write ? 1 : 0, as);
    this.refuseIf(host.eqz());
    return host;
  }
  /** Eight bytes at an offset in a system segment, which must lie within it. */
  word(segment: number, offset: Operand, as: Value): Value {
    const from = this.f.coerce(offset, 'i32');
    this.refuseIf(from.add(7).gtU(this.get('segmentLimit', segment)));
    const linear = this.get('segmentBase', segment).add(from.extU());
    return this.f.load('i64.load', this.host(linear, 8, false, as));
  }
  /** The GDT's entry for a selector that is not null. */
  #descriptor(selector: Value, as: Value): Value {
    this.refuseIf(selector.and(4).or(selector.and(0xfffc).eqz()));
    return this.word(Segment.GDTR, selector.and(0xfff8), as);
  }
  /** A present, accessed, non-conforming 64-bit code segment of that privilege level. */
  code(selector: Value, level: Operand, as: Value): Value {
    const d = this.#descriptor(selector, as);
    const high = d.shrU(32).wrap();
    const wanted = this.f.coerce(level, 'i32').shl(13).or(CODE.WANTED);
    this.refuseIf(high.and(CODE.MASK | CODE.DPL).ne(wanted));
    return d;
  }
  /** A present, accessed, writable data segment of that privilege level, and a selector that asks for it. */
  stack(selector: Value, level: Value, as: Value): Value {
    const d = this.#descriptor(selector, as);
    const high = d.shrU(32).wrap();
    const wanted = level.shl(13).or(DATA.WANTED);
    this.refuseIf(
      high
        .and(DATA.MASK | CODE.DPL)
        .ne(wanted)
        .or(selector.and(3).ne(level)),
    );
    return d;
  }

  setSegment(index: number, selector: Operand, base: Operand, limit: Operand, attributes: Operand): void {
    this.set('segmentSelector', selector, index);
    this.set('segmentBase', base, index);
    this.set('segmentLimit', limit, index);
    this.set('segmentAttributes', attributes, index);
  }
  /** Fills a segment cache from an accessed descriptor. */
  loadSegment(index: number, selector: Operand, d: Value): void {
    const low = d.wrap();
    const high = d.shrU(32).wrap();
    const base = low.shrU(16).or(high.and(0xff).shl(16)).or(high.and(0xff00_0000));
    const pages = low.and(0xffff).or(high.and(0xf_0000));
    const limit = this.f.select(high.and(0x80_0000), pages.shl(12).or(0xfff), pages);
    this.setSegment(index, selector, base.extU(), limit, high.shrU(8).and(0xf0ff));
  }
  /** A null selector: see loadNull(). */
  loadNull(index: number, selector: Operand): void {
    this.setSegment(index, selector, 0, 0, Attribute.UNUSABLE);
  }
}
