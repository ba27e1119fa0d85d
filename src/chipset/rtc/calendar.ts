/** The MC146818A's time registers to and from seconds since 1970: BCD or binary, 12 or 24 hours, and the alarm's matching. */
import { ALARM_DONT_CARE, B, HOUR_PM, REGISTER } from './protocol.ts';

export type RtcRegisters = Uint8Array;

const DAY = 86400;

/** The time registers as seconds since 1970. Values out of range carry over, as a calendar of dates does. */
export function decodeTime(registers: RtcRegisters): number {
  const read = (index: number) => fromRegister(registers, registers[index] as number);
  const year = read(REGISTER.CENTURY) * 100 + read(REGISTER.YEAR);
  const date = new Date(0);
  // Date.UTC would take the years 0 to 99 for 1900 to 1999.
  date.setUTCFullYear(year, read(REGISTER.MONTH) - 1, read(REGISTER.DATE_OF_MONTH));
  date.setUTCHours(
    decodeHour(registers, registers[REGISTER.HOURS] as number),
    read(REGISTER.MINUTES),
    read(REGISTER.SECONDS),
  );
  return date.getTime() / 1000;
}

export function encodeTime(registers: RtcRegisters, second: number): void {
  const date = new Date(second * 1000);
  const year = date.getUTCFullYear();
  const write = (index: number, value: number) => {
    registers[index] = toRegister(registers, value);
  };
  write(REGISTER.SECONDS, date.getUTCSeconds());
  write(REGISTER.MINUTES, date.getUTCMinutes());
  registers[REGISTER.HOURS] = encodeHour(registers, date.getUTCHours());
  write(REGISTER.DAY_OF_WEEK, date.getUTCDay() + 1);
  write(REGISTER.DATE_OF_MONTH, date.getUTCDate());
  write(REGISTER.MONTH, date.getUTCMonth() + 1);
  write(REGISTER.YEAR, year % 100);
  write(REGISTER.CENTURY, Math.floor(year / 100));
}

/** The first second after `after` at which the alarm registers match; undefined when they never do. */
export function nextAlarm(registers: RtcRegisters, after: number): number | undefined {
  const alarm = (index: number, decode: (registers: RtcRegisters, raw: number) => number): number | undefined => {
    const raw = registers[index] as number;
    return raw >= ALARM_DONT_CARE ? undefined : decode(registers, raw);
  };
  const hour = alarm(REGISTER.HOURS_ALARM, decodeHour);
  const minute = alarm(REGISTER.MINUTES_ALARM, fromRegister);
  const second = alarm(REGISTER.SECONDS_ALARM, fromRegister);
  const fields = [
    { wanted: hour, unit: 3600, modulus: 24 },
    { wanted: minute, unit: 60, modulus: 60 },
    { wanted: second, unit: 1, modulus: 60 },
  ] as const;
  let at = after + 1;
  while (at <= after + DAY) {
    const wrong = fields.find((f) => f.wanted !== undefined && modulo(Math.floor(at / f.unit), f.modulus) !== f.wanted);
    if (!wrong) return at;
    // On to where the outermost field that does not match next changes.
    at = (Math.floor(at / wrong.unit) + 1) * wrong.unit;
  }
  return undefined;
}

function decodeHour(registers: RtcRegisters, raw: number): number {
  if ((registers[REGISTER.B] as number) & B.HOURS_24) return fromRegister(registers, raw);
  return (fromRegister(registers, raw & ~HOUR_PM) % 12) + (raw & HOUR_PM ? 12 : 0);
}

function encodeHour(registers: RtcRegisters, hour: number): number {
  if ((registers[REGISTER.B] as number) & B.HOURS_24) return toRegister(registers, hour);
  return toRegister(registers, hour % 12 || 12) | (hour >= 12 ? HOUR_PM : 0);
}

function fromRegister(registers: RtcRegisters, raw: number): number {
  return (registers[REGISTER.B] as number) & B.DM ? raw : (raw >> 4) * 10 + (raw & 0x0f);
}

function toRegister(registers: RtcRegisters, value: number): number {
  return (registers[REGISTER.B] as number) & B.DM ? value : (Math.floor(value / 10) << 4) | (value % 10);
}

function modulo(value: number, modulus: number): number {
  return ((value % modulus) + modulus) % modulus;
}
