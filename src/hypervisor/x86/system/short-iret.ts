/**
 * IRETQ from 64-bit code of CPL 0 to 64-bit code of CPL 0 or 3, the usual case (see short-ways.ts). Intel SDM vol. 2,
 * "IRET/IRETD/IRETQ". The full description is iret.ts.
 */
import { Attribute, Flag, Mode, Segment } from '../../vp/state.ts';
import { assignAllFlags } from '../lazy-flags.ts';
import type { HelperDefinition } from '../library.ts';
import { LONG_MODE, ShortWay } from './short-ways.ts';

/** Bits of RFLAGS that an IRET at CPL 0 loads, but for RF. */
const LOADED = 0x3f_7fd5 & ~(Flag.VM | Flag.RF);

/** short_iret(vp) -> 1 where it has returned: `rip` is where it goes on. */
const iret: HelperDefinition = {
  name: 'short_iret',
  exported: true,
  type: { params: ['i32'], results: ['i32'] },
  build(f, helper) {
    const way = new ShortWay(f, helper);
    way.refuseUnusual();
    way.refuseIf(way.get('cpl').or(way.get('nmiBlocked')).or(way.get('flags').and(Flag.NT)));
    const tables = way.tables();
    const frame = way.host(way.get('gpr', 4), 40, false, way.supervisor());
    const word = (n: number) => f.load('i64.load', frame, 8 * n);
    const [target, image, sp] = [word(0), word(2).wrap(), word(3)];
    const selector = word(1).wrap().and(0xffff);
    const ss = word(4).wrap().and(0xffff);
    const level = selector.and(3);
    // Levels 0 and 3. A trap flag is the processor loop's, and so may be the alignment checks at level 3.
    way.refuseIf(
      level
        .add(1)
        .and(3)
        .gtU(1)
        .or(image.and(Flag.TF))
        .or(level.and(image.shrU(18)).and(1)),
    );
    way.refuseNonCanonical(target);
    const code = way.code(selector, level, tables);
    const stack = f.variable('i64', 0);
    f.if(ss.or(level), () => {
      stack.set(way.stack(ss, level, tables));
    });

    // Nothing can fail from here on.
    f.if(
      stack.get().eqz(),
      () => {
        way.loadNull(Segment.SS, 0);
      },
      () => {
        way.loadSegment(Segment.SS, ss, stack.get());
      },
    );
    assignAllFlags(way, image.and(LOADED).extU(), -1);
    // The resume flag suppresses breakpoints, of which there are none, and is pushed if the next instruction is not reached.
    way.set('resumeFlag', image.and(Flag.RF));
    way.set('resumeBudget', way.get('budget'));
    way.loadSegment(Segment.CS, selector, code);
    way.set('mode', f.select(level, LONG_MODE | Mode.USER, LONG_MODE));
    way.set('cpl', level);
    way.set('tlbContext', f.select(level, 0, way.supervisor()));
    way.set('rip', target);
    way.set('gpr', sp, 4);
    f.if(level, () => {
      for (const index of [Segment.ES, Segment.DS, Segment.FS, Segment.GS]) dropInner(way, index);
    });
    f.return(1);
  },
};

/** After a return to level 3: see dropInnerSegments(). */
function dropInner(way: ShortWay, index: number): void {
  const { f } = way;
  f.if(way.get('segmentSelector', index).and(0xfffc).eqz(), () => {
    way.set('segmentSelector', 0, index);
  });
  const attributes = way.get('segmentAttributes', index);
  const kept = attributes.and(Attribute.UNUSABLE).or(attributes.and(0xc).eq(0xc));
  f.if(kept.or(attributes.and(Attribute.DPL).eq(Attribute.DPL)).eqz(), () => {
    way.setSegment(index, 0, way.get('segmentBase', index), 0, Attribute.UNUSABLE);
  });
}

export const shortIretHelpers: readonly HelperDefinition[] = [iret];
