// What the host's processor has, from the CPUID leaves in the native processor's greeting (written by start.inc).
// Bits and names: Intel SDM volume 2, CPUID; the AMD-only ones: AMD64 APM volume 3, appendix E.

const MAGIC = 0x54414e56; // 'VNAT'
const VERSION = 1;
const HEADER_SIZE = 32;
const LEAF_SIZE = 24;

type Register = 'eax' | 'ebx' | 'ecx' | 'edx';

export interface Leaf {
  readonly leaf: number;
  readonly subleaf: number;
  readonly eax: number;
  readonly ebx: number;
  readonly ecx: number;
  readonly edx: number;
}

export interface Capabilities {
  /** CPUID leaf 0, for example GenuineIntel. */
  readonly vendor: string;
  readonly brand: string;
  /** Names of FEATURES whose bit is set. An instruction form that needs another one has to be skipped. */
  readonly features: ReadonlySet<string>;
  /** Whether 32-bit and 16-bit cases can run: the kernel gives out local descriptor tables. */
  readonly compatibilityMode: boolean;
  /** MXCSR bits that may be set. */
  readonly mxcsrMask: number;
  /** State components the kernel enabled (XCR0, low half); 0 without OSXSAVE. */
  readonly xcr0: number;
  /** The raw leaves (u32 values). */
  readonly leaves: readonly Leaf[];
}

/** Feature bits by leaf, subleaf and register: [bit, name]. */
const FEATURES: readonly (readonly [number, number, Register, readonly (readonly [number, string])[]])[] = [
  [
    1,
    0,
    'ecx',
    [
      [0, 'sse3'],
      [1, 'pclmulqdq'],
      [9, 'ssse3'],
      [12, 'fma'],
      [13, 'cmpxchg16b'],
      [19, 'sse4.1'],
      [20, 'sse4.2'],
      [22, 'movbe'],
      [23, 'popcnt'],
      [25, 'aes'],
      [26, 'xsave'],
      [27, 'osxsave'],
      [28, 'avx'],
      [29, 'f16c'],
      [30, 'rdrand'],
      [31, 'hypervisor'],
    ],
  ],
  [
    1,
    0,
    'edx',
    [
      [0, 'fpu'],
      [4, 'tsc'],
      [8, 'cmpxchg8b'],
      [11, 'sep'],
      [15, 'cmov'],
      [19, 'clflush'],
      [23, 'mmx'],
      [24, 'fxsr'],
      [25, 'sse'],
      [26, 'sse2'],
    ],
  ],
  [
    7,
    0,
    'ebx',
    [
      [0, 'fsgsbase'],
      [3, 'bmi1'],
      [4, 'hle'],
      [5, 'avx2'],
      // Set: FDP is stored for x87 exceptions only. Set: FCS and FDS are always stored as 0.
      [6, 'fdp-exceptions-only'],
      [13, 'no-fcs-fds'],
      [8, 'bmi2'],
      [9, 'erms'],
      [11, 'rtm'],
      [16, 'avx512f'],
      [18, 'rdseed'],
      [19, 'adx'],
      [23, 'clflushopt'],
      [24, 'clwb'],
      [29, 'sha'],
    ],
  ],
  [
    7,
    0,
    'ecx',
    [
      [1, 'avx512vbmi'],
      [2, 'umip'],
      [4, 'ospke'],
      [5, 'waitpkg'],
      [8, 'gfni'],
      [9, 'vaes'],
      [10, 'vpclmulqdq'],
      [22, 'rdpid'],
      [27, 'movdiri'],
      [28, 'movdir64b'],
    ],
  ],
  [
    7,
    0,
    'edx',
    [
      [4, 'fsrm'],
      [14, 'serialize'],
      [16, 'tsxldtrk'],
      [24, 'amx-tile'],
    ],
  ],
  [
    13,
    1,
    'eax',
    [
      [0, 'xsaveopt'],
      [1, 'xsavec'],
      [2, 'xgetbv1'],
      [3, 'xsaves'],
    ],
  ],
  [
    0x80000001,
    0,
    'ecx',
    [
      [0, 'lahf'],
      [5, 'lzcnt'],
      [6, 'sse4a'],
      [7, 'misalignsse'],
      [8, 'prefetchw'],
      [11, 'xop'],
      [16, 'fma4'],
      [21, 'tbm'],
    ],
  ],
  [
    0x80000001,
    0,
    'edx',
    [
      [11, 'syscall'],
      [20, 'nx'],
      [22, 'mmxext'],
      [25, 'fxsr-opt'],
      [26, 'pdpe1gb'],
      [27, 'rdtscp'],
      [29, 'lm'],
      [30, '3dnowext'],
      [31, '3dnow'],
    ],
  ],
  [
    0x80000008,
    0,
    'ebx',
    [
      [0, 'clzero'],
      // AMD: the x87 error pointers are always stored and restored.
      [2, 'x87-error-pointers'],
    ],
  ],
];

/** Bytes of the greeting that `bytes` begins with, or 0 while its head is not complete. */
export function greetingLength(bytes: Uint8Array): number {
  if (bytes.length < HEADER_SIZE) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0, true) !== MAGIC || view.getUint32(4, true) !== VERSION) {
    throw new Error('the native processor does not speak this protocol: run tests/oracle/native/assemble.ts');
  }
  return HEADER_SIZE + view.getUint32(12, true) * LEAF_SIZE;
}

export function decodeGreeting(bytes: Uint8Array): Capabilities {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const leaves: Leaf[] = [];
  for (let at = HEADER_SIZE; at < greetingLength(bytes); at += LEAF_SIZE) {
    const word = (index: number) => view.getUint32(at + index * 4, true);
    leaves.push({ leaf: word(0), subleaf: word(1), eax: word(2), ebx: word(3), ecx: word(4), edx: word(5) });
  }
  const find = (leaf: number, subleaf: number) => leaves.find((l) => l.leaf === leaf && l.subleaf === subleaf);
  const exists = (leaf: number) => leaf <= (find(leaf >= 0x80000000 ? 0x80000000 : 0, 0)?.eax ?? 0);
  const features = new Set<string>();
  for (const [leaf, subleaf, register, bits] of FEATURES) {
    const value = exists(leaf) ? (find(leaf, subleaf)?.[register] ?? 0) : 0;
    for (const [bit, name] of bits) if ((value >>> bit) & 1) features.add(name);
  }
  const first = find(0, 0);
  const brand = [0x80000002, 0x80000003, 0x80000004].flatMap((leaf) => {
    const l = exists(leaf) ? find(leaf, 0) : undefined;
    return l ? [l.eax, l.ebx, l.ecx, l.edx] : [];
  });
  return {
    vendor: first ? text([first.ebx, first.edx, first.ecx]) : '',
    brand: text(brand).trim(),
    features,
    compatibilityMode: view.getUint32(8, true) === 1,
    // An FXSAVE area that says 0 means the default of SDM volume 1, 11.6.6.
    mxcsrMask: view.getUint32(16, true) || 0xffbf,
    xcr0: view.getUint32(24, true),
    leaves,
  };
}

function text(words: readonly number[]): string {
  return new TextDecoder('latin1').decode(new Uint8Array(Uint32Array.from(words).buffer)).replaceAll('\0', '');
}
