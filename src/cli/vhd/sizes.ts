/** Sizes as people write and read them: powers of 1024. */
import { ViridianError } from '../../contracts/errors.ts';

const UNITS = ['', 'K', 'M', 'G', 'T'] as const;

/** '1G', '1.5 TiB', '512K'; a plain number is bytes. */
export function parseSize(what: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim());
  const unit = UNITS.indexOf((match?.[2] ?? '').toUpperCase() as (typeof UNITS)[number]);
  const bytes = match ? Number(match[1]) * 1024 ** unit : Number.NaN;
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    throw new ViridianError('invalid', `${what} must be a size such as 512M or 1.5G, not '${text}'`);
  return bytes;
}

/** '1 GiB', '1.50 GiB', '512 bytes'. */
export function formatSize(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0) return `${bytes} bytes`;
  return `${Number.isInteger(value) ? value : value.toFixed(2)} ${UNITS[unit]}iB`;
}
