/** What the host is, and whether it meets Viridian's requirements. */
import { readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, freemem, hostname, totalmem } from 'node:os';
import type { Requirement } from '../contracts/api/resources.ts';
import { sizeText } from '../contracts/partition-options.ts';

const GIB = 2 ** 30;

export interface HostFacts {
  readonly name: string;
  readonly architecture: string;
  readonly memory: number;
  readonly processors: number;
  readonly processorModel: string;
  /** Of the processor, as Linux names them; empty where they are unknown. */
  readonly flags: ReadonlySet<string>;
}

export function hostFacts(): HostFacts {
  return {
    name: hostname(),
    architecture: arch(),
    memory: totalmem(),
    processors: availableParallelism(),
    processorModel: cpus()[0]?.model ?? 'unknown',
    flags: processorFlags(),
  };
}

function processorFlags(): ReadonlySet<string> {
  try {
    const line = /^flags\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'));
    return new Set(line?.[1]?.split(' ') ?? []);
  } catch {
    return new Set();
  }
}

export function availableMemory(): number {
  try {
    const line = /^MemAvailable:\s*(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'));
    if (line) return Number(line[1]) * 1024;
  } catch {
    // No Linux.
  }
  return freemem();
}

/** Hyper-V's list, with what of it a software processor needs. */
export function requirements({ architecture, memory, flags }: HostFacts): readonly Requirement[] {
  const known = flags.size > 0;
  const has = (...names: string[]): boolean => names.some((name) => flags.has(name));
  // A machine of 2 GB has a little less than 2 GiB for its system.
  const enough = memory >= 1.9 * GIB;
  return [
    {
      name: 'x86-64',
      met: architecture === 'x64',
      required: true,
      text: `the processor is ${architecture}`,
    },
    { name: 'memory', met: enough, required: true, text: `the host has ${sizeText(memory)}, and needs 2 GB` },
    {
      name: 'no-execute pages',
      met: !known || has('nx'),
      required: true,
      text: known ? (has('nx') ? 'NX is there' : 'NX is missing, or off in the firmware') : 'unknown here',
    },
    {
      name: 'hardware virtualization',
      met: has('vmx', 'svm'),
      required: false,
      text: has('vmx', 'svm')
        ? 'VT-x or AMD-V is there'
        : 'not there, and not needed: the processor of VMs is software',
    },
    {
      name: 'second-level paging',
      met: has('ept', 'npt'),
      required: false,
      text: has('ept', 'npt') ? 'there' : 'not there; recommended for a hardware engine only',
    },
  ];
}

/** Why no VM can run here, in one line; undefined when one can. */
export function unmet(list: readonly Requirement[]): string | undefined {
  const missing = list.filter(({ required, met }) => required && !met);
  if (missing.length === 0) return undefined;
  return `this host cannot run virtual machines: ${missing.map(({ name, text }) => `${name}: ${text}`).join('; ')}`;
}
