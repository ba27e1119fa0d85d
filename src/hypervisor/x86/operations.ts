/** Everything that instructions hand to TypeScript, by the name under which the semantics ask for it. */

import type { SystemOperation } from './system/context.ts';
import { operations as system } from './system/operations.ts';
import { operations as x87 } from './x87/operations.ts';

export const operations: Readonly<Record<string, SystemOperation>> = { ...system, ...x87 };
