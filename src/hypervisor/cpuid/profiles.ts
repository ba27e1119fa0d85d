/**
 * Named processor profiles. docs/decisions/0002-cpuid-and-mitigations.md says why each choice was made: family and model,
 * the "not affected" bits, and what is left out.
 */
import type { Feature } from './features.ts';

export interface Cache {
  readonly level: number;
  readonly kind: 'data' | 'instruction' | 'unified';
  readonly bytes: number;
  readonly ways: number;
  /** Shared by all processors of the package, otherwise private to one. */
  readonly shared: boolean;
}

export interface CpuProfile {
  readonly name: string;
  /** Twelve characters. */
  readonly vendor: string;
  readonly family: number;
  readonly model: number;
  readonly stepping: number;
  /** Up to 47 characters. */
  readonly brand: string;
  readonly features: readonly Feature[];
  readonly physicalBits: number;
  readonly linearBits: number;
  readonly lineSize: number;
  readonly caches: readonly Cache[];
  /** State components XCR0 may enable, and the size of the XSAVE area with all of them. */
  readonly xcr0: number;
  readonly xsaveBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

export const X86_64_V2: CpuProfile = {
  name: 'x86-64-v2',
  vendor: 'AuthenticAMD',
  family: 0x19,
  model: 0x11,
  stepping: 0,
  brand: 'Viridian Virtual Processor (x86-64-v2)',
  features: [
    // The x86-64 baseline.
    'fpu',
    'de',
    'pse',
    'tsc',
    'msr',
    'pae',
    'cx8',
    'apic',
    'sep',
    'pge',
    'cmov',
    'pat',
    'pse36',
    'clflush',
    'mmx',
    'fxsr',
    'sse',
    'sse2',
    'syscall',
    'nx',
    'lm',
    // x86-64-v2.
    'sse3',
    'ssse3',
    'sse4_1',
    'sse4_2',
    'cx16',
    'popcnt',
    'lahf_lm',
    // System.
    'pcid',
    'x2apic',
    'xsave',
    'rdrand',
    'rdseed',
    'hypervisor',
    'arat',
    'fsgsbase',
    'smep',
    'smap',
    'invpcid',
    'clflushopt',
    'clwb',
    'pdpe1gb',
    'rdtscp',
    'topoext',
    // Implied by SSE and by long mode.
    'mmxext',
    'prefetchw',
    // REP MOVSB/STOSB are the fastest copy and fill here: whole runs at host speed.
    'erms',
    'fsrm',
    // Linux then serializes without an IRET.
    'serialize',
    // The processor speculates on nothing, and says so.
    'lfence_rdtsc',
    'null_sel_clr_base',
    'no_nested_data_bp',
    'autoibrs',
    'no_smm_ctl_msr',
    'xsaveerptr',
    'ssb_no',
    'btc_no',
    'srso_no',
    'srso_user_kernel_no',
    'tsa_sq_no',
    'tsa_l1_no',
  ],
  physicalBits: 40,
  linearBits: 48,
  lineSize: 64,
  caches: [
    { level: 1, kind: 'data', bytes: 32 * KIB, ways: 8, shared: false },
    { level: 1, kind: 'instruction', bytes: 32 * KIB, ways: 8, shared: false },
    { level: 2, kind: 'unified', bytes: MIB, ways: 8, shared: false },
    { level: 3, kind: 'unified', bytes: 32 * MIB, ways: 16, shared: true },
  ],
  xcr0: 0b11,
  xsaveBytes: 576,
};
