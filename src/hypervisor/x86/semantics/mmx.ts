/**
 * MMX moves and EMMS: Intel SDM vol. 1, chapter 9, and vol. 3, 12. The packed arithmetic shared with XMM registers is in
 * sse-integer.ts and sse-shuffle.ts.
 */
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import { enterMmx, fromLow, requireMmx, requireSse } from './sse-common.ts';

const fromGeneral: SemanticFunction = (s) => {
  requireMmx(s);
  const value = s.read(1);
  enterMmx(s);
  s.writeM(0, value);
};
const toGeneral: SemanticFunction = (s) => {
  requireMmx(s);
  const value = s.readM(1);
  s.check(0);
  enterMmx(s);
  s.write(0, value);
};
const move: SemanticFunction = (s) => {
  requireMmx(s);
  const value = s.readM(1);
  enterMmx(s);
  s.writeM(0, value);
};
/** A store faults before the transition. */
const store: SemanticFunction = (s) => {
  requireMmx(s);
  s.write(0, s.readM(1));
  enterMmx(s);
};
const emptyState: SemanticFunction = (s) => {
  requireMmx(s);
  s.setState('ftop', 0);
  s.setState('ftw', 0);
};
const byteSigns: SemanticFunction = (s) => {
  requireMmx(s);
  const value = s.readM(1);
  enterMmx(s);
  s.write(0, s.f.op('i8x16.bitmask', fromLow(s.f, value)).extU());
};
const toXmm: SemanticFunction = (s) => {
  requireSse(s);
  requireMmx(s);
  const value = s.readM(1);
  enterMmx(s);
  s.writeV(0, fromLow(s.f, value));
};
const fromXmm: SemanticFunction = (s) => {
  requireSse(s);
  requireMmx(s);
  const value = s.read64(1);
  enterMmx(s);
  s.writeM(0, value);
};

/** MASKMOVQ: bytes whose mask has its top bit set go to DS:rDI; all eight must be accessible, see MASKMOVDQU. */
const maskedStore: SemanticFunction = (s: Semantics) => {
  requireMmx(s);
  const { f } = s;
  const source = s.readM(0);
  const mask = f.op('i8x16.bitmask', fromLow(f, s.readM(1)));
  const start = s.segmentLinear('override', s.addressReg(7), 8, 'write');
  s.probe(start, 8, 'write');
  f.if(mask.ne(0), () => {
    const rest = f.variable('i32', mask);
    f.loop((again) => {
      const at = rest.get().ctz().extU();
      s.storeLinear(start.add(at), 1, source.shrU(at.shl(3)));
      rest.set(rest.get().and(rest.get().sub(1)));
      f.brIf(again, rest.get().ne(0));
    });
  });
  enterMmx(s);
};

export const rows: readonly Row[] = [
  ['MOVD', 'NP W0 0F 6E', 'Pq= Ed', fromGeneral],
  ['MOVQ', 'NP W1 0F 6E', 'Pq= Eq', fromGeneral],
  ['MOVQ', 'NP 0F 6F', 'Pq= Qq', move],
  ['EMMS', 'NP 0F 77', '', emptyState],
  ['MOVD', 'NP W0 0F 7E', 'Ed= Pq', toGeneral],
  ['MOVQ', 'NP W1 0F 7E', 'Eq= Pq', toGeneral],
  ['MOVQ', 'NP 0F 7F', 'Nq= Pq', move],
  ['MOVQ', 'NP 0F 7F', 'Mq= Pq', store],
  ['MOVQ2DQ', 'F3 0F D6', 'Vx= Nq', toXmm],
  ['MOVDQ2Q', 'F2 0F D6', 'Pq= Uq', fromXmm],
  ['PMOVMSKB', 'NP 0F D7', 'Gd= Nq', byteSigns],
  ['MOVNTQ', 'NP 0F E7', 'Mq= Pq', store],
  ['MASKMOVQ', 'NP 0F F7', 'Pq Nq', maskedStore, { flavored: true }],
];
