/** Roles in ascending order, without the schemas of contracts/api/resources.ts: the page does not load zod. */
import type { Role } from '../../contracts/api/resources.ts';

export type { Role };
export const ROLES: readonly Role[] = ['viewer', 'operator', 'administrator'];
