/** Kinds of switches that can be made, with what they connect. */
import type { Option } from '../parts/field.tsx';

export const SWITCH_KINDS: readonly Option[] = [['NAT', 'NAT: the machine and the world, through the host']];
