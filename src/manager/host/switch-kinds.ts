/** Kinds of switches that can be made, with what they connect. */
import type { Option } from '../parts/field.tsx';

export const SWITCH_KINDS: readonly Option[] = [
  ['NAT', 'NAT: machines and the world, through the host'],
  ['Private', 'Private: machines reach one another, and nothing else'],
  ['Internal', 'Internal: and the host'],
  ['External', 'External: and a network outside, by a device of the host'],
];
