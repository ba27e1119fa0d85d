/** Segment checks and stack addressing outside 64-bit mode: Intel SDM vol. 3, "Limit Checking", "Type Checking". */
import { Attribute, Mode, Segment, Vector, VpState } from '../vp/state.ts';
import type { FunctionBuilder } from '../wasm/function.ts';
import type { Value } from '../wasm/value.ts';
import type { HelperContext, HelperDefinition } from '../x86/library.ts';
import { STACK } from './access.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);

function raise(f: FunctionBuilder, vp: Value, context: HelperContext, vector: number | Value): void {
  f.store('i32.store', vp, vector, at('faultVector'));
  f.store('i32.store', vp, 0, at('faultError'));
  f.throw(context.fault);
}

const linearize: HelperDefinition = {
  // (vp, segment, offset, bytes, write?) -> linear address
  name: 'linearize',
  type: { params: ['i32', 'i32', 'i64', 'i32', 'i32'], results: ['i64'] },
  build(f, _helper, context) {
    const [vp, segment, offset, bytes, write] = [f.param(0), f.param(1), f.param(2), f.param(3), f.param(4)];
    const base = f.load('i64.load', vp.add(segment.shl(3)), at('segmentBase'));
    f.if(f.load('i32.load', vp, at('mode')).and(Mode.LONG64), () => {
      const based = segment.eq(Segment.FS).or(segment.eq(Segment.GS));
      f.return(offset.add(f.select(based, base, f.i64(0))));
    });
    const attributes = f.load('i32.load', vp.add(segment.shl(2)), at('segmentAttributes'));
    const limit = f.load('i32.load', vp.add(segment.shl(2)), at('segmentLimit')).extU();
    const bad = f.variable('i32', attributes.and(Attribute.UNUSABLE).or(attributes.and(Attribute.PRESENT).eqz()));
    const code = attributes.and(8).ne(0);
    const second = attributes.and(2).ne(0);
    // Writing needs a writable data segment, reading anything but an execute-only code segment.
    bad.set(bad.get().or(f.select(write, code.or(second.eqz()), code.and(second.eqz()))));
    const last = offset.add(bytes.extU()).sub(1);
    f.if(
      attributes.and(0xc).eq(4),
      () => {
        const top = f.select(attributes.and(Attribute.DB), f.i64(0xffff_ffff), f.i64(0xffff));
        bad.set(bad.get().or(offset.leU(limit)).or(last.gtU(top)));
      },
      () => {
        // A flat segment has no limit that an access could cross: addresses wrap (SDM vol. 3, "Limit Checking").
        const flat = base.eqz().and(limit.eq(0xffff_ffff));
        bad.set(bad.get().or(last.gtU(limit).and(flat.eqz())));
      },
    );
    f.if(bad.get(), () => {
      raise(f, vp, context, f.select(segment.eq(Segment.SS), Vector.SS, Vector.GP));
    });
    f.return(base.add(offset).and(0xffff_ffff));
  },
};

const stackOffset: HelperDefinition = {
  // A value as an offset in the stack: truncated to the stack's address size.
  name: 'stack_offset',
  type: { params: ['i32', 'i64'], results: ['i64'] },
  build(f) {
    const mode = f.load('i32.load', f.param(0), at('mode'));
    const short = f.select(mode.and(Mode.STACK32), f.param(1).and(0xffff_ffff), f.param(1).and(0xffff));
    f.return(f.select(mode.and(Mode.LONG64), f.param(1), short));
  },
};

const setStackPointer: HelperDefinition = {
  name: 'set_stack_pointer',
  type: { params: ['i32', 'i64'], results: [] },
  build(f) {
    const [vp, value] = [f.param(0), f.param(1)];
    const rsp = at('gpr') + 4 * 8;
    const mode = f.load('i32.load', vp, at('mode'));
    f.if(
      mode.and(Mode.LONG64),
      () => {
        f.store('i64.store', vp, value, rsp);
      },
      () => {
        f.if(
          mode.and(Mode.STACK32),
          () => {
            f.store('i64.store', vp, value.and(0xffff_ffff), rsp);
          },
          () => {
            f.store('i64.store16', vp, value, rsp);
          },
        );
      },
    );
  },
};

const checkJump: HelperDefinition = {
  name: 'check_jump',
  type: { params: ['i32', 'i64'], results: [] },
  build(f, _helper, context) {
    const [vp, target] = [f.param(0), f.param(1)];
    const long = f.load('i32.load', vp, at('mode')).and(Mode.LONG64).ne(0);
    const limit = f.load('i32.load', vp, at('segmentLimit') + 4 * Segment.CS).extU();
    const outside = f.select(long, target.shl(16).shrS(16).ne(target), target.gtU(limit));
    f.if(outside, () => {
      raise(f, vp, context, Vector.GP);
    });
  },
};

const probeStack: HelperDefinition = {
  // Checks that `bytes` below the stack pointer can be written: (vp, RSP, bytes)
  name: 'probe_stack',
  type: { params: ['i32', 'i64', 'i32'], results: [] },
  build(f, helper) {
    const [vp, rsp, bytes] = [f.param(0), f.param(1), f.param(2)];
    const offset = f.call1(helper('stack_offset'), vp, rsp.sub(bytes.extU()));
    const linear = f.call1(helper('linearize'), vp, Segment.SS, offset, bytes, 1);
    f.call(helper('probe'), vp, linear, bytes, 2, STACK);
  },
};

export const segmentationHelpers: readonly HelperDefinition[] = [
  linearize,
  stackOffset,
  setStackPointer,
  checkJump,
  probeStack,
];
