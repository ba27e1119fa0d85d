import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Vm } from '../client/index.ts';
import { Service } from './service.ts';
import { type TestHost, testHost, until } from './testing.fixture.ts';

const GIB = 2 ** 30;

let test: TestHost;
beforeAll(async () => {
  test = await testHost();
});

/** Until the service has noticed. */
async function inState(vm: Vm, state: string): Promise<void> {
  for (let i = 0; (await vm.refresh()).state !== state; i++) {
    if (i > 400) throw new Error(`${vm.name} is ${vm.info.state}, not ${state}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function typed(vm: Vm, text: string, answer: string): Promise<string> {
  await using console = await vm.console({ history: false });
  console.write(text);
  return await until(console, answer);
}

describe('a virtual machine', () => {
  it('starts, pauses, resumes, restarts, is reset, and shuts down', async () => {
    const vm = await test.vm('life');
    expect(vm.info).toMatchObject({ state: 'Off', revision: 1, uptime: 0 });
    await vm.start();
    expect(await vm.refresh()).toMatchObject({ state: 'Running', memoryAssigned: 64 * 2 ** 20 });
    await vm.pause();
    expect((await vm.refresh()).state).toBe('Paused');
    await vm.resume();
    expect((await vm.refresh()).state).toBe('Running');
    await vm.restart();
    await vm.restart({ reset: true });
    await vm.injectNmi();
    await using console = await vm.console();
    expect(await until(console, 'nmi\n')).toBe('ready\nresumed\nrestarted\nreset\nnmi\n');
    await vm.stop();
    expect(await vm.refresh()).toMatchObject({ state: 'Off', worker: null, lastExit: { kind: 'powerOff' } });
    expect(readdirSync(join(test.folder, 'run/w'))).toEqual([]);
    // Of what has ended: what was asked for, not its last step.
    const jobs = (await test.host.transport.call('listJobs')).filter((job) => job.vm === vm.id);
    expect(
      jobs
        .map(({ text, state }) => `${text}: ${state}`)
        .toReversed()
        .slice(0, 2),
    ).toEqual(['starting: done', 'pausing: done']);
  });

  it('is saved, and goes on where it was', async () => {
    const vm = await test.vm('saved');
    await vm.start();
    await typed(vm, 'abc', 'abc');
    await vm.save();
    expect(await vm.refresh()).toMatchObject({ state: 'Saved', worker: null });
    await expect(vm.set({ memory: 2 ** 27 })).rejects.toThrow(
      'memory of saved cannot change while it is Saved: start it, or discard its saved state',
    );
    await test.restart();
    await vm.start();
    expect(await typed(vm, '!state', '>')).toContain('<abc!state>');
    expect(readdirSync(join(test.folder, 'data/vms', vm.id))).toEqual([]);
    await vm.save();
    await vm.discardSavedState();
    await vm.start();
    expect(await typed(vm, '!state', '>')).toContain('<!state>');
    await vm.stop({ turnOff: true });
    expect(await vm.refresh()).toMatchObject({ state: 'Off', lastExit: { kind: 'turnedOff' } });
  });

  it('says what is not possible in its state', async () => {
    const vm = await test.vm('refusals');
    await expect(vm.pause()).rejects.toMatchObject({
      code: 'wrongState',
      message: 'cannot pause refusals: it is Off, and that needs Running',
    });
    await expect(vm.screenshot()).rejects.toThrow('refusals is Off, and that needs it to run: start it first');
    await vm.start();
    await expect(vm.start()).rejects.toThrow('cannot start refusals: it is Running');
    await expect(vm.remove()).rejects.toThrow('cannot remove refusals: it is Running: stop it first');
    await expect(vm.set({ processors: 2 })).rejects.toThrow('cannot change while it is Running: stop it first');
    await vm.refresh();
    await vm.set({ notes: 'may change' });
    await vm.stop({ turnOff: true });
    await vm.remove();
    expect(existsSync(join(test.folder, 'data/vms', vm.id))).toBe(false);
    await expect(vm.refresh()).rejects.toMatchObject({ code: 'notFound' });
  });

  it('is turned off while it does not shut down, and while it starts', async () => {
    const vm = await test.vm('deaf', {
      boot: { kernel: join(test.folder, 'kernel'), append: 'FAKE_START_DELAY=3000' },
    });
    const start = vm.start();
    start.catch(() => {});
    await inState(vm, 'Starting');
    for (let i = 0; (await vm.refresh()).worker === null && i < 400; i++) await new Promise((r) => setTimeout(r, 25));
    await vm.stop({ turnOff: true });
    await expect(start).rejects.toThrow('deaf did not start: turned off');
    const other = await test.vm('deaf too');
    await other.start();
    await typed(other, '!deaf', '!deaf');
    await expect(other.stop({ timeout: 1 })).rejects.toMatchObject({ code: 'timeout' });
    expect((await other.refresh()).state).toBe('Running');
    await other.stop({ turnOff: true });
  });

  it('that cannot start says why, and is off', async () => {
    const vm = await test.vm('no', { boot: { kernel: join(test.folder, 'kernel'), append: 'FAKE_NO_START' } });
    await expect(vm.start()).rejects.toThrow('no did not start: out of luck');
    expect(await vm.refresh()).toMatchObject({ state: 'Off', worker: null });
    const none = await test.vm('nothing', { boot: {} });
    await expect(none.start()).rejects.toThrow('nothing has nothing to boot');
  });
});

describe('a worker process', () => {
  it('that is killed takes its VM alone, and the cause is on record', async () => {
    const [one, two] = [await test.vm('one'), await test.vm('two')];
    await Promise.all([one.start(), two.start()]);
    const { pid } = (await one.refresh()).worker!;
    process.kill(pid, 'SIGKILL');
    await inState(one, 'Off');
    expect(one.info.lastExit).toMatchObject({ kind: 'killed', message: 'the worker process was killed by SIGKILL' });
    expect((await two.refresh()).state).toBe('Running');
    const log = await test.host.transport.call('listEvents', { query: { vm: one.id, last: 1 } });
    expect(log[0]).toMatchObject({ kind: 'vm.crashed', severity: 'error' });
    await two.stop({ turnOff: true });
  });

  it('is started again where that is the policy, and not for ever', async () => {
    const vm = await test.vm('again', { crashPolicy: 'Restart' });
    await vm.start();
    for (let i = 0; i < 4; i++) {
      await inState(vm, 'Running');
      const { pid } = vm.info.worker!;
      process.kill(pid, 'SIGKILL');
      for (let k = 0; (await vm.refresh()).worker?.pid === pid && k < 400; k++)
        await new Promise((resolve) => setTimeout(resolve, 25));
    }
    await inState(vm, 'Off');
    const events = await test.host.transport.call('listEvents', { query: { vm: vm.id } });
    expect(events.filter(({ kind }) => kind === 'vm.crashed')).toHaveLength(4);
    expect(events.at(-1)?.kind).toBe('vm.crash-loop');
  });

  it('outlives the service, which adopts it; what happened meanwhile is known', async () => {
    const [on, off, dead] = [await test.vm('on'), await test.vm('off'), await test.vm('dead')];
    for (const vm of [on, off, dead]) await vm.start();
    await on.pause();
    const { pid } = (await on.refresh()).worker!;
    const killed = (await dead.refresh()).worker!.pid;
    await test.service.stop();
    const { WorkerLink } = await import('./worker-link.ts');
    const folders = readdirSync(join(test.folder, 'run/w')).map((name) => join(test.folder, 'run/w', name));
    for (const folder of folders) {
      const link = await WorkerLink.open(join(folder, 'worker.sock'));
      if ((await link.request('hello', undefined)).vm === off.id)
        await link.request('write', { data: Buffer.from('!off').toString('base64') }).catch(() => {});
      link.destroy();
    }
    process.kill(killed, 'SIGKILL');
    await test.restart();
    expect(await on.refresh()).toMatchObject({ state: 'Paused', worker: { pid } });
    expect(await off.refresh()).toMatchObject({ state: 'Off', lastExit: { kind: 'powerOff' } });
    expect(await dead.refresh()).toMatchObject({
      state: 'Off',
      lastExit: { kind: 'killed', message: 'the worker process ended without a word' },
    });
    await on.resume();
    await using console = await on.console();
    expect(await until(console, 'resumed\n')).toBe('ready\nresumed\n');
    await on.stop();
  });
});

describe('components', () => {
  it('come and go while a VM runs, and are what the configuration says when it is adopted', async () => {
    const { host, folder } = test;
    const file = (name: string): string => {
      const path = join(folder, name);
      writeFileSync(path, new Uint8Array(2 ** 20));
      return path;
    };
    const vm = await test.vm('parts');
    const params = { vm: vm.id };
    const finish = async (job: Promise<Parameters<typeof host.finish>[0]>) => await host.finish(await job);
    const there = async () => (await host.transport.call('inspectVm', { params })).files;
    await vm.addDisk({ file: file('a.raw'), format: 'raw' });
    await vm.start();
    await vm.addDisk({ file: file('b.raw'), format: 'raw' });
    await finish(host.transport.call('addDvd', { params, body: { file: null } }));
    expect(await there()).toBe('disk0=a.raw disk1=b.raw dvd2=');
    await finish(host.transport.call('setDvd', { params: { ...params, slot: 2 }, body: { file: file('c.iso') } }));
    await vm.removeDisk(0);
    expect(await there()).toBe('disk1=b.raw dvd2=c.iso');
    await expect(vm.addDisk({ file: file('refused.raw'), format: 'raw' })).rejects.toThrow('refused');
    await expect(vm.removeDisk(5)).rejects.toThrow('parts has no disk in slot 5');
    await expect(vm.addDisk({ file: file('d.raw'), slot: 2, format: 'raw' })).rejects.toThrow('slot 2 is given twice');
    await expect(vm.addDisk({ file: join(folder, 'b.raw'), format: 'raw' })).rejects.toThrow(
      'b.raw: is in slots 0 and 1: one disk can be in one slot',
    );
    expect((await vm.refresh()).configuration.disks.map(({ slot }) => slot)).toEqual([1]);
    await test.restart();
    expect(await there()).toBe('disk1=b.raw dvd2=c.iso');
    await vm.stop({ turnOff: true });
  });
});

describe('limits', () => {
  it('of editions hold for all VMs that run', async () => {
    const { host } = test;
    await host.set({ edition: '2008 Standard' });
    const vms: Vm[] = [];
    for (let i = 0; i < 11; i++) vms.push(await test.vm(`big ${i}`, { memory: 3 * GIB }));
    await Promise.all(vms.slice(0, 10).map((vm) => vm.start()));
    await expect(vms[10]!.start()).rejects.toMatchObject({
      code: 'wrongState',
      message:
        'cannot start big 10 with 3 GiB of memory: the edition 2008 Standard allows 31 GiB for virtual machines, and 30 GiB are in use: stop or save others, or give it less',
    });
    expect(await host.info()).toMatchObject({ memoryLimit: 31 * GIB, memoryAssigned: 30 * GIB });
    await host.set({ edition: '2008 R2 Standard' });
    await expect(vms[10]!.start()).rejects.toThrow('2008 R2 Standard allows 32 GiB');
    await host.set({ edition: '2008 R2 Enterprise' });
    await vms[10]!.start();
    await host.set({ edition: 'Unlimited' });
    await Promise.all(vms.map((vm) => vm.stop({ turnOff: true })));
    for (const vm of vms) await vm.remove();
  });

  it('of the host: its memory, and the requirements', async () => {
    const facts = { ...test.options.facts!, memory: 2 * GIB };
    const small = await testHost({ facts });
    await expect(small.vm('big', { memory: 3 * GIB })).rejects.toThrow(
      'big cannot have 3 GiB of memory: this host has 2 GiB for virtual machines: give it less',
    );
    const unfit = await testHost({ facts: { ...facts, memory: GIB, architecture: 'arm64', flags: new Set(['fp']) } });
    const vm = await unfit.vm('vm');
    await expect(vm.start()).rejects.toThrow(
      /cannot run virtual machines: x86-64: .*arm64; memory: .*; no-execute pages/,
    );
    const { requirements } = await unfit.host.info();
    expect(requirements.filter(({ met }) => !met).map(({ name }) => name)).toContain('memory');
  });
});

describe('automatic actions', () => {
  it('start VMs with the host, in order, and only then', async () => {
    const own = await testHost({ boot: 'first' });
    const wanted = await own.vm('wanted', { automaticStartAction: 'Start', automaticStartOrder: 2 });
    const ran = await own.vm('ran', { automaticStartOrder: 1 });
    const never = await own.vm('never', { automaticStartAction: 'Nothing' });
    for (const vm of [ran, never]) await vm.start();
    await own.service.stop(true);
    expect(own.service.management).toBeDefined();
    await own.restart({ boot: 'first' });
    for (const vm of [wanted, ran, never]) expect(['Off', 'Saved']).toContain((await vm.refresh()).state);
    await own.restart({ boot: 'second' });
    for (const vm of [wanted, ran]) await inState(vm, 'Running');
    expect((await never.refresh()).state).toBe('Saved');
    const events = await own.host.transport.call('listEvents');
    expect(events.filter(({ kind }) => kind === 'vm.autostart').map(({ vmName }) => vmName)).toEqual(['ran', 'wanted']);
  });
});

it('there is one service on a folder', async () => {
  await expect(Service.start({ ...test.options, socket: join(test.folder, 'run/other.sock') })).rejects.toThrow(
    'the service runs already',
  );
});
