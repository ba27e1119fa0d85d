/** Dynamic MAC addresses out of Hyper-V's range, 00-15-5D: the same for the same adapter, wherever that is free. */

const PREFIX = 0x0015_5d00_0000;

/** @param taken whether the switch has the address already. */
export function dynamicMac(owner: string, taken: (mac: number) => boolean): number {
  let suffix = fnv1a(owner) & 0xff_ffff;
  while (taken(PREFIX + suffix)) suffix = (suffix + 1) & 0xff_ffff;
  return PREFIX + suffix;
}

/** FNV-1a, 32 bits, folded so that all bits count. */
function fnv1a(text: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  return (hash ^ (hash >>> 24)) >>> 0;
}
