/** Every system operation by the name under which semantics/system.ts calls it. */
import type { SystemOperation } from './context.ts';
import { controlOperations } from './control.ts';
import { debugOperations } from './debug.ts';
import { entryOperations } from './entry.ts';
import { interruptOperations } from './interrupts.ts';
import { ioOperations } from './io.ts';
import { iret } from './iret.ts';
import { updateMode } from './mode.ts';
import { msrOperations } from './msr.ts';
import { segmentOperations } from './segments.ts';
import { transferOperations } from './transfer.ts';

const other = {
  iret,
  /** After a flag or register on which the mode depends was changed by generated code. */
  updateMode: (ctx) => {
    updateMode(ctx.vp);
    return 0n;
  },
} as const satisfies Record<string, SystemOperation>;

const all = {
  ...controlOperations,
  ...debugOperations,
  ...entryOperations,
  ...interruptOperations,
  ...ioOperations,
  ...msrOperations,
  ...other,
  ...segmentOperations,
  ...transferOperations,
} as const;

export type SystemOperationName = keyof typeof all;
export const operations: Readonly<Record<SystemOperationName, SystemOperation>> = all;
