/** The instruction table: every form, from the semantics files. */
import { type Form, makeForms } from './form.ts';
import type { HelperDefinition } from './library.ts';
import * as control from './semantics/control-flow.ts';
import * as alu from './semantics/integer-alu.ts';
import * as move from './semantics/integer-move.ts';
import * as muldiv from './semantics/integer-muldiv.ts';
import * as shift from './semantics/integer-shift.ts';
import * as strings from './semantics/integer-string.ts';

export const forms: readonly Form[] = makeForms([
  ...alu.rows,
  ...move.rows,
  ...shift.rows,
  ...muldiv.rows,
  ...strings.rows,
  ...control.rows,
]);

export const helperDefinitions: readonly HelperDefinition[] = [...muldiv.helpers, ...strings.helpers];
