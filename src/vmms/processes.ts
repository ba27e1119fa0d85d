/** Processes of this host by more than their number, which is given to others in time (Linux; elsewhere a number is all). */
import { readFileSync } from 'node:fs';

/** When a process was started, in clock ticks since boot (proc(5), /proc/pid/stat field 22); null where that is unknown. */
export function startTicks(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is a name in parentheses, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie has ended.
    return fields[0] === 'Z' ? null : Number(fields[19]);
  } catch {
    return null;
  }
}

export function isProcess(pid: number, ticks: number | null): boolean {
  const now = startTicks(pid);
  if (now !== null || process.platform === 'linux') return now !== null && (ticks === null || now === ticks);
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Another after each boot of the host. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
