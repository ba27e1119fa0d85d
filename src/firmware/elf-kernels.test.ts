/** The loaders of ELF kernels (PVH, multiboot) and the recognition of files. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { detectKernel, planBoot } from './detect.ts';
import { ascii, concat, elf, multibootElf, multibootHeader, tinyVmlinux, u32, u64 } from './images.fixture.ts';
import { type BootOptions, KernelImageError } from './load-plan.ts';
import { PlannedMemory } from './memory.fixture.ts';
import { parseModuleList } from './multiboot.ts';

const MEMORY = 16 * 1024 * 1024;

function pvh(bits: 32 | 64, description: Uint8Array): Uint8Array {
  const segments = [{ virtual: 0x200000, physical: 0x200000, bytes: ascii('pvh kernel'), memorySize: 0x2000 }];
  return elf({ bits, entry: 0x200000, segments, note: { name: 'Xen', type: 18, description } });
}

describe('PVH', () => {
  it.each([
    [32, u32(0x200004)],
    [64, u32(0x200004)],
    [64, u64(0x200004n)],
  ] as const)('starts an ELF%i kernel in protected mode with hvm_start_info', async (bits, description) => {
    const initrd = ascii('anything');
    const modules = [{ bytes: ascii('second'), commandLine: 'its words' }];
    const options: BootOptions = { memory: MEMORY, commandLine: 'a b', rsdp: 0xe0000, initrd, modules };
    const plan = await planBoot(pvh(bits, description), options);
    const memory = new PlannedMemory(plan, MEMORY);
    expect(plan.kind).toBe('pvh');
    expect(plan.entry).toMatchObject({ mode: 'protected32', rip: 0x200004n, cr0: 0x11n, cr4: 0n, efer: 0n });
    expect(memory.bytes[0x200000 + 10]).toBe(0);
    const info = Number(plan.entry.rbx);
    expect([0, 4, 8, 12].map((at) => memory.u32(info + at))).toEqual([0x336ec578, 1, 0, 2]);
    expect(memory.text(memory.u64(info + 24))).toBe('a b');
    expect(memory.u64(info + 32)).toBe(0xe0000);
    const list = memory.u64(info + 16);
    const module = (i: number) => ({
      bytes: memory.slice(memory.u64(list + i * 32), memory.u64(list + i * 32 + 8)),
      commandLine: memory.text(memory.u64(list + i * 32 + 16)),
    });
    expect(module(0)).toEqual({ bytes: initrd, commandLine: '' });
    expect(module(1)).toEqual(modules[0]);
    const map = memory.u64(info + 40);
    expect(memory.u32(info + 48)).toBe(3);
    expect([map, map + 24, map + 48].map((at) => [memory.u64(at), memory.u64(at + 8), memory.u32(at + 16)])).toEqual([
      [0, 0x9fc00, 1],
      [0x9fc00, 0x60400, 2],
      [0x100000, MEMORY - 0x100000, 1],
    ]);
  });

  it.each<[string, Uint8Array, Partial<BootOptions>, RegExp]>([
    ['no note', tinyVmlinux(), {}, /neither a PVH entry note nor a multiboot header/],
    ['a malformed note', pvh(64, ascii('abc')), {}, /malformed PVH note/],
    ['an empty RAM disk', pvh(64, u32(0x200000)), { initrd: new Uint8Array(0) }, /RAM disk is empty/],
    [
      'little memory',
      pvh(64, u32(0x200000)),
      { memory: 2 ** 20 },
      /needs at least 3 MiB of memory, the partition has 1 MiB/,
    ],
  ])('says what is wrong: %s', async (_, image, options, message) => {
    await expect(planBoot(image, { memory: MEMORY, ...options })).rejects.toThrow(message);
  });
});

describe('multiboot', () => {
  /** What a kernel finds in its information. */
  function read(plan: Awaited<ReturnType<typeof planBoot>>, memory: PlannedMemory) {
    const info = Number(plan.entry.rbx);
    const count = memory.u32(info + 20);
    return {
      flags: memory.u32(info),
      lower: memory.u32(info + 4),
      upper: memory.u32(info + 8),
      commandLine: memory.text(memory.u32(info + 16)),
      modules: Array.from({ length: count }, (_, i) => {
        const at = memory.u32(info + 24) + i * 16;
        const start = memory.u32(at);
        expect(start % 4096).toBe(0);
        const bytes = memory.slice(start, memory.u32(at + 4) - start);
        return [new TextDecoder().decode(bytes), memory.text(memory.u32(at + 8))];
      }),
      map: Array.from({ length: memory.u32(info + 44) / 24 }, (_, i) => {
        const at = memory.u32(info + 48) + i * 24;
        return [memory.u32(at), memory.u64(at + 4), memory.u64(at + 12), memory.u32(at + 20)];
      }),
    };
  }

  async function boot(image: Uint8Array, options: Partial<BootOptions> = {}) {
    const plan = await planBoot(image, { memory: MEMORY, ...options });
    const memory = new PlannedMemory(plan, MEMORY);
    return { plan, memory, info: read(plan, memory) };
  }

  it('starts an ELF32 kernel with its information', async () => {
    const modules = [
      { bytes: ascii('one'), commandLine: 'one a b' },
      { bytes: ascii('two'), commandLine: 'two' },
    ];
    const { plan, memory, info } = await boot(multibootElf(3), { fileName: 'dir/k', commandLine: 'x y', modules });
    expect(plan.kind).toBe('multiboot');
    expect(plan.entry).toMatchObject({ mode: 'protected32', rip: 0x40000cn, rax: 0x2badb002n, cr0: 0x11n });
    expect(plan.entry.cs.attributes).toBe(0xc09b);
    // A kernel that goes to real mode has its interrupt vectors.
    expect(plan.entry.idtr).toEqual({ base: 0n, limit: 0x3ff });
    expect(memory.bytes[0x40000c]).toBe(0xf4);
    expect(memory.slice(0x40000f, 0x4ff1).every((byte) => byte === 0)).toBe(true);
    expect(info).toEqual({
      flags: 0x24d,
      lower: 639,
      upper: 15 * 1024,
      commandLine: 'dir/k x y',
      modules: [
        ['one', 'one a b'],
        ['two', 'two'],
      ],
      map: [
        [20, 0, 0x9fc00, 1],
        [20, 0x9fc00, 0x60400, 2],
        [20, 0x100000, MEMORY - 0x100000, 1],
      ],
    });
  });

  it('starts a kernel that gives its addresses in the header', async () => {
    const code = ascii('machine code');
    const header = multibootHeader(1 << 16, 0x100010, 0x100000, 0x10003c, 0x100100, 0x100030);
    const image = concat(ascii('sixteen bytes...'), header, code, ascii('not loaded'));
    const { plan, memory } = await boot(image);
    expect(plan.entry.rip).toBe(0x100030n);
    expect(memory.slice(0x100000, 0x3c)).toEqual(image.subarray(0, 0x3c));
    expect(memory.slice(0x10003c, 0xc4).every((byte) => byte === 0)).toBe(true);
    expect(memory.bytes[0x100100]).toBe(0xa5);
  });

  it('adds the environment that test kernels read, where no file name stands in front', async () => {
    const testEnvironment = { processors: 2, memoryMiB: 128 };
    const options = { testEnvironment, fileName: 'k', commandLine: 'arg', commandLineWithoutFileName: true };
    const { info } = await boot(multibootElf(), options);
    expect(info.commandLine).toBe('arg');
    expect(info.modules).toEqual([['NR_CPUS=2\nMEMSIZE=128\nBOOTLOADER=1\n', 'environment']]);
    const withFile = await boot(multibootElf(), { testEnvironment, fileName: 'k', initrd: ascii('A=1\nNR_CPUS=7') });
    expect(withFile.info.commandLine).toBe('k');
    expect(withFile.info.modules).toEqual([['A=1\nNR_CPUS=7\nNR_CPUS=2\nMEMSIZE=128\n', '']]);
    const other = await boot(multibootElf(), { testEnvironment, initrd: Uint8Array.of(0x7f, 0x45, 0x00) });
    expect(other.info.modules).toHaveLength(2);
  });

  it('puts its information out of the way of a kernel in low memory', async () => {
    const bytes = concat(multibootHeader(0), new Uint8Array(0x20000));
    const low = elf({ bits: 32, entry: 0x4010, segments: [{ virtual: 0x4000, physical: 0x4000, bytes }] });
    const { plan } = await boot(low);
    expect(Number(plan.entry.rbx)).toBeGreaterThan(0x2400c);
  });

  it('translates a virtual entry point', async () => {
    const bytes = concat(multibootHeader(0), [0xf4]);
    const high = elf({ bits: 32, entry: 0xc010000c, segments: [{ virtual: 0xc0100000, physical: 0x100000, bytes }] });
    expect((await boot(high)).plan.entry.rip).toBe(0x10000cn);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['an unknown requirement', multibootElf(1 << 5), /requires unknown features 0x20/],
    [
      'no ELF and no addresses',
      concat(multibootHeader(0), new Uint8Array(100)),
      /no ELF file and gives no load addresses/,
    ],
    ['truncated by its addresses', multibootHeader(1 << 16, 0x100000, 0x100000, 0x200000, 0, 0x100000), /truncated/],
    ['impossible addresses', multibootHeader(1 << 16, 0x100000, 0x200000, 0x300000, 0, 0x100000), /impossible/],
    ['a truncated ELF file', multibootElf().subarray(0, 96), /truncated/],
    [
      'a place that is no RAM',
      elf({ bits: 32, entry: 0xa0000, segments: [{ virtual: 0, physical: 0xa0000, bytes: multibootHeader(0) }] }),
      /entry point 0xa0000|reserved area below 1 MiB/,
    ],
  ])('says what is wrong: %s', async (_, image, message) => {
    const error = await planBoot(image, { memory: MEMORY }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(KernelImageError);
    expect((error as Error).message).toMatch(message);
  });

  it('reads a list of modules as QEMU does', () => {
    expect(parseModuleList('a x y,b')).toEqual([
      { file: 'a', commandLine: 'a x y' },
      { file: 'b', commandLine: 'b' },
    ]);
    expect(parseModuleList('a,,b c')).toEqual([{ file: 'a,b', commandLine: 'a,b c' }]);
    expect(parseModuleList('')).toEqual([]);
  });
});

describe('recognition', () => {
  it.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(0), /empty/],
    ['a short file', ascii('hello'), /only 5 bytes/],
    ['a RAM disk', concat(ascii('070701'), new Uint8Array(1000)), /cpio archive/],
    ['a compressed file', concat([0x1f, 0x8b], new Uint8Array(1000)), /compressed file/],
    ['an EFI program', concat(ascii('MZ'), new Uint8Array(1000)), /EFI or DOS program/],
    ['a Debian package', concat(ascii('!<arch>\n'), new Uint8Array(1000)), /Debian package/],
    ['zeros', new Uint8Array(1000), /not a Linux bzImage/],
    [
      'a 64-bit ELF for another processor',
      Uint8Array.from(tinyVmlinux(), (byte, i) => (i === 18 ? 183 : byte)),
      /another processor/,
    ],
    ['a shared object', Uint8Array.from(tinyVmlinux(), (byte, i) => (i === 16 ? 3 : byte)), /not an executable/],
  ])('refuses %s', (_, image, message) => {
    expect(() => detectKernel(image)).toThrow(message);
    expect(() => detectKernel(image)).toThrow(KernelImageError);
  });

  it('throws KernelImageError only, on random and on damaged files', async () => {
    const seeds = [
      multibootElf(),
      pvh(64, u64(0x200004n)),
      pvh(32, u32(0x200004)),
      multibootHeader(1 << 16, 0x100000, 0x100000, 0x100020, 0x100100, 0x100010),
    ];
    const damaged = fc
      .tuple(
        fc.constantFrom(...seeds),
        fc.nat(),
        fc.boolean(),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }),
      )
      .map(([seed, length, cut, changes]) => {
        const image = seed.slice();
        for (const [at, byte] of changes) image[at % image.length] = byte;
        return cut ? image.subarray(0, length % (image.length + 1)) : image;
      });
    await fc.assert(
      fc.asyncProperty(fc.oneof(damaged, fc.uint8Array({ maxLength: 3000 })), async (image) => {
        const result = await planBoot(image, { memory: MEMORY }).catch((e: unknown) => e);
        if (result instanceof Error) expect(result).toBeInstanceOf(KernelImageError);
        else new PlannedMemory(result as Awaited<ReturnType<typeof planBoot>>, MEMORY);
      }),
      { numRuns: 400 },
    );
  });
});
