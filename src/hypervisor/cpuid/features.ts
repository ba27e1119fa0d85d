/**
 * Names of CPUID feature bits, as Linux spells them, and where each is. AMD APM vol. 3, appendix E "Obtaining Processor
 * Information Via the CPUID Instruction"; Intel SDM vol. 2, "CPUID". Only bits that a profile of ours may set are listed.
 */

export const CpuidRegister = { EAX: 0, EBX: 1, ECX: 2, EDX: 3 } as const;
const { EAX, EBX, ECX, EDX } = CpuidRegister;

export interface FeatureBit {
  readonly leaf: number;
  readonly subleaf: number;
  readonly register: number;
  readonly bit: number;
}

function bits<const N extends string>(
  leaf: number,
  register: number,
  names: Readonly<Record<N, number>>,
): Record<N, FeatureBit> {
  const out: Partial<Record<N, FeatureBit>> = {};
  for (const name of Object.keys(names) as N[]) out[name] = { leaf, subleaf: 0, register, bit: names[name] };
  return out as Record<N, FeatureBit>;
}

export const FEATURES = {
  ...bits(1, EDX, {
    fpu: 0,
    vme: 1,
    de: 2,
    pse: 3,
    tsc: 4,
    msr: 5,
    pae: 6,
    cx8: 8,
    apic: 9,
    sep: 11,
    pge: 13,
    cmov: 15,
    pat: 16,
    pse36: 17,
    clflush: 19,
    mmx: 23,
    fxsr: 24,
    sse: 25,
    sse2: 26,
    htt: 28,
  }),
  ...bits(1, ECX, {
    sse3: 0,
    pclmulqdq: 1,
    ssse3: 9,
    fma: 12,
    cx16: 13,
    pcid: 17,
    sse4_1: 19,
    sse4_2: 20,
    x2apic: 21,
    movbe: 22,
    popcnt: 23,
    aes: 25,
    xsave: 26,
    osxsave: 27,
    avx: 28,
    f16c: 29,
    rdrand: 30,
    hypervisor: 31,
  }),
  ...bits(6, EAX, { arat: 2 }),
  ...bits(7, EBX, {
    fsgsbase: 0,
    bmi1: 3,
    avx2: 5,
    smep: 7,
    bmi2: 8,
    erms: 9,
    invpcid: 10,
    rdseed: 18,
    adx: 19,
    smap: 20,
    clflushopt: 23,
    clwb: 24,
    sha: 29,
  }),
  ...bits(7, ECX, { umip: 2, rdpid: 22 }),
  ...bits(7, EDX, { fsrm: 4, serialize: 14 }),
  ...bits(0x80000001, ECX, {
    lahf_lm: 0,
    cmp_legacy: 1,
    cr8_legacy: 4,
    abm: 5,
    prefetchw: 8,
    topoext: 22,
  }),
  ...bits(0x80000001, EDX, { syscall: 11, nx: 20, mmxext: 22, pdpe1gb: 26, rdtscp: 27, lm: 29 }),
  ...bits(0x80000008, EBX, { xsaveerptr: 2, ssb_no: 26, btc_no: 29 }),
  ...bits(0x80000021, EAX, {
    no_nested_data_bp: 0,
    lfence_rdtsc: 2,
    null_sel_clr_base: 6,
    autoibrs: 8,
    no_smm_ctl_msr: 9,
    srso_no: 29,
    srso_user_kernel_no: 30,
  }),
  ...bits(0x80000021, ECX, { tsa_sq_no: 1, tsa_l1_no: 2 }),
} as const;

export type Feature = keyof typeof FEATURES;

/** Leaf 0x80000001 EDX repeats these bits of leaf 1 EDX at the same places on AMD processors. */
export const AMD_MIRRORED: readonly Feature[] = [
  'fpu',
  'vme',
  'de',
  'pse',
  'tsc',
  'msr',
  'pae',
  'cx8',
  'apic',
  'pge',
  'cmov',
  'pat',
  'pse36',
  'mmx',
  'fxsr',
];
