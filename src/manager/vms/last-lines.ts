/** What a console shows last, as text. */
import { plainText } from '../store/format.ts';

const LINES = 9;
const COLUMNS = 36;

export function lastLines(text: string): string {
  const lines = plainText(text).split('\n');
  while (lines.at(-1)?.trim() === '') lines.pop();
  return lines
    .slice(-LINES)
    .map((line) => line.slice(0, COLUMNS))
    .join('\n');
}
