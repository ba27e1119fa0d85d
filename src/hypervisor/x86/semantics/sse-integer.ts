/**
 * Packed integer arithmetic, comparison and shifts on XMM and MMX registers: MMX to SSE4.2 in Intel SDM vol. 2. An MMX
 * operand is computed in the low half of a vector, so most operations are written once for both.
 */
import type { FunctionBuilder } from '../../wasm/function.ts';
import type { Value } from '../../wasm/value.ts';
import type { Row, SemanticFunction } from '../form.ts';
import type { Semantics } from '../semantics.ts';
import {
  enterMmx,
  fromLow,
  laneBytes,
  low64,
  requireMmx,
  requireSse,
  shuffle,
  splat32,
  splat64,
  zeroVector,
} from './sse-common.ts';

/** What an operation makes of the destination and the source. */
type Operation = (f: FunctionBuilder, a: Value, b: Value) => Value;
const direct =
  (name: string): Operation =>
  (f, a, b) =>
    f.op(name, a, b);

export function onXmm(operation: Operation): SemanticFunction {
  return (s) => {
    requireSse(s);
    const b = s.readV(1);
    s.writeV(0, operation(s.f, s.readV(0), b));
  };
}
export function onMmx(operation: Operation): SemanticFunction {
  return (s) => {
    requireMmx(s);
    const b = s.readM(1);
    const a = s.readM(0);
    enterMmx(s);
    s.writeM(0, low64(s.f, operation(s.f, fromLow(s.f, a), fromLow(s.f, b))));
  };
}
/** The same for operations that look at the destination's value only where they must: PABS and its like. */
function onXmmSource(operation: (f: FunctionBuilder, b: Value) => Value): SemanticFunction {
  return (s) => {
    requireSse(s);
    s.writeV(0, operation(s.f, s.readV(1)));
  };
}
function onMmxSource(operation: (f: FunctionBuilder, b: Value) => Value): SemanticFunction {
  return (s) => {
    requireMmx(s);
    const b = s.readM(1);
    enterMmx(s);
    s.writeM(0, low64(s.f, operation(s.f, fromLow(s.f, b))));
  };
}

/** High halves of 16-bit products. */
const multiplyHigh =
  (sign: 's' | 'u'): Operation =>
  (f, a, b) => {
    const low = f.op(`i32x4.extmul_low_i16x8_${sign}`, a, b);
    const high = f.op(`i32x4.extmul_high_i16x8_${sign}`, a, b);
    return shuffle(f, laneBytes(2, [1, 3, 5, 7, 9, 11, 13, 15]), low, high);
  };

/** Products of the even 32-bit lanes, 64 bits wide. */
const multiplyEven =
  (sign: 's' | 'u'): Operation =>
  (f, a, b) => {
    const even = (v: Value): Value => shuffle(f, laneBytes(4, [0, 2, 0, 2]), v, v);
    return f.op(`i64x2.extmul_low_i32x4_${sign}`, even(a), even(b));
  };

/** Sum of absolute differences of each eight bytes, in 64-bit lanes. */
const sumOfDifferences: Operation = (f, a, b) => {
  const difference = f.op('v128.or', f.op('i8x16.sub_sat_u', a, b), f.op('i8x16.sub_sat_u', b, a));
  const words = f.op('i16x8.extadd_pairwise_i8x16_u', difference);
  const halves = f.op('i32x4.extadd_pairwise_i16x8_u', words);
  const sum = f.op('i32x4.add', halves, f.op('i64x2.shr_u', halves, 32));
  return f.op('v128.and', sum, splat64(f, 0xffffffffn));
};

/** PMADDUBSW: unsigned bytes of the destination by signed bytes of the source, pairs added with saturation. */
const multiplyAddBytes: Operation = (f, a, b) => {
  const even = f.op(
    'i16x8.mul',
    f.op('v128.and', a, splat32(f, 0x00ff00ff)),
    f.op('i16x8.shr_s', f.op('i16x8.shl', b, 8), 8),
  );
  const odd = f.op('i16x8.mul', f.op('i16x8.shr_u', a, 8), f.op('i16x8.shr_s', b, 8));
  return f.op('i16x8.add_sat_s', even, odd);
};

/** PMULHRSW: WebAssembly's instruction saturates -1 * -1, the processor's gives 0x8000. */
const multiplyRound: Operation = (f, a, b) => {
  const product = f.op('i16x8.q15mulr_sat_s', a, b);
  const least = splat32(f, 0x80008000);
  const overflow = f.op('v128.and', f.op('i16x8.eq', a, least), f.op('i16x8.eq', b, least));
  return f.op('v128.xor', product, overflow);
};

/** PSIGN: negates, clears or keeps by the sign of the source. */
const signed =
  (shape: string): Operation =>
  (f, a, b) => {
    const zero = zeroVector(f);
    const negative = f.op(`${shape}.lt_s`, b, zero);
    const value = f.op(`${shape}.sub`, f.op('v128.xor', a, negative), negative);
    return f.op('v128.andnot', value, f.op(`${shape}.eq`, b, zero));
  };

/** Neighbouring lanes of a then b, added or subtracted. An MMX pair stands in the low halves. */
function horizontal(operation: string, width: 2 | 4, mmx: boolean): Operation {
  return (f, a, b) => {
    const source = mmx ? shuffle(f, laneBytes(8, [0, 2]), a, b) : a;
    const second = mmx ? source : b;
    const count = 16 / width;
    const numbers = Array.from({ length: count }, (_, i) => 2 * i);
    const even = shuffle(f, laneBytes(width, numbers), source, second);
    const odd = shuffle(
      f,
      laneBytes(
        width,
        numbers.map((n) => n + 1),
      ),
      source,
      second,
    );
    return f.op(operation, even, odd);
  };
}

/** PACK: a's lanes then b's. */
function pack(operation: string, mmx: boolean): Operation {
  return (f, a, b) => {
    if (!mmx) return f.op(operation, a, b);
    const both = shuffle(f, laneBytes(8, [0, 2]), a, b);
    return f.op(operation, both, both);
  };
}

/** PUNPCK: lanes of the low or high halves, a's and b's in turns. */
function unpack(width: number, high: boolean, mmx: boolean): Operation {
  const total = (mmx ? 8 : 16) / width;
  const first = high ? total / 2 : 0;
  const order = Array.from({ length: 16 / width }, (_, i) => {
    const n = first + (i >> 1);
    return (n < total ? n : 0) + (i & 1 ? 16 / width : 0);
  });
  return (f, a, b) => shuffle(f, laneBytes(width, order), a, b);
}

/** Operations with an MMX and an XMM form under the same opcode. */
const BOTH: readonly (readonly [mnemonic: string, opcode: string, operation: Operation])[] = [
  ['PCMPEQB', '74', direct('i8x16.eq')],
  ['PCMPEQW', '75', direct('i16x8.eq')],
  ['PCMPEQD', '76', direct('i32x4.eq')],
  ['PCMPGTB', '64', direct('i8x16.gt_s')],
  ['PCMPGTW', '65', direct('i16x8.gt_s')],
  ['PCMPGTD', '66', direct('i32x4.gt_s')],
  ['PADDQ', 'D4', direct('i64x2.add')],
  ['PMULLW', 'D5', direct('i16x8.mul')],
  ['PSUBUSB', 'D8', direct('i8x16.sub_sat_u')],
  ['PSUBUSW', 'D9', direct('i16x8.sub_sat_u')],
  ['PMINUB', 'DA', direct('i8x16.min_u')],
  ['PAND', 'DB', direct('v128.and')],
  ['PADDUSB', 'DC', direct('i8x16.add_sat_u')],
  ['PADDUSW', 'DD', direct('i16x8.add_sat_u')],
  ['PMAXUB', 'DE', direct('i8x16.max_u')],
  ['PANDN', 'DF', (f, a, b) => f.op('v128.andnot', b, a)],
  ['PAVGB', 'E0', direct('i8x16.avgr_u')],
  ['PAVGW', 'E3', direct('i16x8.avgr_u')],
  ['PMULHUW', 'E4', multiplyHigh('u')],
  ['PMULHW', 'E5', multiplyHigh('s')],
  ['PSUBSB', 'E8', direct('i8x16.sub_sat_s')],
  ['PSUBSW', 'E9', direct('i16x8.sub_sat_s')],
  ['PMINSW', 'EA', direct('i16x8.min_s')],
  ['POR', 'EB', direct('v128.or')],
  ['PADDSB', 'EC', direct('i8x16.add_sat_s')],
  ['PADDSW', 'ED', direct('i16x8.add_sat_s')],
  ['PMAXSW', 'EE', direct('i16x8.max_s')],
  ['PXOR', 'EF', direct('v128.xor')],
  ['PMULUDQ', 'F4', multiplyEven('u')],
  ['PMADDWD', 'F5', direct('i32x4.dot_i16x8_s')],
  ['PSADBW', 'F6', sumOfDifferences],
  ['PSUBB', 'F8', direct('i8x16.sub')],
  ['PSUBW', 'F9', direct('i16x8.sub')],
  ['PSUBD', 'FA', direct('i32x4.sub')],
  ['PSUBQ', 'FB', direct('i64x2.sub')],
  ['PADDB', 'FC', direct('i8x16.add')],
  ['PADDW', 'FD', direct('i16x8.add')],
  ['PADDD', 'FE', direct('i32x4.add')],
  ['PMADDUBSW', '38 04', multiplyAddBytes],
  ['PSIGNB', '38 08', signed('i8x16')],
  ['PSIGNW', '38 09', signed('i16x8')],
  ['PSIGND', '38 0A', signed('i32x4')],
  ['PMULHRSW', '38 0B', multiplyRound],
];

/** The same, where the MMX form is another arrangement. */
const ARRANGED: readonly (readonly [mnemonic: string, opcode: string, operation: (mmx: boolean) => Operation])[] = [
  ['PACKSSWB', '63', (mmx) => pack('i8x16.narrow_i16x8_s', mmx)],
  ['PACKUSWB', '67', (mmx) => pack('i8x16.narrow_i16x8_u', mmx)],
  ['PACKSSDW', '6B', (mmx) => pack('i16x8.narrow_i32x4_s', mmx)],
  ['PUNPCKHBW', '68', (mmx) => unpack(1, true, mmx)],
  ['PUNPCKHWD', '69', (mmx) => unpack(2, true, mmx)],
  ['PUNPCKHDQ', '6A', (mmx) => unpack(4, true, mmx)],
  ['PHADDW', '38 01', (mmx) => horizontal('i16x8.add', 2, mmx)],
  ['PHADDD', '38 02', (mmx) => horizontal('i32x4.add', 4, mmx)],
  ['PHADDSW', '38 03', (mmx) => horizontal('i16x8.add_sat_s', 2, mmx)],
  ['PHSUBW', '38 05', (mmx) => horizontal('i16x8.sub', 2, mmx)],
  ['PHSUBD', '38 06', (mmx) => horizontal('i32x4.sub', 4, mmx)],
  ['PHSUBSW', '38 07', (mmx) => horizontal('i16x8.sub_sat_s', 2, mmx)],
];

/** An MMX source in memory is 32 bits wide here. */
const UNPACK_LOW: readonly (readonly [mnemonic: string, opcode: string, width: number])[] = [
  ['PUNPCKLBW', '60', 1],
  ['PUNPCKLWD', '61', 2],
  ['PUNPCKLDQ', '62', 4],
];

const greater64: Operation = (f, a, b) => f.op('i64x2.gt_s', a, b);
const XMM_ONLY: readonly (readonly [mnemonic: string, opcode: string, operation: Operation])[] = [
  ['PUNPCKLQDQ', '6C', unpack(8, false, false)],
  ['PUNPCKHQDQ', '6D', unpack(8, true, false)],
  ['PMULDQ', '38 28', multiplyEven('s')],
  ['PCMPEQQ', '38 29', direct('i64x2.eq')],
  ['PACKUSDW', '38 2B', direct('i16x8.narrow_i32x4_u')],
  ['PCMPGTQ', '38 37', greater64],
  ['PMINSB', '38 38', direct('i8x16.min_s')],
  ['PMINSD', '38 39', direct('i32x4.min_s')],
  ['PMINUW', '38 3A', direct('i16x8.min_u')],
  ['PMINUD', '38 3B', direct('i32x4.min_u')],
  ['PMAXSB', '38 3C', direct('i8x16.max_s')],
  ['PMAXSD', '38 3D', direct('i32x4.max_s')],
  ['PMAXUW', '38 3E', direct('i16x8.max_u')],
  ['PMAXUD', '38 3F', direct('i32x4.max_u')],
  ['PMULLD', '38 40', direct('i32x4.mul')],
];

/** Shift operations: mnemonic, opcode of the register form, opcode and digit of the immediate form. */
const SHIFTS: readonly (readonly [string, string, string, number, string])[] = [
  ['PSRLW', 'D1', '71 /2', 16, 'i16x8.shr_u'],
  ['PSRLD', 'D2', '72 /2', 32, 'i32x4.shr_u'],
  ['PSRLQ', 'D3', '73 /2', 64, 'i64x2.shr_u'],
  ['PSRAW', 'E1', '71 /4', 16, 'i16x8.shr_s'],
  ['PSRAD', 'E2', '72 /4', 32, 'i32x4.shr_s'],
  ['PSLLW', 'F1', '71 /6', 16, 'i16x8.shl'],
  ['PSLLD', 'F2', '72 /6', 32, 'i32x4.shl'],
  ['PSLLQ', 'F3', '73 /6', 64, 'i64x2.shl'],
];

/** All lanes by one count: beyond the lane's width the result is zero, or the sign everywhere. `count` is i64. */
function shift(f: FunctionBuilder, operation: string, bits: number, a: Value, count: Value): Value {
  if (count.kind === 'const') {
    const n = Number(count.imm);
    if (operation.endsWith('shr_s')) return f.op(operation, a, Math.min(n, bits - 1));
    return n < bits ? f.op(operation, a, n) : zeroVector(f);
  }
  const beyond = count.gtU(bits - 1);
  if (operation.endsWith('shr_s')) return f.op(operation, a, f.select(beyond, bits - 1, count.wrap()));
  return f.select(beyond, zeroVector(f), f.op(operation, a, count.wrap()));
}

function shiftRows([mnemonic, opcode, immediate, bits, operation]: (typeof SHIFTS)[number]): Row[] {
  const count = (s: Semantics): Value => s.read(1).and(0xffn);
  return [
    [
      mnemonic,
      `NP 0F ${opcode}`,
      'Pq+ Qq',
      (s) => {
        requireMmx(s);
        const n = s.readM(1);
        const a = fromLow(s.f, s.readM(0));
        enterMmx(s);
        s.writeM(0, low64(s.f, shift(s.f, operation, bits, a, n)));
      },
    ],
    [
      mnemonic,
      `66 0F ${opcode}`,
      'Vx+ Wx',
      (s) => {
        requireSse(s);
        const n = low64(s.f, s.readV(1));
        s.writeV(0, shift(s.f, operation, bits, s.readV(0), n));
      },
    ],
    [
      mnemonic,
      `NP 0F ${immediate}`,
      'Nq+ Ib',
      (s) => {
        requireMmx(s);
        const a = fromLow(s.f, s.readM(0));
        enterMmx(s);
        s.writeM(0, low64(s.f, shift(s.f, operation, bits, a, count(s))));
      },
    ],
    [
      mnemonic,
      `66 0F ${immediate}`,
      'Ux+ Ib',
      (s) => {
        requireSse(s);
        s.writeV(0, shift(s.f, operation, bits, s.readV(0), count(s)));
      },
    ],
  ];
}

/** PMOVSX, PMOVZX: the source's width in memory, and the widening steps. */
const WIDENINGS = [
  ['BW', '0', 'Wq', ['i16x8.extend_low_i8x16']],
  ['BD', '1', 'Wd', ['i16x8.extend_low_i8x16', 'i32x4.extend_low_i16x8']],
  ['BQ', '2', 'Mw', ['i16x8.extend_low_i8x16', 'i32x4.extend_low_i16x8', 'i64x2.extend_low_i32x4']],
  ['WD', '3', 'Wq', ['i32x4.extend_low_i16x8']],
  ['WQ', '4', 'Wd', ['i32x4.extend_low_i16x8', 'i64x2.extend_low_i32x4']],
  ['DQ', '5', 'Wq', ['i64x2.extend_low_i32x4']],
] as const;
function wideningRows(sign: 's' | 'u'): Row[] {
  return WIDENINGS.flatMap(([suffix, digit, source, steps]) => {
    const semantics =
      (low: (s: Semantics) => Value): SemanticFunction =>
      (s) => {
        requireSse(s);
        s.writeV(
          0,
          steps.reduce((v, step) => s.f.op(`${step}_${sign}`, v), fromLow(s.f, low(s))),
        );
      };
    const mnemonic = `PMOV${sign === 's' ? 'S' : 'Z'}X${suffix}`;
    const encoding = `66 0F 38 ${sign === 's' ? '2' : '3'}${digit}`;
    if (source === 'Mw') {
      return [
        [mnemonic, encoding, 'Vx= Ux', semantics((s) => s.read64(1))],
        [mnemonic, encoding, 'Vx= Mw', semantics((s) => s.read(1))],
      ] satisfies Row[];
    }
    const low = source === 'Wq' ? (s: Semantics) => s.read64(1) : (s: Semantics) => s.read32(1).extU();
    return [[mnemonic, encoding, `Vx= ${source}`, semantics(low)]] satisfies Row[];
  });
}

/** PHMINPOSUW: the smallest word and where it stands, the first of equals. */
function minimumPosition(f: FunctionBuilder, v: Value): Value {
  // The word in the upper half and its number in the lower half of 32 bits order as wanted.
  const numbers = (first: number): Value => f.v128([0, 1, 2, 3].flatMap((i) => [first + i, 0, 0, 0]));
  const half = (name: string, first: number): Value =>
    f.op('v128.or', f.op('i32x4.shl', f.op(name, v), 16), numbers(first));
  let least = f.op('i32x4.min_u', half('i32x4.extend_low_i16x8_u', 0), half('i32x4.extend_high_i16x8_u', 4));
  for (const order of [
    [2, 3, 0, 1],
    [1, 0, 3, 2],
  ])
    least = f.op('i32x4.min_u', least, shuffle(f, laneBytes(4, order), least, least));
  return fromLow(f, f.lane('i32x4.extract_lane', [0], least).rotl(16).extU());
}

/** MPSADBW: eight sums of four absolute differences, of a window that moves over the destination. */
const movingDifferences: SemanticFunction = (s) => {
  requireSse(s);
  const { f } = s;
  const immediate = s.read(2).wrap();
  const b = s.readV(1);
  const a = s.readV(0);
  const pattern = (from: Value, numbers: readonly number[]): Value => {
    const bytes = [0, 1, 2, 3].map((i) => numbers.slice(4 * i, 4 * i + 4).reduce((w, n, j) => w | (n << (8 * j)), 0));
    const base = f.op('i8x16.splat', from);
    const v = bytes.flatMap((w) => [0, 8, 16, 24].map((k) => (w >> k) & 0xff));
    return f.op('i8x16.add', base, f.v128(v));
  };
  const windowStart = immediate.and(4);
  const block = f.op(
    'i8x16.swizzle',
    b,
    pattern(
      immediate.and(3).shl(2),
      Array.from({ length: 16 }, (_, i) => i % 4),
    ),
  );
  /** Sums of windows first .. first + 3, one in each 32-bit lane. */
  const sums = (first: number): Value => {
    const numbers = Array.from({ length: 16 }, (_, i) => first + (i >> 2) + (i % 4));
    const window = f.op('i8x16.swizzle', a, pattern(windowStart, numbers));
    const difference = f.op('v128.or', f.op('i8x16.sub_sat_u', window, block), f.op('i8x16.sub_sat_u', block, window));
    return f.op('i32x4.extadd_pairwise_i16x8_u', f.op('i16x8.extadd_pairwise_i8x16_u', difference));
  };
  s.writeV(0, f.op('i16x8.narrow_i32x4_u', sums(0), sums(4)));
};

const test: SemanticFunction = (s) => {
  requireSse(s);
  const { f } = s;
  const b = s.readV(1);
  const a = s.readV(0);
  const none = (v: Value): Value => f.op('v128.any_true', v).eqz();
  s.setFlags({ ZF: none(f.op('v128.and', a, b)), CF: none(f.op('v128.andnot', b, a)), PF: 0, AF: 0, SF: 0, OF: 0 });
};

const absolute = (mnemonic: string, opcode: string, shape: string): Row[] => [
  [mnemonic, `NP 0F 38 ${opcode}`, 'Pq= Qq', onMmxSource((f, b) => f.op(`${shape}.abs`, b))],
  [mnemonic, `66 0F 38 ${opcode}`, 'Vx= Wx', onXmmSource((f, b) => f.op(`${shape}.abs`, b))],
];

export const rows: readonly Row[] = [
  ...BOTH.flatMap(([mnemonic, opcode, operation]): Row[] => [
    [mnemonic, `NP 0F ${opcode}`, 'Pq+ Qq', onMmx(operation)],
    [mnemonic, `66 0F ${opcode}`, 'Vx+ Wx', onXmm(operation)],
  ]),
  ...ARRANGED.flatMap(([mnemonic, opcode, operation]): Row[] => [
    [mnemonic, `NP 0F ${opcode}`, 'Pq+ Qq', onMmx(operation(true))],
    [mnemonic, `66 0F ${opcode}`, 'Vx+ Wx', onXmm(operation(false))],
  ]),
  ...UNPACK_LOW.flatMap(([mnemonic, opcode, width]): Row[] => [
    [mnemonic, `NP 0F ${opcode}`, 'Pq+ Qd', onMmx(unpack(width, false, true))],
    [mnemonic, `66 0F ${opcode}`, 'Vx+ Wx', onXmm(unpack(width, false, false))],
  ]),
  ...XMM_ONLY.map(([mnemonic, opcode, operation]): Row => [mnemonic, `66 0F ${opcode}`, 'Vx+ Wx', onXmm(operation)]),
  ...SHIFTS.flatMap(shiftRows),
  ...absolute('PABSB', '1C', 'i8x16'),
  ...absolute('PABSW', '1D', 'i16x8'),
  ...absolute('PABSD', '1E', 'i32x4'),
  ...wideningRows('s'),
  ...wideningRows('u'),
  ['PHMINPOSUW', '66 0F 38 41', 'Vx= Wx', onXmmSource(minimumPosition)],
  ['PTEST', '66 0F 38 17', 'Vx Wx', test],
  ['MPSADBW', '66 0F 3A 42', 'Vx+ Wx Ib', movingDifferences],
];
