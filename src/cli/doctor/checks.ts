/** The lines of `hv doctor`: each check takes facts about the host and says what they mean. */
import type { HostFacts } from './host-facts.ts';
import { hasWasmFeature, WASM_FEATURES } from './wasm-features.ts';

export type Level = 'ok' | 'warning' | 'missing';

export interface CheckResult {
  readonly name: string;
  readonly level: Level;
  /** What was found. */
  readonly found: string;
  /** What it means for the user. */
  readonly meaning: string;
  /** Nothing runs while this is `missing`. */
  readonly required: boolean;
}

const MINIMUM_NODE = 24;
const MINIMUM_MEMORY = 2 * 2 ** 30;

type Check = (facts: HostFacts) => CheckResult;

const CHECKS: readonly Check[] = [
  architecture,
  processor,
  noExecute,
  virtualization,
  slat,
  kvm,
  memory,
  node,
  machineCode,
];

export function checkHost(facts: HostFacts): CheckResult[] {
  return [
    ...CHECKS.map((check) => check(facts)),
    ...WASM_FEATURES.map((feature): CheckResult => {
      const present = hasWasmFeature(feature);
      return {
        name: `wasm: ${feature.name}`,
        level: present ? 'ok' : feature.required ? 'missing' : 'warning',
        found: present ? 'yes' : 'no',
        meaning: feature.use,
        required: feature.required,
      };
    }),
    ...TOOLS.map(([tool, use]) => optionalTool(facts, tool, use)),
  ];
}

function architecture({ platform, arch }: HostFacts): CheckResult {
  const known = platform === 'linux' && arch === 'x64';
  return {
    name: 'system',
    level: known ? 'ok' : 'warning',
    found: `${platform} ${arch}`,
    meaning: known
      ? 'tested here'
      : 'not tested; more than one virtual processor needs the memory order of an x86-64 host',
    required: false,
  };
}

function processor({ cpu, processors }: HostFacts): CheckResult {
  return {
    name: 'processor',
    level: cpu.vendor === '' ? 'warning' : 'ok',
    found: `${[cpu.vendor, cpu.model].filter(Boolean).join(' ') || 'unknown'}, ${processors} logical`,
    meaning: 'the software processor needs no feature of it; one logical processor per busy virtual processor',
    required: false,
  };
}

function noExecute({ cpu }: HostFacts): CheckResult {
  const present = cpu.flags.has('nx');
  return {
    name: 'NX',
    level: present ? 'ok' : 'warning',
    found: present ? 'yes' : 'no',
    meaning: present
      ? 'data pages of the host are not executable'
      : 'the host lacks a protection every 64-bit system expects',
    required: false,
  };
}

function virtualization({ cpu }: HostFacts): CheckResult {
  const found = cpu.flags.has('vmx') ? 'VT-x' : cpu.flags.has('svm') ? 'AMD-V' : undefined;
  return {
    name: 'VT-x / AMD-V',
    level: found ? 'ok' : 'warning',
    found: found ?? 'not visible',
    meaning: found
      ? 'hardware virtualization, for a later engine'
      : 'not needed: the software processor runs without it',
    required: false,
  };
}

function slat({ cpu }: HostFacts): CheckResult {
  const found = cpu.flags.has('ept') ? 'EPT' : cpu.flags.has('npt') ? 'NPT' : undefined;
  return {
    name: 'SLAT',
    level: found ? 'ok' : 'warning',
    found: found ?? 'not visible',
    meaning: found
      ? 'second level address translation, for a later engine'
      : 'not needed: the software processor does it itself',
    required: false,
  };
}

function kvm({ kvm: { state, modules } }: HostFacts): CheckResult {
  const flavour = modules.length > 0 ? ` (${modules.join(', ')})` : '';
  const texts = {
    usable: ['ok', `usable${flavour}`, 'a later engine will run on it'],
    denied: ['warning', `permission denied${flavour}`, "not needed; to use it later, join the group 'kvm'"],
    broken: ['warning', `does not open${flavour}`, 'not needed: the software processor runs without it'],
    absent: ['warning', 'absent', 'not needed: the software processor runs without it'],
  } as const;
  const [level, found, meaning] = texts[state];
  const pvm = modules.includes('kvm_pvm') ? '; kvm_pvm is a nested flavour: expect gaps and slow real mode' : '';
  return { name: '/dev/kvm', level, found, meaning: meaning + (state === 'usable' ? pvm : ''), required: false };
}

function memory({ memoryBytes, availableBytes }: HostFacts): CheckResult {
  const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  const enough = memoryBytes >= MINIMUM_MEMORY;
  return {
    name: 'memory',
    level: enough ? 'ok' : 'warning',
    found: `${gib(memoryBytes)}, ${gib(availableBytes)} available`,
    meaning: enough
      ? 'a partition takes what it is given, up to 3 GiB'
      : '2 GiB is the least to expect a useful partition with',
    required: false,
  };
}

function node({ nodeVersion }: HostFacts): CheckResult {
  const enough = Number(nodeVersion.split('.')[0]) >= MINIMUM_NODE;
  return {
    name: 'Node.js',
    level: enough ? 'ok' : 'missing',
    found: nodeVersion,
    meaning: enough ? 'new enough' : `Viridian needs ${MINIMUM_NODE} or newer`,
    required: true,
  };
}

const TOOLS = [
  ['apt-get', "hv quickstart fetches Debian's packages with it; else pass --kernel and --busybox"],
  ['dpkg-deb', "hv quickstart unpacks Debian's packages with it; else pass --kernel and --busybox"],
  ['qemu-system-x86_64', 'only tests and benchmarks compare with it'],
  ['qemu-img', 'only tests compare with it'],
  ['nasm', 'only tests build guest code with it'],
] as const;

function machineCode({ keepsMachineCode }: HostFacts): CheckResult {
  return {
    name: 'machine code',
    level: keepsMachineCode ? 'ok' : 'warning',
    found: keepsMachineCode ? 'kept' : 'not kept',
    meaning: keepsMachineCode
      ? 'a kernel’s later boots take up what V8 has made of its code'
      : 'each boot compiles a kernel’s code again; the Node.js that comes along (npm install --include=optional) has a way to keep it',
    required: false,
  };
}

function optionalTool({ tools }: HostFacts, tool: string, use: string): CheckResult {
  const path = tools[tool];
  return {
    name: `tool: ${tool}`,
    level: path === undefined ? 'warning' : 'ok',
    found: path ?? 'not found',
    meaning: use,
    required: false,
  };
}

export const TOOL_NAMES: readonly string[] = TOOLS.map(([tool]) => tool);
