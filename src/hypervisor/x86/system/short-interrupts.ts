/**
 * Delivery of exceptions and interrupts through a 64-bit gate, the usual case (see short-ways.ts): from 64-bit code to a 64-bit code segment of DPL 0, on the stack that the gate, RSP0 or RSP names. Intel SDM vol. 3, "Exception and
 * Interrupt Handling in 64-bit Mode". The full description is interrupts.ts.
 */
import { Attribute, Flag, Segment } from '../../vp/state.ts';
import { allFlags } from '../lazy-flags.ts';
import type { HelperDefinition } from '../library.ts';
import { istOffset, rspOffset } from './code.ts';
import { FAULTS } from './interrupts.ts';
import { LONG_MODE, ShortWay } from './short-ways.ts';

/** Of a gate's upper half: present, S clear, and the type but for the bit that tells interrupt from trap gates. */
const GATE = { MASK: 0x9e00, WANTED: 0x8e00, TRAP: 0x100 } as const;

/** short_enter(vp, vector, error or -1, flags to push beside the processor's) -> 1 where the handler has been entered. */
const enter: HelperDefinition = {
  name: 'short_enter',
  exported: true,
  type: { params: ['i32', 'i32', 'i32', 'i32'], results: ['i32'] },
  build(f, helper) {
    const way = new ShortWay(f, helper);
    const [vector, error, pushed] = [f.param(1), f.param(2), f.param(3)];
    way.refuseUnusual();
    const cpl = way.get('cpl');
    const tables = way.tables();
    const stack = way.supervisor();

    const at = vector.shl(4);
    way.refuseIf(at.add(15).gtU(way.get('segmentLimit', Segment.IDTR)));
    const gateHost = way.host(way.get('segmentBase', Segment.IDTR).add(at.extU()), 16, false, tables);
    const gate = f.load('i64.load', gateHost);
    const high = gate.shrU(32).wrap();
    way.refuseIf(high.and(GATE.MASK).ne(GATE.WANTED));
    const target = gate
      .and(0xffff)
      .or(gate.shrU(32).and(0xffff_0000))
      .or(f.load('i64.load32_u', gateHost, 8).shl(32));
    const selector = gate.shrU(16).wrap().and(0xffff);
    const code = way.code(selector, 0, tables);
    const sp = way.get('gpr', 4);
    const ist = high.and(7);
    const top = f.variable('i64', sp);
    f.if(ist.or(cpl), () => {
      const named = f.select(ist, ist.shl(3).add(istOffset(0)), rspOffset(0));
      top.set(way.word(Segment.TR, named, tables));
      way.refuseNonCanonical(top.get());
    });
    way.refuseNonCanonical(target);
    const bytes = f.select(error.ltS(0), 40, 48);
    const frame = top.get().and(-16).sub(bytes.extU());
    const host = way.host(frame, bytes, true, stack);

    // Nothing can fail from here on.
    const rest = f.variable('i32', host);
    f.if(error.ltS(0).eqz(), () => {
      f.store('i64.store', host, error.extU());
      rest.set(host.add(8));
    });
    const flags = allFlags(way).wrap().or(pushed);
    const selectorOf = (index: number) => way.get('segmentSelector', index).extU();
    f.store('i64.store', rest.get(), way.get('rip'));
    f.store('i64.store', rest.get(), selectorOf(Segment.CS), 8);
    f.store('i64.store', rest.get(), flags.extU(), 16);
    f.store('i64.store', rest.get(), sp, 24);
    f.store('i64.store', rest.get(), selectorOf(Segment.SS), 32);
    f.if(cpl, () => {
      way.setSegment(Segment.SS, 0, 0, 0, Attribute.UNUSABLE);
    });
    way.set('gpr', frame, 4);
    const cleared = f.select(high.and(GATE.TRAP), ~CLEARED, ~(CLEARED | Flag.IF));
    way.set('flags', way.get('flags').and(cleared));
    way.loadSegment(Segment.CS, selector.and(0xfffc), code);
    way.set('mode', LONG_MODE);
    way.set('cpl', 0);
    way.set('tlbContext', stack);
    way.set('rip', target);
    way.set('interruptShadow', 0);
    way.set('resumeFlag', 0);
    f.return(1);
  },
};
const CLEARED = Flag.TF | Flag.NT | Flag.VM | Flag.RF;

/** short_deliver(vp) -> 1 where the exception in the fault fields has been delivered. */
const deliver: HelperDefinition = {
  name: 'short_deliver',
  type: { params: ['i32'], results: ['i32'] },
  build(f, helper) {
    const way = new ShortWay(f, helper);
    const vector = way.get('faultVector');
    const left = way.get('faultsLeft');
    // The one that ends the run is TypeScript's, and so are those that are no faults: #DB and #DF.
    way.refuseIf(left.leU(1).or(vector.gtU(31)).or(f.i32(FAULTS).shrU(vector).and(1).eqz()));
    way.refuseIf(f.call1(helper('short_enter'), way.vp, vector, way.get('faultError'), Flag.RF).eqz());
    way.set('faultsLeft', left.sub(1));
    way.set('faults', way.get('faults').add(1));
    f.return(1);
  },
};

export const shortInterruptHelpers: readonly HelperDefinition[] = [enter, deliver];
