/**
 * One counter of an 8254 as a function of elapsed input clocks (Intel 8254 data sheet, "Mode Definitions"): its count, its
 * OUT level, and how often OUT has risen. The one or two clocks that loading takes are not modelled.
 */

/** Modes 6 and 7 are 2 and 3 again. */
export const MODE = {
  INTERRUPT_ON_TERMINAL_COUNT: 0,
  ONE_SHOT: 1,
  RATE_GENERATOR: 2,
  SQUARE_WAVE: 3,
  SOFTWARE_STROBE: 4,
  HARDWARE_STROBE: 5,
} as const;

export interface CounterSetting {
  readonly mode: number;
  readonly bcd: boolean;
  /** 1..65536, or 1..10000 in BCD. */
  readonly reload: number;
}

type ByMode<T> = readonly [T, T, T, T, T, T];
type Evaluate = (elapsed: number, setting: CounterSetting) => number;

const down: Evaluate = (elapsed, { reload, bcd }) => {
  const modulus = bcd ? 10000 : 0x10000;
  return (((reload - elapsed) % modulus) + modulus) % modulus;
};
const squareWaveHigh = (reload: number) => Math.ceil(reload / 2);

const COUNT: ByMode<Evaluate> = [
  down,
  down,
  (elapsed, { reload }) => reload - (elapsed % reload),
  (elapsed, { reload }) => {
    // Counts down by two, twice per period.
    const phase = elapsed % reload;
    const high = squareWaveHigh(reload);
    return (reload & ~1) - 2 * (phase < high ? phase : phase - high);
  },
  down,
  down,
];

const OUT: ByMode<(elapsed: number, reload: number) => boolean> = [
  (elapsed, reload) => elapsed >= reload,
  (elapsed, reload) => elapsed >= reload,
  (elapsed, reload) => reload === 1 || elapsed % reload !== reload - 1,
  (elapsed, reload) => elapsed % reload < squareWaveHigh(reload),
  (elapsed, reload) => elapsed !== reload,
  (elapsed, reload) => elapsed !== reload,
];

const once: Evaluate = (elapsed, { reload }) => (elapsed >= reload ? 1 : 0);
const strobe: Evaluate = (elapsed, { reload }) => (elapsed > reload ? 1 : 0);
const periods: Evaluate = (elapsed, { reload }) => Math.floor(elapsed / reload);
const RISES: ByMode<Evaluate> = [once, once, periods, periods, strobe, strobe];

/** The counting element's value, 0..65535 (or 0..9999), not yet in BCD. */
export function countAfter(elapsed: number, setting: CounterSetting): number {
  return (COUNT[setting.mode] as Evaluate)(elapsed, setting) & 0xffff;
}

export function outAfter(elapsed: number, setting: CounterSetting): boolean {
  return (OUT[setting.mode] as (typeof OUT)[0])(elapsed, setting.reload);
}

/** How often OUT has risen since counting began. */
export function risesAfter(elapsed: number, setting: CounterSetting): number {
  return (RISES[setting.mode] as Evaluate)(elapsed, setting);
}

/** After how many clocks OUT rises next, when it has risen `rises` times; undefined when it never will again. */
export function nextRise(rises: number, { mode, reload }: CounterSetting): number | undefined {
  if (isPeriodic(mode)) return (rises + 1) * reload;
  if (rises > 0) return undefined;
  return mode >= MODE.SOFTWARE_STROBE ? reload + 1 : reload;
}

export function isPeriodic(mode: number): boolean {
  return mode === MODE.RATE_GENERATOR || mode === MODE.SQUARE_WAVE;
}

/** Modes 1 and 5 begin at a rising edge of GATE; in the others a low GATE holds counting. */
export function isTriggered(mode: number): boolean {
  return mode === MODE.ONE_SHOT || mode === MODE.HARDWARE_STROBE;
}

export function toBcd(value: number): number {
  let bcd = 0;
  for (let shift = 0, rest = value; shift < 16; shift += 4, rest = Math.floor(rest / 10)) bcd |= (rest % 10) << shift;
  return bcd;
}

export function fromBcd(bcd: number): number {
  let value = 0;
  for (let shift = 12; shift >= 0; shift -= 4) value = value * 10 + ((bcd >> shift) & 0x0f);
  return value;
}
