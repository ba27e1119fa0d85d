/**
 * All of MMX, SSE, SSE2, SSE3, SSSE3, SSE4.1 and SSE4.2 as one list of rows, and the helpers they
 * call beyond those of softfloat/operations.ts.
 */
import type { Row } from '../form.ts';
import type { HelperDefinition } from '../library.ts';
import { packedHelpers } from '../softfloat/packed.ts';
import { rows as mmx } from './mmx.ts';
import { rows as arithmetic } from './sse-arithmetic.ts';
import { rows as compare } from './sse-compare.ts';
import { rows as convert } from './sse-convert.ts';
import { rows as integer } from './sse-integer.ts';
import { rows as move } from './sse-move.ts';
import { rows as shuffle } from './sse-shuffle.ts';
import { rows as string, helpers as stringHelpers } from './sse-string.ts';

export const rows: readonly Row[] = [
  ...move,
  ...arithmetic,
  ...compare,
  ...convert,
  ...integer,
  ...shuffle,
  ...string,
  ...mmx,
];

export const helpers: readonly HelperDefinition[] = [...packedHelpers, ...stringHelpers];
