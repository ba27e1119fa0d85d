import { spawnSync } from 'node:child_process';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeCodecs } from '../host/node/codecs.ts';
import { encodeLz4Legacy } from '../support/codec/lz4-encoder.fixture.ts';
import { planBoot } from './detect.ts';
import { ascii, BZIMAGE_INIT_SIZE, bzImage, concat, tinyVmlinux, u32 } from './images.fixture.ts';
import { type BootOptions, KernelImageError } from './load-plan.ts';
import { PlannedMemory } from './memory.fixture.ts';

const MEMORY = 64 * 1024 * 1024;
const OPTIONS: BootOptions = { memory: MEMORY, commandLine: 'console=ttyS0', rsdp: 0xe0000, codecs: nodeCodecs };
const INITRD = ascii('070701 not really an archive');

const KERNEL = tinyVmlinux();
const SIZE = u32(KERNEL.length);
const LZ4 = bzImage({ payload: concat(encodeLz4Legacy(KERNEL), SIZE) });
const haveXz = spawnSync('xz', ['--version']).status === 0;

function xz(): Uint8Array {
  return spawnSync('xz', ['-c', '--check=crc32', '--x86', '--lzma2'], { input: KERNEL }).stdout;
}

describe('bzImage', () => {
  const payloads: Record<string, (() => Uint8Array) | undefined> = {
    lz4: () => concat(encodeLz4Legacy(KERNEL), SIZE),
    gzip: () => gzipSync(KERNEL),
    zstd: () => concat(zstdCompressSync(KERNEL), SIZE),
    xz: haveXz ? () => concat(xz(), SIZE) : undefined,
    none: () => KERNEL,
  };
  for (const [compression, payload] of Object.entries(payloads))
    it.skipIf(payload === undefined)(
      `enters the unpacked kernel: ${compression} (xz needs the xz command)`,
      async () => {
        const image = bzImage({ payload: (payload as () => Uint8Array)() });
        const plan = await planBoot(image, OPTIONS);
        const memory = new PlannedMemory(plan, MEMORY);
        expect(plan.kind).toBe('bzImage');
        expect(plan.notes.join()).toContain(`payload ${compression},`);
        expect(plan.entry).toMatchObject({ mode: 'long64', rip: 0x1000000n, rsi: 0x7000n, rflags: 2n });
        expect(memory.text(0x1000000)).toMatch(/^(text of a tiny kernel ){20}/);
        expect(memory.slice(0x1200000, 5)).toEqual(ascii('data\0'));
        expect(memory.slice(0x1200004, 0x2ffc).every((byte) => byte === 0)).toBe(true);
      },
    );

  it('fills boot_params', async () => {
    const plan = await planBoot(LZ4, { ...OPTIONS, initrd: INITRD });
    const memory = new PlannedMemory(plan, MEMORY);
    const page = 0x7000;
    expect(memory.bytes[page + 0x1ef]).toBe(0); // the sentinel that says boot_params is not garbage
    expect(memory.slice(page + 0x202, 4)).toEqual(ascii('HdrS'));
    expect(memory.view.getUint16(page + 0x206, true)).toBe(0x20f);
    expect(memory.bytes[page + 0x210]).toBe(0xff);
    expect(memory.text(memory.u32(page + 0x228))).toBe('console=ttyS0');
    expect(memory.u64(page + 0x70)).toBe(0xe0000);
    const initrd = memory.u32(page + 0x218);
    expect(initrd % 4096).toBe(0);
    expect(initrd + memory.u32(page + 0x21c)).toBeGreaterThan(MEMORY - 4096);
    expect(memory.slice(initrd, memory.u32(page + 0x21c))).toEqual(INITRD);
    expect([0xc0, 0xc4, 0xc8].map((at) => memory.u32(page + at))).toEqual([0, 0, 0]);
    expect(memory.bytes[page + 0x1e8]).toBe(3);
    const map = [0, 1, 2].map((i) => {
      const at = page + 0x2d0 + i * 20;
      return [memory.u64(at), memory.u64(at + 8), memory.u32(at + 16)];
    });
    expect(map).toEqual([
      [0, 0x9fc00, 1],
      [0x9fc00, 0x60400, 2],
      [0x100000, MEMORY - 0x100000, 1],
    ]);
  });

  it('starts in 64-bit mode on an identity map of 4 GiB', async () => {
    const plan = await planBoot(LZ4, OPTIONS);
    const memory = new PlannedMemory(plan, MEMORY);
    const { entry } = plan;
    expect(entry).toMatchObject({ cr0: 0x80000011n, cr4: 0x20n, efer: 0x500n });
    for (const address of [0, 0x7000, 0x1000000, 0x12345678, 0xfee00000, 0xffffffff]) {
      const pml4e = memory.u64(Number(entry.cr3));
      const pdpte = memory.u64((pml4e & ~0xfff) + Math.floor(address / 2 ** 30) * 8);
      const pde = memory.view.getBigUint64((pdpte & ~0xfff) + (Math.floor(address / 2 ** 21) % 512) * 8, true);
      expect(pml4e & 3).toBe(3);
      expect(pdpte & 3).toBe(3);
      expect(pde & 0x83n).toBe(0x83n);
      expect(pde & ~0xfffn).toBe(BigInt(address - (address % 2 ** 21)));
    }
    // The descriptors in memory say what the segment registers hold: base 0, 64-bit code at 0x10, data at 0x18.
    expect(entry.gdtr).toEqual({ base: 0x500n, limit: 47 });
    expect(memory.view.getBigUint64(0x510, true)).toBe(0x00af9b000000ffffn);
    expect(memory.view.getBigUint64(0x518, true)).toBe(0x00cf93000000ffffn);
    expect(entry.cs).toEqual({ selector: 0x10, base: 0n, limit: 0xffffffff, attributes: 0xa09b });
    expect(entry.ss).toEqual({ selector: 0x18, base: 0n, limit: 0xffffffff, attributes: 0xc093 });
  });

  it('keeps the initial RAM disk where the kernel can reach it', async () => {
    const image = bzImage({ payload: KERNEL, initrdAddressMaximum: 0x1ffffff });
    const plan = await planBoot(image, { ...OPTIONS, initrd: INITRD });
    expect(plan.reserved.find(({ purpose }) => purpose === 'initial RAM disk')?.first).toBe(0x1fff000);
  });

  it.each([
    ['an unknown format', concat(ascii('BZh9 something'), SIZE)],
    ['a damaged payload', concat(encodeLz4Legacy(KERNEL).subarray(0, -20), SIZE)],
    ['a payload that is no ELF file', concat(encodeLz4Legacy(ascii('x'.repeat(100))), u32(100))],
  ])("leaves %s to the kernel's own decompressor", async (_, payload) => {
    const image = bzImage({ payload });
    const plan = await planBoot(image, OPTIONS);
    expect(plan.entry).toMatchObject({ mode: 'long64', rip: 0x1000200n, rsi: 0x7000n });
    expect(plan.reserved).toContainEqual({ first: 0x1000000, size: BZIMAGE_INIT_SIZE, purpose: 'kernel' });
    const memory = new PlannedMemory(plan, MEMORY);
    expect(memory.slice(0x1000000, image.length - 1536)).toEqual(image.subarray(1536));
  });

  it('takes the payload from the cache, and survives a cache that fails or lies', async () => {
    const kept = new Map<string, Uint8Array>();
    const cache = {
      get: async (key: string) => kept.get(key),
      put: async (key: string, bytes: Uint8Array) => void kept.set(key, bytes),
    };
    await planBoot(LZ4, { ...OPTIONS, cache });
    expect([...kept.keys()]).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
    const notes = async (options: BootOptions): Promise<string> => (await planBoot(LZ4, options)).notes.join();
    expect(await notes({ ...OPTIONS, cache })).toContain('from the cache');
    for (const key of kept.keys()) kept.set(key, ascii('truncated'));
    expect(await notes({ ...OPTIONS, cache })).toContain('unpacked on the host');
    const broken = { get: () => Promise.reject(new Error('disk')), put: () => Promise.reject(new Error('disk')) };
    expect(await notes({ ...OPTIONS, cache: broken })).toContain('unpacked on the host');
  });

  it.each<[string, Uint8Array, Partial<BootOptions>, RegExp]>([
    ['32-bit only', bzImage({ payload: KERNEL, xloadflags: 0 }), {}, /32-bit only/],
    ['too old', bzImage({ payload: KERNEL, version: 0x20a }), {}, /boot protocol 2\.10; 2\.12/],
    ['truncated', LZ4.subarray(0, LZ4.length - 20), {}, /truncated: \d+ bytes, its header says \d+/],
    [
      'little memory',
      LZ4,
      { memory: 1024 * 1024 },
      /the kernel needs at least 19 MiB of memory, the partition has 1 MiB/,
    ],
    [
      'no room beside it',
      LZ4,
      { memory: 19 * 1024 * 1024, initrd: concat(INITRD, new Uint8Array(2 ** 20)) },
      /needs at least 20 MiB/,
    ],
    ['no memory', LZ4, { memory: 0 }, /no memory/],
    ['too much memory', LZ4, { memory: 2 ** 32 }, /at most 3968 MiB/],
    ['an empty RAM disk', LZ4, { initrd: new Uint8Array(0) }, /RAM disk is empty/],
    ['a strange RAM disk', LZ4, { initrd: ascii('hello') }, /neither a cpio archive/],
    [
      'a RAM disk out of reach',
      bzImage({ payload: KERNEL, initrdAddressMaximum: 0x1000 }),
      { initrd: INITRD },
      /does not fit/,
    ],
    ['a long command line', LZ4, { commandLine: 'x'.repeat(2048) }, /2048 bytes, this kernel takes 2047/],
    ['a NUL in the command line', LZ4, { commandLine: 'a\0b' }, /NUL/],
  ])('says in one line what is wrong: %s', async (_, image, options, message) => {
    const error = await planBoot(image, { ...OPTIONS, ...options }).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(KernelImageError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).not.toContain('\n');
  });

  it('throws KernelImageError only, whatever is cut off or damaged', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(LZ4.length),
        fc.array(fc.tuple(fc.nat(LZ4.length - 1), fc.nat(255)), { maxLength: 4 }),
        async (length, changes) => {
          const image = LZ4.slice();
          for (const [at, byte] of changes) image[at] = byte;
          const cut = changes.length % 2 === 0 ? image.subarray(0, length) : image;
          const result = await planBoot(cut, { ...OPTIONS, initrd: INITRD }).catch((e: unknown) => e);
          if (result instanceof Error) expect(result).toBeInstanceOf(KernelImageError);
        },
      ),
      { numRuns: 1500 },
    );
  });
});
