import { describe, expect, it } from 'vitest';
import type { PartitionOptions } from './partition.ts';
import { GIB, MIB, resolvePartitionOptions, sizeText } from './partition-options.ts';

const bytes = new Uint8Array(1);

describe('resolvePartitionOptions', () => {
  it('fills in the defaults', () => {
    expect(resolvePartitionOptions({ kernel: 'vmlinuz' })).toEqual({
      kernel: 'vmlinuz',
      initrd: undefined,
      append: '',
      modules: [],
      memory: 512 * MIB,
      processors: 1,
      clock: 'real',
      engine: 'auto',
      check: undefined,
      testDevice: false,
      vmbus: true,
      disks: [],
      dvds: [],
      nics: [],
      processorMaximum: 100,
      storageMaximum: undefined,
      onDisk: undefined,
      onReboot: 'restart',
      instructionLimit: undefined,
      trace: undefined,
      restore: undefined,
      restoreUnread: false,
    });
  });

  it('takes one bound of dynamic memory for both', () => {
    const memory = (given: Partial<PartitionOptions>) =>
      resolvePartitionOptions({ kernel: 'k', ...given }).dynamicMemory;
    expect(memory({ memoryMaximum: GIB })).toEqual({ minimum: 512 * MIB, maximum: GIB });
    expect(memory({ memory: GIB, memoryMinimum: 256 * MIB })).toEqual({ minimum: 256 * MIB, maximum: GIB });
  });

  it.each<[PartitionOptions, string]>([
    [{}, 'kernel is missing'],
    [{ disks: [{ file: 'a' }], initrd: bytes }, 'initrd cannot be given without kernel'],
    [{ kernel: '' }, 'kernel must be a path or bytes'],
    [{ kernel: bytes, append: 'a\0b' }, 'NUL'],
    [{ kernel: bytes, memory: MIB }, 'memory of 1 MiB is too little: give at least 2 MiB'],
    [{ kernel: bytes, memory: 2 ** 32 }, 'memory of 4 GiB is more than a partition can have'],
    [{ kernel: bytes, memory: 3 * MIB + 1 }, 'multiple of 4096'],
    [
      { kernel: bytes, memoryMinimum: 600 * MIB },
      'the minimum of memory, 600 MiB, is more than the 512 MiB at the start',
    ],
    [
      { kernel: bytes, memoryMaximum: 500 * MIB },
      'the maximum of memory, 500 MiB, is less than the 512 MiB at the start',
    ],
    [{ kernel: bytes, memoryMaximum: 4 * GIB }, 'memory of 4 GiB is more than a partition can have'],
    [{ kernel: bytes, memoryMaximum: GIB, vmbus: false }, 'dynamic memory needs the VMBus'],
    [{ kernel: bytes, memoryMaximum: GIB, clock: 'instructions' }, 'dynamic memory needs the VMBus'],
    [{ restore: bytes, memoryMaximum: GIB }, 'memoryMaximum cannot be given with restore'],
    [{ kernel: bytes, memory: Number.NaN }, 'number of bytes'],
    [{ kernel: bytes, processors: 0 }, 'processors must be a whole number from 1 to 64, not 0'],
    [{ kernel: bytes, processors: 1.5 }, 'whole number'],
    [{ kernel: bytes, clock: 'sundial' as 'real' }, 'clock must be real or instructions, not sundial'],
    [{ kernel: bytes, instructionLimit: 0n }, 'at least 1'],
    [{ kernel: bytes, vmbus: true, clock: 'instructions' }, 'vmbus needs clock: real'],
    [{ kernel: bytes, disks: [{ file: '' }] }, "a disk's file"],
    [{ kernel: bytes, disks: [{ file: 'a', format: 'vmdk' as 'raw' }] }, 'vhdx, vhd, raw, iso, qcow2, not vmdk'],
    [{ kernel: bytes, disks: [{ file: 'a' }], vmbus: false }, 'disks need the VMBus'],
    [{ kernel: bytes, check: { every: 0n } }, 'check.every must be a bigint of at least 1, not 0'],
    [{ kernel: bytes, check: {}, processors: 2 }, 'check needs one processor'],
    [{ kernel: bytes, check: {}, clock: 'real' }, 'clock: real cannot be given with check'],
    [{ kernel: bytes, check: {}, engine: 'translator' }, 'engine cannot be given with check'],
    [{ restore: bytes, check: {} }, 'restore cannot be given with check'],
    [{ restore: bytes, memory: 512 * MIB }, 'memory cannot be given with restore'],
    [{ restore: bytes, kernel: bytes }, 'kernel cannot be given with restore'],
  ])('refuses %o', (options, message) => {
    expect(() => resolvePartitionOptions(options)).toThrow(message);
  });
});

describe('sizeText', () => {
  it.each([
    [1, '1 bytes'],
    [4096, '4 KiB'],
    [512 * MIB, '512 MiB'],
    [1.5 * 2 ** 30, '1536 MiB'],
    [2 ** 31, '2 GiB'],
  ])('%i is %s', (size, text) => expect(sizeText(size)).toBe(text));

  it.each([
    [{ network: 'bridge' as 'nat' }, 'network must be nat or private, not bridge'],
    [{ network: 'private' as const, forwards: [] }, 'port forwards need a network adapter on nat'],
    [
      { network: 'nat' as const, forwards: [{ protocol: 'tcp' as const, hostPort: 0, guestPort: 1 }] },
      'the host port of a port forward must be a whole number from 1 to 65535, not 0',
    ],
  ])('says what is wrong with an adapter', (nic, message) => {
    expect(() => resolvePartitionOptions({ kernel: 'k', nics: [nic] })).toThrow(message);
    expect(() => resolvePartitionOptions({ kernel: 'k', nics: [{ network: 'nat' }], vmbus: false })).toThrow(
      'network adapters need the VMBus',
    );
  });
});
