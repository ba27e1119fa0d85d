/** What `hv doctor` looks at, gathered in one place so that the checks are functions of plain facts. */
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, freemem, totalmem } from 'node:os';
import { findCommand } from '../../host/node/command.ts';
import { machineCode } from '../../host/node/machine-code/machine-code.ts';

export interface ProcessorFacts {
  readonly vendor: string;
  readonly model: string;
  readonly flags: ReadonlySet<string>;
}

export interface KvmFacts {
  readonly state: 'usable' | 'denied' | 'broken' | 'absent';
  /** Loaded modules that provide it: kvm_intel, kvm_amd, kvm_pvm. */
  readonly modules: readonly string[];
}

export interface HostFacts {
  readonly platform: string;
  readonly arch: string;
  readonly cpu: ProcessorFacts;
  readonly processors: number;
  readonly kvm: KvmFacts;
  readonly memoryBytes: number;
  readonly availableBytes: number;
  /** What V8 makes of guests' code outlives a run with this Node. */
  readonly keepsMachineCode: boolean;
  readonly nodeVersion: string;
  /** Tool -> path, or undefined. */
  readonly tools: Readonly<Record<string, string | undefined>>;
}

export function gatherHostFacts(toolNames: readonly string[]): HostFacts {
  return {
    platform: process.platform,
    arch: process.arch,
    cpu: parseCpuInfo(readText('/proc/cpuinfo')),
    processors: availableParallelism(),
    kvm: kvmFacts(),
    memoryBytes: Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY),
    availableBytes: process.availableMemory?.() ?? freemem(),
    keepsMachineCode: machineCode() !== undefined,
    nodeVersion: process.versions.node,
    tools: Object.fromEntries(toolNames.map((name) => [name, findCommand(name)])),
  };
}

/** The first processor's lines of /proc/cpuinfo. Linux lists SLAT on Intel under "vmx flags" as well as under "flags". */
export function parseCpuInfo(text: string): ProcessorFacts {
  const field = (name: string): string => new RegExp(`^${name}\\s*:[ \\t]*(.*)$`, 'm').exec(text)?.[1]?.trim() ?? '';
  return {
    vendor: field('vendor_id'),
    model: field('model name'),
    flags: new Set(`${field('flags')} ${field('vmx flags')}`.split(/\s+/).filter((flag) => flag !== '')),
  };
}

function kvmFacts(): KvmFacts {
  const modules = listFolder('/sys/module').filter((name) => /^kvm_\w+$/.test(name));
  try {
    closeSync(openSync('/dev/kvm', 'r+'));
    return { state: 'usable', modules };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') return { state: 'absent', modules };
    return { state: code === 'EACCES' || code === 'EPERM' ? 'denied' : 'broken', modules };
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
