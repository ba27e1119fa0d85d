/** Figures and times as people read them. Nothing here knows the page. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** 1536 -> "1.5 KiB". */
export function bytes(count: number): string {
  let value = Math.max(0, count);
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 100 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** Seconds -> "3 d 4 h", "12 min 5 s": the two largest parts. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'min'],
    [whole % 60, 's'],
  ] as const;
  const first = parts.findIndex(([value]) => value > 0);
  if (first < 0) return '0 s';
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(' ');
}

export function percent(value: number): string {
  return `${Math.round(value)} %`;
}

/** ISO time -> the reader's clock; the date too when it is another day. */
export function clock(time: string, now = new Date()): string {
  const when = new Date(time);
  const sameDay = when.toDateString() === now.toDateString();
  return when.toLocaleString(undefined, {
    ...(sameDay ? {} : { year: 'numeric', month: 'short', day: 'numeric' }),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
  });
}

/* oxlint-disable no-control-regex -- control characters are what it is about */
/** What a terminal would act upon, taken out; for texts of the guest's shown as text. */
export function plainText(text: string): string {
  return (
    text
      // CSI and OSC sequences (ECMA-48), then any other control character but the line's end.
      .replace(/\u001b\[[0-?]*[ -/]*[@-~]/g, '')
      .replace(/\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)/g, '')
      .replace(/\u001b./g, '')
      .replace(/\r+\n/g, '\n')
      .replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '')
  );
}

/** "512M", "2 GiB", "1.5g"; a plain number is MiB. Undefined: no size. */
export function parseSize(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*$/i.exec(text);
  if (!match) return undefined;
  const power = { k: 1, m: 2, g: 3, t: 4 }[match[2]!.toLowerCase()] ?? 2;
  const size = Number(match[1]) * 1024 ** power;
  return Number.isSafeInteger(size) ? size : Math.floor(size);
}
