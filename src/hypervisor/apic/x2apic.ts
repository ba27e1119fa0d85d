/**
 * What is different in x2APIC mode. Intel SDM vol. 3, "Extended XAPIC (x2APIC)": which registers can be read and written,
 * which bits raise #GP, and the logical ID.
 */
import { APIC_BASE_ADDRESS, ApicBase, LVT_COUNT, LVT_WRITABLE, Lvt, Register } from './registers.ts';

/** Cluster in bits 31:16, the member's bit in 15:0. */
export function x2apicLdr(id: number): number {
  return (((id >>> 4) << 16) | (1 << (id & 15))) >>> 0;
}

function range(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

export const X2APIC_READABLE: ReadonlySet<number> = new Set([
  Register.ID,
  Register.VERSION,
  Register.TPR,
  Register.PPR,
  Register.LDR,
  Register.SVR,
  ...range(Register.ISR, 8),
  ...range(Register.TMR, 8),
  ...range(Register.IRR, 8),
  Register.ESR,
  Register.ICR_LOW,
  ...range(Register.LVT_TIMER, LVT_COUNT),
  Register.INITIAL_COUNT,
  Register.CURRENT_COUNT,
  Register.DIVIDE,
]);

/** Writable x2APIC registers and the bits that may be set; any other bit is #GP. The ICR is apart: it has 64 bits. */
export const X2APIC_WRITABLE: ReadonlyMap<number, number> = new Map([
  [Register.TPR, 0xff],
  [Register.EOI, 0],
  [Register.SVR, 0x1ff],
  [Register.ESR, 0],
  // Writing the read-only delivery status or remote IRR is not an error.
  ...LVT_WRITABLE.map((bits, i): [number, number] => [
    Register.LVT_TIMER + i,
    bits | 0x1000 | (i === Lvt.LINT0 || i === Lvt.LINT1 ? 0x4000 : 0),
  ]),
  [Register.INITIAL_COUNT, 0xffffffff],
  [Register.DIVIDE, 0xb],
  [Register.SELF_IPI, 0xff],
]);

/** Figure "Local x2APIC State Transitions with IA32_APIC_BASE, INIT, and Reset": false for #GP. */
export function apicBaseAllowed(current: bigint, value: bigint): boolean {
  if ((value & ~(APIC_BASE_ADDRESS | ApicBase.BSP | ApicBase.EXTENDED | ApicBase.ENABLE)) !== 0n) return false;
  const enabled = (current & ApicBase.ENABLE) !== 0n;
  const enable = (value & ApicBase.ENABLE) !== 0n;
  if ((value & ApicBase.EXTENDED) !== 0n) return enable && enabled;
  // Out of x2APIC mode the only way is through disabled.
  return !enable || (current & ApicBase.EXTENDED) === 0n;
}
