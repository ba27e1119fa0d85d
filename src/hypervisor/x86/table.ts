/** The instruction table: every form, from the semantics files. */
import { type Form, makeForms } from './form.ts';
import type { HelperDefinition } from './library.ts';
import * as control from './semantics/control-flow.ts';
import * as fxsave from './semantics/fxsave.ts';
import * as alu from './semantics/integer-alu.ts';
import * as move from './semantics/integer-move.ts';
import * as muldiv from './semantics/integer-muldiv.ts';
import * as shift from './semantics/integer-shift.ts';
import * as strings from './semantics/integer-string.ts';
import * as sse from './semantics/sse.ts';
import * as system from './semantics/system.ts';
import * as x87 from './semantics/x87.ts';
import { helpers as floatHelpers } from './softfloat/operations.ts';
import { shortInterruptHelpers } from './system/short-interrupts.ts';
import { shortIretHelpers } from './system/short-iret.ts';
import { shortWayHelpers } from './system/short-ways.ts';
import { helpers as x87Helpers } from './x87/helpers.ts';

export const forms: readonly Form[] = makeForms([
  ...alu.rows,
  ...move.rows,
  ...shift.rows,
  ...muldiv.rows,
  ...strings.rows,
  ...control.rows,
  ...system.rows,
  ...x87.rows,
  ...fxsave.rows,
  ...sse.rows,
]);

export const helperDefinitions: readonly HelperDefinition[] = [
  ...muldiv.helpers,
  ...strings.helpers,
  ...floatHelpers,
  ...x87Helpers,
  ...sse.helpers,
  ...shortWayHelpers,
  ...shortInterruptHelpers,
  ...shortIretHelpers,
];
