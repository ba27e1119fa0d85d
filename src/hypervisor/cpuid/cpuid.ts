/**
 * The CPUID instruction: a profile's static leaves plus what depends on the processor that asks. AMD APM vol. 3,
 * appendix E; hypervisor leaves 0x40000000.. come from tlfs/cpuid.ts. Leaves that do not exist read zero, as on AMD.
 */
import { HYPERVISOR_CPUID_BASE, type HypervisorCpuidOptions, hypervisorCpuid } from '../tlfs/cpuid.ts';
import { AMD_MIRRORED, CpuidRegister, FEATURES, type Feature } from './features.ts';
import type { Cache, CpuProfile } from './profiles.ts';

/** EAX, EBX, ECX, EDX, unsigned. */
export type CpuidResult = readonly [eax: number, ebx: number, ecx: number, edx: number];

/** What CPUID reads from the processor that executes it. */
export interface CpuidDynamic {
  /** CR4.OSXSAVE. */
  readonly osxsave: boolean;
  /** IA32_APIC_BASE.EN; default true. */
  readonly apicEnabled?: boolean;
  readonly apicId: number;
  /** Virtual processors in the partition; all are cores of one package, one thread each. */
  readonly processors: number;
  /** Absent: no hypervisor leaves and no hypervisor bit. */
  readonly hypervisor?: HypervisorCpuidOptions;
}

const ZERO: CpuidResult = [0, 0, 0, 0];
const MAX_BASIC = 0xd;
const MAX_EXTENDED = 0x80000021;

/** A profile, ready to answer. Holds no state. */
export class Cpuid {
  readonly profile: CpuProfile;
  /** Feature words by `leaf:register`. */
  readonly #words = new Map<string, number>();

  constructor(profile: CpuProfile) {
    this.profile = profile;
    for (const name of profile.features) {
      const { leaf, register, bit } = FEATURES[name];
      this.#set(leaf, register, bit);
      if (AMD_MIRRORED.includes(name)) this.#set(0x80000001, CpuidRegister.EDX, bit);
    }
  }

  #set(leaf: number, register: number, bit: number): void {
    this.#words.set(`${leaf}:${register}`, (this.#word(leaf, register) | (1 << bit)) >>> 0);
  }

  #word(leaf: number, register: number): number {
    return this.#words.get(`${leaf}:${register}`) ?? 0;
  }

  has(feature: Feature): boolean {
    return this.profile.features.includes(feature);
  }

  cpuid(leaf: number, subleaf: number, dynamic: CpuidDynamic): CpuidResult {
    if (leaf >= HYPERVISOR_CPUID_BASE && leaf <= HYPERVISOR_CPUID_BASE + 0xff)
      return dynamic.hypervisor ? hypervisorCpuid(leaf, dynamic.hypervisor) : ZERO;
    const [eax, ebx, ecx, edx] = this.#leaf(leaf, subleaf, dynamic);
    return [eax >>> 0, ebx >>> 0, ecx >>> 0, edx >>> 0];
  }

  #leaf(leaf: number, subleaf: number, dynamic: CpuidDynamic): CpuidResult {
    const { profile } = this;
    const word = (register: number) => this.#word(leaf, register);
    const { EAX, EBX, ECX, EDX } = CpuidRegister;
    switch (leaf) {
      case 0:
      case 0x80000000: {
        const [b, d, c] = [0, 4, 8].map((at) => ascii(profile.vendor, at)) as [number, number, number];
        return [leaf === 0 ? MAX_BASIC : MAX_EXTENDED, b, c, d];
      }
      case 1:
        return this.#leaf1(dynamic);
      case 6:
        return [word(EAX), 0, 0, 0];
      case 7:
        return subleaf === 0 ? [0, word(EBX), word(ECX), word(EDX)] : ZERO;
      case 0xb:
        return topology(subleaf, dynamic);
      case 0xd:
        return this.#xsave(subleaf);
      case 0x80000001: {
        const cmpLegacy = dynamic.processors > 1 ? bitOf('cmp_legacy') : 0;
        const edxMask = dynamic.apicEnabled === false ? ~bitOf('apic') : -1;
        return [signature(profile), 0, word(ECX) | cmpLegacy, word(EDX) & edxMask];
      }
      case 0x80000002:
      case 0x80000003:
      case 0x80000004: {
        const at = (leaf - 0x80000002) * 16;
        return [0, 4, 8, 12].map((i) => ascii(profile.brand, at + i)) as unknown as CpuidResult;
      }
      case 0x80000005:
        return this.#level1();
      case 0x80000006:
        return this.#level2And3();
      case 0x80000007:
        // Invariant TSC (EDX bit 8) is clear: the reference TSC page is the clock, so a restore may change the scale.
        return ZERO;
      case 0x80000008: {
        const idBits = Math.ceil(Math.log2(dynamic.processors));
        const eax = profile.physicalBits | (profile.linearBits << 8);
        return [eax, word(EBX), ((dynamic.processors - 1) & 0xff) | (idBits << 12), 0];
      }
      case 0x8000001d:
        return cacheLeaf(profile, subleaf, dynamic.processors);
      case 0x8000001e:
        // Extended APIC ID; core ID with one thread per core; node 0 of 1.
        return this.has('topoext') ? [dynamic.apicId, dynamic.apicId & 0xff, 0, 0] : ZERO;
      case 0x80000021:
        return [word(EAX), 0, word(ECX), 0];
      default:
        return ZERO;
    }
  }

  #leaf1(dynamic: CpuidDynamic): CpuidResult {
    const { ECX, EDX } = CpuidRegister;
    const { processors } = dynamic;
    let ecx = this.#word(1, ECX);
    let edx = this.#word(1, EDX);
    if (dynamic.osxsave) ecx |= bitOf('osxsave');
    if (!dynamic.hypervisor) ecx &= ~bitOf('hypervisor');
    if (dynamic.apicEnabled === false) edx &= ~bitOf('apic');
    if (processors > 1) edx |= bitOf('htt');
    const ebx =
      ((dynamic.apicId & 0xff) << 24) | (Math.min(processors, 255) << 16) | ((this.profile.lineSize / 8) << 8);
    return [signature(this.profile), ebx, ecx, edx];
  }

  /** x87 and SSE live in the legacy region: no leaf beyond 1, and the size is the same whatever XCR0 enables. */
  #xsave(subleaf: number): CpuidResult {
    if (!this.has('xsave') || subleaf !== 0) return ZERO;
    return [this.profile.xcr0, this.profile.xsaveBytes, this.profile.xsaveBytes, 0];
  }

  /** L1 TLBs (64 entries, fully associative) and caches. */
  #level1(): CpuidResult {
    const describe = (kind: Cache['kind']) => {
      const cache = this.profile.caches.find((c) => c.level === 1 && c.kind === kind);
      return cache ? ((cache.bytes / 1024) << 24) | (cache.ways << 16) | (1 << 8) | this.profile.lineSize : 0;
    };
    return [0xff40ff40, 0xff40ff40, describe('data'), describe('instruction')];
  }

  #level2And3(): CpuidResult {
    const { lineSize, caches } = this.profile;
    const l2 = caches.find((c) => c.level === 2);
    const l3 = caches.find((c) => c.level === 3);
    const ecx = l2 ? ((l2.bytes / 1024) << 16) | (associativity(l2.ways) << 12) | (1 << 8) | lineSize : 0;
    const edx = l3 ? ((l3.bytes / (512 * 1024)) << 18) | (associativity(l3.ways) << 12) | (1 << 8) | lineSize : 0;
    // L2 TLBs: 512 entries, 4-way, for 2 MiB and for 4 KiB pages.
    return [0x42004200, 0x42004200, ecx, edx];
  }
}

function bitOf(feature: Feature): number {
  return 1 << FEATURES[feature].bit;
}

/** Four characters as a little-endian word, zero past the end. */
function ascii(text: string, at: number): number {
  let word = 0;
  for (let i = 0; i < 4; i++) word |= (at + i < text.length ? text.charCodeAt(at + i) : 0) << (i * 8);
  return word;
}

/** Families above 15 are 15 plus the extended family. */
function signature({ family, model, stepping }: CpuProfile): number {
  const base = Math.min(family, 15);
  return ((family - base) << 20) | ((model >>> 4) << 16) | (base << 8) | ((model & 15) << 4) | stepping;
}

/** The associativity code of leaf 0x80000006. */
function associativity(ways: number): number {
  const codes: Readonly<Record<number, number>> = { 1: 1, 2: 2, 4: 4, 8: 6, 16: 8, 32: 10, 48: 11, 64: 12 };
  return codes[ways] ?? 15;
}

/** Leaf 0xB, extended topology: level 0 is one thread per core, level 1 the cores of the package. */
function topology(subleaf: number, { apicId, processors }: CpuidDynamic): CpuidResult {
  const coreBits = Math.ceil(Math.log2(processors));
  if (subleaf === 0) return [0, 1, 0x100, apicId];
  if (subleaf === 1) return [coreBits, processors, 0x201, apicId];
  return [0, 0, subleaf & 0xff, apicId];
}

function cacheLeaf({ caches, lineSize }: CpuProfile, subleaf: number, processors: number): CpuidResult {
  const cache = caches[subleaf];
  if (!cache) return ZERO;
  const kind = { data: 1, instruction: 2, unified: 3 }[cache.kind];
  const sharing = cache.shared ? processors : 1;
  const sets = cache.bytes / (lineSize * cache.ways);
  return [
    kind | (cache.level << 5) | (1 << 8) | ((sharing - 1) << 14),
    (lineSize - 1) | ((cache.ways - 1) << 22),
    sets - 1,
    0,
  ];
}
