import { describe, expect, it } from 'vitest';
import { Cpuid, type CpuidDynamic } from './cpuid.ts';
import { FEATURES, type Feature } from './features.ts';
import { X86_64_V2 } from './profiles.ts';

const cpu = new Cpuid(X86_64_V2);
const dynamic = (over: Partial<CpuidDynamic> = {}): CpuidDynamic => {
  const processors = over.processors ?? 1;
  return {
    osxsave: false,
    apicId: 0,
    processors,
    hypervisor: { processors, maxProcessors: 64, physicalBits: 40 },
    ...over,
  };
};

function has(feature: Feature, d = dynamic()): boolean {
  const { leaf, subleaf, register, bit } = FEATURES[feature];
  return (((cpu.cpuid(leaf, subleaf, d)[register] as number) >>> bit) & 1) === 1;
}

function text(words: readonly number[]): string {
  return words
    .flatMap((w) => [w & 0xff, (w >>> 8) & 0xff, (w >>> 16) & 0xff, w >>> 24])
    .map((c) => String.fromCharCode(c))
    .join('');
}

describe('identity', () => {
  it('has vendor, family, model and brand', () => {
    const [max, b, c, d] = cpu.cpuid(0, 0, dynamic());
    expect(max).toBe(0xd);
    expect(text([b, d, c])).toBe('AuthenticAMD');
    const eax = cpu.cpuid(1, 0, dynamic())[0];
    const family = ((eax >>> 8) & 15) + ((eax >>> 20) & 0xff);
    const model = ((eax >>> 4) & 15) | (((eax >>> 16) & 15) << 4);
    expect([family, model]).toEqual([0x19, 0x11]);
    expect(cpu.cpuid(0x80000001, 0, dynamic())[0]).toBe(eax);
    const brand = [2, 3, 4].flatMap((n) => [...cpu.cpuid(0x80000000 + n, 0, dynamic())]);
    expect(text(brand).replace(/\0+$/, '')).toBe(X86_64_V2.brand);
    expect(X86_64_V2.brand.length).toBeLessThan(48);
  });

  it('returns zero for leaves it does not have', () => {
    for (const leaf of [2, 4, 0xa, 0xe, 0x10, 0x4000_0100, 0x8000_000a, 0x8000_0022, 0xc000_0000, 0xffff_ffff])
      expect(cpu.cpuid(leaf, 0, dynamic())).toEqual([0, 0, 0, 0]);
    expect(cpu.cpuid(7, 1, dynamic())).toEqual([0, 0, 0, 0]);
  });
});

describe('features', () => {
  it('are at least x86-64-v2 (System V ABI) and what Linux asks of a 64-bit processor', () => {
    const needed: Feature[] = ['fpu', 'msr', 'pae', 'cx8', 'pge', 'fxsr', 'sse', 'sse2', 'cmov', 'lm', 'syscall', 'nx'];
    const v2: Feature[] = ['cx16', 'lahf_lm', 'popcnt', 'sse3', 'sse4_1', 'sse4_2', 'ssse3'];
    for (const feature of [...needed, ...v2]) expect([feature, has(feature)]).toEqual([feature, true]);
  });

  it('leave out what is not implemented', () => {
    for (const feature of ['avx', 'avx2', 'fma', 'aes', 'pclmulqdq', 'bmi1', 'movbe', 'abm'] as Feature[])
      expect([feature, has(feature)]).toEqual([feature, false]);
    const edx = cpu.cpuid(1, 0, dynamic())[3];
    expect(edx & (1 << 7)).toBe(0); // MCE
    expect(edx & (1 << 12)).toBe(0); // MTRR
    expect(edx & (1 << 14)).toBe(0); // MCA
    expect(cpu.cpuid(0x80000001, 0, dynamic())[2] & (1 << 2)).toBe(0); // SVM
    expect(cpu.cpuid(0x80000001, 0, dynamic())[3] & (3 << 30)).toBe(0); // 3DNow!
    expect(cpu.cpuid(0x80000007, 0, dynamic())[3] & (1 << 8)).toBe(0); // invariant TSC
    // IBPB, IBRS, STIBP, SSBD: their MSRs do not exist.
    expect(cpu.cpuid(0x80000008, 0, dynamic())[1] & ((1 << 12) | (1 << 14) | (1 << 15) | (1 << 24))).toBe(0);
  });

  it('follow the processor that asks', () => {
    expect(has('osxsave')).toBe(false);
    expect(has('osxsave', dynamic({ osxsave: true }))).toBe(true);
    expect(has('apic', dynamic({ apicEnabled: false }))).toBe(false);
    expect(cpu.cpuid(0x80000001, 0, dynamic({ apicEnabled: false }))[3] & (1 << 9)).toBe(0);
    expect(has('hypervisor')).toBe(true);
    const bare: CpuidDynamic = { osxsave: false, apicId: 0, processors: 1 };
    expect(has('hypervisor', bare)).toBe(false);
    expect(cpu.cpuid(0x40000000, 0, bare)).toEqual([0, 0, 0, 0]);
  });

  it('repeats leaf 1 in 0x80000001 as AMD does', () => {
    const mirrored = 0x0183f3ff & ~(1 << 7) & ~(1 << 12) & ~(1 << 14);
    const low = cpu.cpuid(1, 0, dynamic())[3];
    const high = cpu.cpuid(0x80000001, 0, dynamic())[3];
    expect(high & mirrored).toBe(low & mirrored);
  });
});

describe('topology, caches, state', () => {
  it('describes one package of single-thread cores', () => {
    const d = dynamic({ processors: 6, apicId: 5 });
    expect(cpu.cpuid(1, 0, d)[1] >>> 16).toBe((5 << 8) | 6);
    expect(has('htt', d)).toBe(true);
    expect(has('cmp_legacy', d)).toBe(true);
    expect(cpu.cpuid(0xb, 0, d)).toEqual([0, 1, 0x100, 5]);
    expect(cpu.cpuid(0xb, 1, d)).toEqual([3, 6, 0x201, 5]);
    expect(cpu.cpuid(0xb, 2, d)).toEqual([0, 0, 2, 5]);
    expect(cpu.cpuid(0x80000008, 0, d)[2]).toBe((3 << 12) | 5);
    expect(cpu.cpuid(0x8000001e, 0, d)).toEqual([5, 5, 0, 0]);
    expect(has('htt', dynamic())).toBe(false);
    expect(cpu.cpuid(0x80000008, 0, dynamic())[2]).toBe(0);
  });

  it('gives the same caches in both forms', () => {
    const d = dynamic({ processors: 2 });
    const sizes = [0, 1, 2, 3].map((n) => {
      const [, b, c] = cpu.cpuid(0x8000001d, n, d);
      return ((b & 0xfff) + 1) * ((b >>> 22) + 1) * (c + 1);
    });
    expect(sizes).toEqual([32768, 32768, 1048576, 33554432]);
    expect(cpu.cpuid(0x8000001d, 4, d)).toEqual([0, 0, 0, 0]);
    expect(cpu.cpuid(0x80000005, 0, d)[2]).toBe(0x20080140);
    expect((cpu.cpuid(0x80000006, 0, d)[2] >>> 16) * 1024).toBe(1048576);
    expect((cpu.cpuid(0x80000006, 0, d)[3] >>> 18) * 512 * 1024).toBe(33554432);
    expect((cpu.cpuid(0x8000001d, 3, d)[0] >>> 14) & 0xfff).toBe(1);
  });

  it('sizes the XSAVE area and the addresses', () => {
    expect(cpu.cpuid(0xd, 0, dynamic())).toEqual([3, 576, 576, 0]);
    expect(cpu.cpuid(0xd, 1, dynamic())).toEqual([0, 0, 0, 0]);
    expect(cpu.cpuid(0x80000008, 0, dynamic())[0]).toBe(0x3028);
  });
});

describe('the Hyper-V leaves', () => {
  it('are those Linux 6.1 needs, without what would mislead it', () => {
    const up = dynamic();
    const smp = dynamic({ processors: 2 });
    expect(text(cpu.cpuid(0x40000000, 0, up).slice(1))).toBe('Microsoft Hv');
    expect(cpu.cpuid(0x40000000, 0, up)[0]).toBeGreaterThanOrEqual(0x40000005);
    expect(text([cpu.cpuid(0x40000001, 0, up)[0]])).toBe('Hv#1');
    expect(cpu.cpuid(0x40000003, 0, up)).toEqual([0x0aff, 0x30, 0, 0x00080500]);
    expect(cpu.cpuid(0x40000003, 0, smp)).toEqual([0x0eff, 0x30, 0, 0x00080500]);
    expect(cpu.cpuid(0x40000004, 0, up).slice(0, 2)).toEqual([0x228, 0xffffffff]);
    expect(cpu.cpuid(0x40000004, 0, smp).slice(0, 2)).toEqual([0xe2c, 0xffffffff]);
    expect(cpu.cpuid(0x40000005, 0, up)[0]).toBe(64);
  });
});
