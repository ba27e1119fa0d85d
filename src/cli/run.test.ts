import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Partition, PartitionOptions } from '../contracts/partition.ts';
import { createFakePartition } from './fixtures/fake-partition.ts';
import type { RunFlags } from './flags.ts';
import { run } from './run.ts';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
  for (const name of ['kernel', 'initrd', 'one', 'with space', 'state']) writeFileSync(join(folder, name), name);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The options the partition is created with; it powers off at once. */
async function optionsOf(flags: RunFlags): Promise<PartitionOptions> {
  let seen: PartitionOptions = {};
  const create = async (options: PartitionOptions): Promise<Partition> => {
    seen = options;
    const partition = await createFakePartition({});
    return { ...partition, start: () => {}, stopped: Promise.resolve({ kind: 'powerOff' }) };
  };
  expect(await run(flags, create)).toBe(0);
  return seen;
}

describe('hv run', () => {
  it('hands files over by name, values as they are, and leaves the rest to the library', async () => {
    const options = await optionsOf({
      kernel: join(folder, 'kernel'),
      initrd: join(folder, 'initrd'),
      append: 'quiet',
      module: [join(folder, 'one'), `${join(folder, 'one')} a b`, join(folder, 'with space')],
      reboot: false,
      testDevice: true,
      memory: 2 ** 26,
      instructions: 5n,
    });
    expect(options).toMatchObject({
      kernel: join(folder, 'kernel'),
      initrd: join(folder, 'initrd'),
      append: 'quiet',
      memory: 2 ** 26,
      testDevice: true,
      onReboot: 'stop',
      instructionLimit: 5n,
      modules: [
        { source: join(folder, 'one'), commandLine: join(folder, 'one') },
        { source: join(folder, 'one'), commandLine: `${join(folder, 'one')} a b` },
        { source: join(folder, 'with space'), commandLine: join(folder, 'with space') },
      ],
    });
    expect(options.processors).toBeUndefined();
    expect(options.restore).toBeUndefined();
  });

  it('leaves it to the library to find a kernel in a disk, and wants to be told', async () => {
    const options = await optionsOf({ disk: [{ file: join(folder, 'one') }], append: 'quiet', reboot: true });
    expect(options).toMatchObject({ disks: [{ file: join(folder, 'one') }], append: 'quiet' });
    expect(options.kernel).toBeUndefined();
    expect(options.onBoot).toBeTypeOf('function');
  });

  it('restores without giving what the saved state fixes', async () => {
    const options = await optionsOf({ restore: join(folder, 'state'), reboot: true });
    const given = Object.entries(options).filter(([, value]) => value !== undefined);
    expect(Object.fromEntries(given)).toEqual({ restore: join(folder, 'state'), onReboot: 'restart' });
  });

  it('plugs ports to publish and a capture into the adapter that there is, or into one on NAT', async () => {
    const kernel = join(folder, 'kernel');
    const forward = { protocol: 'tcp', hostPort: 8080, guestPort: 80 } as const;
    const implied = await optionsOf({ kernel, reboot: true, publish: [forward], capture: 'a.pcap' });
    expect(implied.nics).toEqual([{ network: 'nat', forwards: [forward], capture: 'a.pcap' }]);
    const second = await optionsOf({
      kernel,
      reboot: true,
      nic: [{ network: 'private' }, { network: 'nat' }],
      publish: [forward],
    });
    expect(second.nics).toEqual([{ network: 'private' }, { network: 'nat', forwards: [forward] }]);
    expect((await optionsOf({ kernel, reboot: true })).nics).toBeUndefined();
  });

  it.each<[Partial<RunFlags>, string]>([
    [{ capture: 'a.pcap' }, '--capture needs a network: give --nic'],
    [{ capture: 'a.pcap', nic: [{ network: 'nat' }, { network: 'nat' }] }, 'give capture=FILE with --nic'],
    [{ nic: [{ network: 'private' }], publish: [{ protocol: 'tcp', hostPort: 1, guestPort: 1 }] }, 'give --nic nat'],
  ])('says what a network lacks: %o', async (flags, message) => {
    await expect(optionsOf({ kernel: join(folder, 'kernel'), reboot: true, ...flags })).rejects.toThrow(message);
  });
});
