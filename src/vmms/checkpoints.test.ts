import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { checkDisk, createDisk } from '../storage/index.ts';
import { active, filesOf, fill, letters, MIB, typed, vmWithDisk } from './disks.fixture.ts';
import { testHost } from './testing.fixture.ts';
import { storageHost } from './transfer.ts';

const test = await testHost();

describe('checkpoints', () => {
  it('of a running VM: memory and disks go back, more than once', async () => {
    const { vm } = await vmWithDisk(test, 'back');
    await vm.start();
    await typed(vm, 'before ', 'before ');
    await fill(await active(vm), 0, 'a');
    const made = await vm.checkpoint('clean');
    expect(made).toMatchObject({ name: 'clean', kind: 'Standard', memory: true, current: true, parent: null });
    expect(made.pause).toBeGreaterThan(0);
    expect((await vm.refresh()).state).toBe('Running');
    for (let round = 0; round < 2; round++) {
      await typed(vm, 'after', 'after');
      await fill(await active(vm), 0, 'b');
      await fill(await active(vm), 1, 'b');
      expect(await letters(await active(vm))).toBe('bb....');
      await vm.apply('clean');
      expect((await vm.refresh()).state).toBe('Running');
      expect(await typed(vm, '!state', '>')).toContain('<before !state>');
      expect(await letters(await active(vm))).toBe('a.....');
    }
    await vm.stop({ turnOff: true });
    await vm.apply('clean');
    expect((await vm.refresh()).state).toBe('Saved');
    await vm.discardSavedState();
    expect(await vm.checkpoints()).toHaveLength(1);
    await vm.remove();
    expect(filesOf(test, vm)).toEqual([]);
  });

  it('make a tree; what is removed is merged into what stood on it', async () => {
    const { vm, file } = await vmWithDisk(test, 'tree');
    const mark = async (letter: string, block: number, name: string): Promise<void> => {
      await fill(await active(vm), block, letter);
      await vm.checkpoint(name);
    };
    await mark('a', 0, 'one');
    await mark('b', 1, 'two');
    await mark('c', 2, 'three');
    await vm.apply('two');
    await mark('d', 3, 'four');
    await fill(await active(vm), 0, 'z');
    const tree = async () => (await vm.checkpoints()).map(({ id, name, parent }) => ({ id, name, parent }));
    const [one, two, three, four] = await tree();
    expect([two!.parent, three!.parent, four!.parent]).toEqual([one!.id, two!.id, two!.id]);
    expect(await letters(await active(vm))).toBe('zb.d..');

    await vm.start();
    await vm.removeCheckpoint('one');
    expect((await vm.refresh()).state).toBe('Running');
    expect(await letters(await active(vm))).toBe('zb.d..');
    await vm.stop({ turnOff: true });
    // Two VMs' worth of branches stand on it: it stays until one of them goes.
    await vm.removeCheckpoint('two');
    await vm.apply('three');
    expect(await letters(await active(vm))).toBe('abc...');
    await vm.apply('four');
    expect(await letters(await active(vm))).toBe('ab.d..');
    await fill(await active(vm), 5, 'e');
    await vm.removeCheckpoint('three');
    await vm.removeCheckpoint('four');
    expect(await tree()).toEqual([]);
    // What the VM has is in the file that it was given, and nowhere else.
    expect(await active(vm)).toEqual({ slot: 0, file, format: 'vhdx' });
    expect(await letters({ file })).toBe('ab.d.e');
    expect((await checkDisk(storageHost, file, 'vhdx')).findings).toEqual([]);
    expect(filesOf(test, vm)).toEqual([]);
    await vm.remove();
    expect(existsSync(file)).toBe(true);
  });

  it("of a VM that is removed leave the user's file as the VM's disk was", async () => {
    const { vm, file } = await vmWithDisk(test, 'gone');
    await fill(await active(vm), 0, 'a');
    await vm.checkpoint('one');
    await fill(await active(vm), 1, 'b');
    await vm.checkpoint('two');
    await fill(await active(vm), 2, 'c');
    await vm.remove();
    expect(await letters({ file })).toBe('abc...');
  });

  it('are forked; the VM that they are of cannot go before', async () => {
    const { vm } = await vmWithDisk(test, 'original');
    await vm.start();
    await typed(vm, 'shared ', 'shared ');
    await fill(await active(vm), 0, 'a');
    await vm.checkpoint('base');
    const forks = [await vm.fork('base', { name: 'fork one' }), await vm.fork('base', { name: 'fork two' })];
    for (const [i, fork] of forks.entries()) {
      expect((await fork.refresh()).state).toBe('Running');
      expect(await typed(fork, '!state', '>')).toContain('<shared !state>');
      await fill(await active(fork), 1, String(i));
    }
    expect(await letters(await active(forks[0]!))).toBe('a0....');
    expect(await letters(await active(forks[1]!))).toBe('a1....');
    expect(await letters(await active(vm))).toBe('a.....');
    await vm.removeCheckpoint('base');
    expect(await letters(await active(forks[0]!))).toBe('a0....');
    await vm.stop({ turnOff: true });
    await expect(vm.remove()).rejects.toThrow('disks of fork one, fork two stand on its disks');
    for (const fork of forks) {
      await fork.stop({ turnOff: true });
      await fork.remove();
    }
    await vm.remove();
  });

  it('are merged when forks that run on them are off, and not before', async () => {
    const { vm } = await vmWithDisk(test, 'below');
    await fill(await active(vm), 0, 'a');
    await vm.checkpoint('first');
    await fill(await active(vm), 1, 'b');
    await vm.checkpoint('second');
    await fill(await active(vm), 2, 'c');
    const fork = await vm.fork('second', { name: 'above' });
    const files = filesOf(test, vm);
    await vm.removeCheckpoint('first');
    expect((await vm.checkpoints()).map(({ name }) => name)).toEqual(['second']);
    expect(filesOf(test, vm)).toEqual(files);
    await fill(await active(fork), 3, 'f');
    await fork.stop({ turnOff: true });
    while (filesOf(test, vm).length === files.length) await new Promise((resolve) => setTimeout(resolve, 20));
    await test.service.management.context.jobs.idle();
    expect(filesOf(test, vm)).toHaveLength(files.length - 1);
    expect(await letters(await active(vm))).toBe('abc...');
    expect(await letters(await active(fork))).toBe('ab.f..');
    await fork.start();
    await fork.stop({ turnOff: true });
    await fork.remove();
    await vm.remove();
  });

  it.each(['on', 'off'])(
    'have the next fork start in a process that waits already, isolation %s',
    async (isolation) => {
      vi.stubEnv('VIRIDIAN_ISOLATION', isolation);
      onTestFinished(() => void vi.unstubAllEnvs());
      const own = await testHost();
      const vm = await own.vm('quick');
      const waiting = (): number[] =>
        readdirSync('/proc')
          .filter((name) => /^\d+$/.test(name))
          .filter((pid) => {
            try {
              return (
                readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('viridian-standby') &&
                readlinkSync(`/proc/${pid}/fd/1`).startsWith(own.folder)
              );
            } catch {
              return false;
            }
          })
          .map(Number);
      const until = async (count: number): Promise<number[]> => {
        while (waiting().length !== count) await new Promise((resolve) => setTimeout(resolve, 50));
        return waiting();
      };
      await vm.start();
      expect(waiting()).toEqual([]);
      await vm.checkpoint('base');
      const [pid] = await until(1);
      const fork = await vm.fork('base', { name: 'fork' });
      expect((await fork.refresh()).worker?.pid).toBe(pid);
      const [next] = await until(1);
      expect(next).not.toBe(pid);
      // One that is gone is nobody's loss, and a fork that comes to nothing leaves none.
      process.kill(next!, 'SIGKILL');
      await until(0);
      const another = await vm.fork('base', { name: 'another' });
      expect((await another.refresh()).state).toBe('Running');
      await until(1);
      await expect(vm.fork('base', { name: 'fork' })).rejects.toThrow("there is a virtual machine 'fork' already");
      await until(1);
      for (const each of [another, fork, vm]) await each.stop({ turnOff: true });
      await own.service.stop();
      await until(0);
      expect(readdirSync(join(own.folder, 'data/standby'))).toEqual([]);
    },
  );

  it('are exported; clones are copied or linked', async () => {
    const { vm } = await vmWithDisk(test, 'source');
    await fill(await active(vm), 0, 'a');
    await vm.checkpoint('then');
    await fill(await active(vm), 0, 'b');
    const linked = await vm.clone({ name: 'linked', linked: true });
    const copied = await vm.clone({ name: 'copied' });
    await fill(await active(vm), 1, 'x');
    await fill(await active(linked), 1, 'y');
    expect(await letters(await active(vm))).toBe('bx....');
    expect(await letters(await active(linked))).toBe('by....');
    expect(await letters(await active(copied))).toBe('b.....');
    const folder = join(test.folder, 'exported');
    const params = { vm: vm.id, checkpoint: 'then' };
    await test.host.finish(await test.host.transport.call('exportCheckpoint', { params, body: { folder } }));
    await vm.export(join(test.folder, 'whole'));
    const then = await test.host.import({ folder, name: 'then' });
    expect(await letters(await active(then))).toBe('a.....');
    const whole = await test.host
      .import({ folder: join(test.folder, 'whole'), name: 'whole', mode: 'register' })
      .catch((error: unknown) => error);
    expect(String(whole)).toContain('is there already');
    await expect(vm.export(folder)).rejects.toThrow('is there already, and is not an empty folder');
  });

  it('an export that somebody sent names no file outside its folder', async () => {
    const good = {
      viridian: 1,
      id: '00000000-0000-4000-8000-000000000000',
      configuration: {
        version: 1,
        name: 'sent',
        boot: { kernel: 'kernel', initrd: null, append: '' },
        disks: [],
        dvds: [],
      },
      saved: null,
    };
    const outside = ['../kernel', '/etc/passwd', 'a/../../b', 'disks/../../x', '..'];
    const boot = (kernel: unknown) => ({
      ...good,
      configuration: { ...good.configuration, boot: { kernel, initrd: null, append: '' } },
    });
    const disk = (file: string) => ({
      ...good,
      configuration: { ...good.configuration, disks: [{ slot: 0, file, format: 'raw' }] },
    });
    const bad: unknown[] = [
      ...outside.flatMap((file) => [boot(file), disk(file), { ...good, saved: file }]),
      boot(5),
      { ...good, viridian: 2 },
      { ...good, configuration: {} },
      [],
    ];
    for (const [i, manifest] of bad.entries()) {
      const folder = join(test.folder, `sent-${i}`);
      mkdirSync(folder);
      writeFileSync(join(folder, 'kernel'), 'x');
      writeFileSync(join(folder, 'vm.json'), JSON.stringify(manifest));
      await expect(test.host.import({ folder, name: `sent ${i}` })).rejects.toMatchObject({ code: 'badFile' });
    }
    const folder = join(test.folder, 'sent');
    mkdirSync(folder);
    writeFileSync(join(folder, 'kernel'), 'x');
    writeFileSync(join(folder, 'vm.json'), JSON.stringify(good));
    expect((await test.host.import({ folder })).name).toBe('sent');
  });

  it('are refused where they cannot be', async () => {
    const raw = join(test.folder, 'plain.raw');
    await createDisk(storageHost, raw, { format: 'raw', size: MIB });
    const vm = await test.vm('plain', { disks: [{ slot: 0, file: raw, format: 'raw' }] });
    await expect(vm.checkpoint()).rejects.toThrow('only a VHDX can have others standing on it, and this is raw');
    await vm.set({ checkpointType: 'Disabled' });
    await expect(vm.checkpoint()).rejects.toThrow('checkpoints of plain are disabled');
    await expect(vm.apply('none')).rejects.toMatchObject({ code: 'notFound' });
  });
});
