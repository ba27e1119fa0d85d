/**
 * Checkpoints of a real guest that never stands still: a program goes through its memory, looks whether each word is what it wrote in
 * the round before, and writes the next. A state that is not of one moment is found in the round after it was gone back to.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Host, type Vm } from '../src/client/index.ts';
import type { Stream } from '../src/client/stream.ts';
import { Transport } from '../src/client/transport.ts';
import { nodeCodecs } from '../src/host/node/codecs.ts';
import { findCommand, runCommand } from '../src/host/node/command.ts';
import { nodeDiskFiles } from '../src/host/node/disk-files.ts';
import { createDisk } from '../src/storage/index.ts';
import { writeCpio } from '../src/support/cpio.ts';
import { hypervGuest } from './boot/guest.fixture.ts';
import { assemblePrograms } from './perf/image.ts';

const HV = fileURLToPath(new URL('../bin/hv', import.meta.url));
const debian = await hypervGuest();
const reason = typeof debian === 'string' ? debian : findCommand('nasm') === undefined ? 'nasm not found' : undefined;
const home = mkdtempSync(join(tmpdir(), 'vir-'));
process.env.VIRIDIAN_HOME = home;
const service = new Host(new Transport({ socket: join(home, 'run/vmms.sock') }));

/** Reads a console up to a text. What the program finds wrong fails. */
class Watch {
  readonly #stream: Stream;
  #shown = '';

  constructor(stream: Stream) {
    this.#stream = stream;
  }

  static async of(vm: Vm, history = false): Promise<Watch> {
    return new Watch(await vm.console({ history }));
  }

  type(text: string): void {
    this.#stream.write(text);
  }

  async until(wanted: RegExp): Promise<string> {
    const reader = this.#stream[Symbol.asyncIterator]();
    for (;;) {
      expect(this.#shown).not.toContain('BAD');
      const found = wanted.exec(this.#shown);
      if (found) {
        this.#shown = this.#shown.slice(found.index + found[0].length);
        return found[0];
      }
      const next = await reader.next();
      if (next.done === true) throw new Error(`the console ended without ${wanted}: ${this.#shown.slice(-300)}`);
      this.#shown += next.value.toString('latin1');
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stream[Symbol.asyncDispose]();
  }
}

/** The program has gone through all of its memory since now: it tells of each eighth round. */
async function isWell(vm: Vm): Promise<number> {
  await using watch = await Watch.of(vm);
  await watch.until(/[0-9a-f]{16}\r\n/);
  return Number.parseInt(await watch.until(/[0-9a-f]{16}\r\n/), 16);
}

describe.skipIf(reason !== undefined)(
  `a busy guest${reason ? `: skipped, ${reason}` : ''}`,
  { timeout: 600_000 },
  () => {
    if (typeof debian === 'string') return;
    let vm: Vm;
    const states = (of: Vm): string[] => readdirSync(join(home, 'data/vms', of.id, 'checkpoints'));

    beforeAll(async () => {
      const programs = await assemblePrograms(['rewrite'], ['-DSIZE_MIB=16']);
      const initrd = join(home, 'initrd');
      const rewrite = writeCpio([{ kind: 'file', path: 'bin/rewrite', data: programs.get('rewrite')!, mode: 0o755 }]);
      writeFileSync(initrd, Buffer.concat([readFileSync(debian.initrd), rewrite]));
      const disk = join(home, 'disk.vhdx');
      await createDisk({ files: nodeDiskFiles, codecs: nodeCodecs }, disk, { format: 'vhdx', size: 2 ** 28 });
      const started = await runCommand(HV, ['ls']);
      expect(started.code).toBe(0);
      vm = await service.create({
        name: 'busy',
        memory: 256 * 2 ** 20,
        processors: 2,
        boot: { kernel: debian.kernel, initrd, append: 'console=ttyS0 quiet' },
        disks: [{ slot: 0, file: disk, format: 'vhdx' }],
        nics: [{ id: 'nic0', switch: null }],
      });
      await vm.start();
      await using watch = await Watch.of(vm, true);
      await watch.until(/:\/root# /);
      watch.type('while :; do dd if=/dev/urandom of=/dev/sda bs=64k count=16 conv=fsync 2>/dev/null; done &\n');
      watch.type('rewrite & sleep 1; rewrite &\n');
      await watch.until(/0000000000000010/);
    }, 600_000);
    afterAll(async () => {
      for (const each of await service.list()) await each.stop({ turnOff: true }).catch(() => {});
      await runCommand(HV, ['service', 'stop']);
      rmSync(home, { recursive: true, force: true });
    });

    it('goes on, and goes back to what it was, more than once', async () => {
      const made = await vm.checkpoint('first');
      expect(made.pause).toBeGreaterThan(0);
      expect(made.background).toBeGreaterThan(0);
      // Of 256 MiB, the pages that are not zero.
      expect(made.size).toBeLessThan(240 * 2 ** 20);
      await isWell(vm);
      for (let round = 0; round < 2; round++) {
        await vm.apply('first');
        await isWell(vm);
      }
      await vm.checkpoint('second');
      await isWell(vm);
      await vm.apply('second');
      await isWell(vm);
    });

    it('is saved and goes on', async () => {
      await vm.save();
      expect((await vm.refresh()).state).toBe('Saved');
      await vm.start();
      await isWell(vm);
    });

    it('is forked, with adapters of its own', async () => {
      const fork = await vm.fork('first', { name: 'fork' });
      await isWell(fork);
      await using watch = await Watch.of(fork);
      const { macAddress } = (await fork.refresh()).adapters[0]!;
      expect(macAddress).not.toBe((await vm.refresh()).adapters[0]!.macAddress);
      expect(macAddress).toMatch(/^00:15:5d:/);
      watch.type(
        '\nwhile ! grep -q . /sys/class/net/eth*/address; do usleep 50000; done; sleep 2; cat /sys/class/net/eth*/address\n',
      );
      await watch.until(new RegExp(macAddress!));
      await isWell(vm);
      await fork.stop({ turnOff: true });
      await fork.remove();
    });

    it('is not held up by a checkpoint that is cancelled, of which nothing is left', async () => {
      const before = states(vm);
      const cancel = new AbortController();
      const made = vm.checkpoint('cancelled', {
        signal: cancel.signal,
        progress: ({ progress, cancellable }) => {
          if (cancellable && progress > 0.05) cancel.abort();
        },
      });
      await expect(made).rejects.toThrow('cancelled');
      expect(states(vm)).toEqual(before);
      expect((await vm.checkpoints()).map(({ name }) => name)).toEqual(['first', 'second']);
      await isWell(vm);
    });

    it('is not started from a state that is damaged', async () => {
      await vm.stop({ turnOff: true });
      const { id } = (await vm.checkpoints()).find(({ name }) => name === 'first')!;
      const file = join(home, 'data/vms', vm.id, 'checkpoints', `${id}.state`);
      const bytes = readFileSync(file);
      const page = bytes.findIndex((byte, at) => at > 2 ** 20 && byte !== 0);
      bytes[page]! ^= 1;
      writeFileSync(file, bytes);
      await expect(vm.apply('first', { start: true })).rejects.toThrow(
        /is damaged: page \d+ of its memory is not what/,
      );
      expect((await vm.refresh()).state).toBe('Saved');
      bytes[page]! ^= 1;
      writeFileSync(file, bytes);
      await vm.start();
      await isWell(vm);
      expect(existsSync(file)).toBe(true);
    });
  },
);
