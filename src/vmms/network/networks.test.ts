/** Switches between workers that only pretend: their processes, sockets and the switch process are real. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Job, Vm } from '../../client/index.ts';
import { Stream } from '../../client/stream.ts';
import { type TestHost, testHost, until } from '../testing.fixture.ts';

let test: TestHost;
let one: Vm;
let two: Vm;

async function eventually(what: () => Promise<boolean>): Promise<void> {
  for (let i = 0; !(await what()); i++) {
    if (i > 600) throw new Error('that has not come about');
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function finish(job: Promise<Job>): Promise<void> {
  await test.host.finish(await job);
}

/** Whether what one shouts is heard by the other. */
async function hears(other: Vm, from: Vm, nic = 'nic0', milliseconds = 15_000): Promise<boolean> {
  const text = Math.random().toString(36).slice(2);
  await using listening = await other.console({ history: false });
  await using shouting = await from.console({ history: false });
  const heard = until(listening, `${nic} heard ${text}`).then(
    () => true,
    () => false,
  );
  // Who listens may not do so yet.
  const again = setInterval(() => shouting.write(`!shout ${nic} ${text}.`), 100);
  const timer = new Promise<boolean>((resolve) => setTimeout(resolve, milliseconds, false));
  const result = await Promise.race([heard, timer]);
  clearInterval(again);
  return result;
}

async function nicsOf(vm: Vm): Promise<unknown> {
  return (await test.host.transport.call('inspectVm', { params: { vm: vm.id } })).nics;
}

const show = async (name: string) => await test.host.transport.call('getSwitch', { params: { switch: name } });
const change = async (vm: Vm, body: object, nic = 'nic0') =>
  await finish(test.host.transport.call('changeNic', { params: { vm: vm.id, nic }, body }));

beforeAll(async () => {
  test = await testHost();
  const { host } = test;
  await host.transport.call('createSwitch', { body: { name: 'lan', kind: 'NAT' } });
  await host.transport.call('createSwitch', { body: { name: 'quiet', kind: 'Private', notes: 'for two' } });
  const nics = [{ id: 'nic0', switch: 'quiet' }];
  one = await test.vm('one', { nics });
  two = await test.vm('two', { nics });
  await Promise.all([one.start(), two.start()]);
});

describe('switches between VMs', () => {
  it('carry frames from one to the other, and to nobody else', async () => {
    expect(await hears(two, one)).toBe(true);
    expect(await hears(one, two)).toBe(true);
    const { ports, ...rest } = await show('quiet');
    expect(rest).toMatchObject({ name: 'quiet', kind: 'Private', vms: ['one', 'two'], subnet: null, leases: [] });
    expect(ports).toMatchObject([
      { vm: 'one', nic: 'nic0', link: true },
      { vm: 'two', nic: 'nic0', link: true, spoofingGuard: true },
    ]);
    const { adapters } = await one.refresh();
    expect(adapters).toEqual([
      { id: 'nic0', switch: 'quiet', macAddress: ports[0]!.mac, address: null, connected: true },
    ]);
    expect(ports.every(({ sentFrames, receivedFrames }) => sentFrames > 0 && receivedFrames > 0)).toBe(true);
    expect(ports[0]!.mac).toMatch(/^00:15:5d:/);
    expect(ports[0]!.mac).not.toBe(ports[1]!.mac);
  });

  it('separate VLANs, and plug adapters in and out', async () => {
    await change(one, { vlan: 5 });
    expect(await hears(two, one, 'nic0', 300)).toBe(false);
    await change(two, { vlan: 5 });
    expect(await hears(two, one)).toBe(true);
    await change(one, { vlan: null });
    await change(two, { vlan: null, switch: null });
    await eventually(async () => String(await nicsOf(two)).endsWith('down'));
    expect((await show('quiet')).ports.map(({ vm }) => vm)).toEqual(['one']);
    await change(two, { switch: 'quiet' });
    await eventually(async () => !String(await nicsOf(two)).endsWith('down'));
    expect(await hears(two, one)).toBe(true);
  });

  it('take adapters that come and go while VMs run', async () => {
    for (const vm of [one, two])
      await finish(test.host.transport.call('addNic', { params: { vm: vm.id }, body: { switch: 'lan' } }));
    expect(await nicsOf(one)).toMatch(/^nic0=[0-9a-f:]+ nic1=[0-9a-f:]+$/);
    await eventually(async () => await hears(two, one, 'nic1', 300));
    expect(await hears(two, one, 'nic0')).toBe(true);
    await finish(test.host.transport.call('removeNic', { params: { vm: two.id, nic: 'nic1' } }));
    expect(await nicsOf(two)).toMatch(/^nic0=[0-9a-f:]+$/);
    expect((await show('lan')).ports.map(({ vm }) => vm)).toEqual(['one']);
  });

  it('are there when the service is, and when it comes again', async () => {
    const { mac } = (await show('quiet')).ports[0]!;
    await test.restart();
    expect(await hears(two, one)).toBe(true);
    expect((await show('quiet')).ports[0]).toMatchObject({ mac, link: true });
  });

  it('come again when the switch process is killed', async () => {
    const { networks } = test.service.management.context;
    const pid = networks.pid!;
    process.kill(pid, 'SIGKILL');
    await eventually(async () => await Promise.resolve(networks.pid !== null && networks.pid !== pid));
    await eventually(async () => await hears(two, one, 'nic0', 300));
    const events = await test.host.transport.call('listEvents', { query: { last: 1 } });
    expect(events).toMatchObject([{ kind: 'switch.lost', severity: 'warning' }]);
    // With neither of them VMs go on, and the next service starts it.
    const next = networks.pid!;
    await test.service.stop();
    process.kill(next, 'SIGKILL');
    await test.restart();
    await eventually(async () => await hears(two, one, 'nic0', 300));
  });

  it('are captured', async () => {
    const stream = new Stream(await test.host.transport.stream('/switches/quiet/capture?vm=one'));
    const pieces: Buffer[] = [];
    const captured = (async () => {
      for await (const piece of stream) {
        pieces.push(piece);
        if (Buffer.concat(pieces).includes('hearme')) return;
      }
    })();
    await eventually(async () => await Promise.resolve(pieces.length > 0));
    await using console = await one.console({ history: false });
    console.write('!shout nic0 hearme.');
    await captured;
    expect(Buffer.concat(pieces).readUInt32LE(0)).toBe(0xa1b2_3c4d);
    await expect(test.host.transport.stream('/switches/none/capture')).rejects.toThrow("there is no switch 'none'");
  });

  it('listen on ports of the host, or say why not', async () => {
    const forwards = (hostPort: number) => ({ forwards: [{ protocol: 'tcp' as const, hostPort, guestPort: 80 }] });
    await change(one, forwards(45_871), 'nic1');
    expect((await show('lan')).forwards).toEqual([
      { vm: 'one', nic: 'nic1', protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 45_871, guestPort: 80 },
    ]);
    await finish(test.host.transport.call('addNic', { params: { vm: two.id }, body: { switch: 'lan' } }));
    await expect(change(two, forwards(45_871), 'nic1')).rejects.toThrow('the port is in use; choose another');
    // What could not be is not in the configuration.
    expect((await two.refresh()).configuration.nics[1]).toEqual({ id: 'nic1', switch: 'lan' });
    await expect(change(two, forwards(45_872), 'nic0')).rejects.toThrow('port forwards need a switch of kind NAT');
    await change(one, { forwards: [] }, 'nic1');
    expect((await show('lan')).forwards).toEqual([]);
  });

  it('reserve addresses, by name, and know them after a restart', async () => {
    await change(one, { address: '172.30.0.77' }, 'nic1');
    expect((await show('lan')).leases).toEqual([{ owner: 'one/nic1', address: '172.30.0.77', fixed: true }]);
    await expect(change(two, { address: '172.30.0.77' }, 'nic1')).rejects.toThrow(
      '172.30.0.77 is reserved for one/nic1',
    );
    await expect(change(two, { address: '10.0.0.1' }, 'nic1')).rejects.toThrow(
      'no address for a machine in 172.30.0.0/24',
    );
    await one.refresh();
    await one.set({ name: 'first' });
    expect((await show('lan')).leases).toEqual([{ owner: 'first/nic1', address: '172.30.0.77', fixed: true }]);
    const file = join(test.folder, 'data/switches/lan.json');
    await eventually(
      async () => await Promise.resolve(existsSync(file) && readFileSync(file, 'utf8').includes('first')),
    );
    await one.refresh();
    await one.set({ name: 'one' });
    await change(one, { address: null }, 'nic1');
    await test.host.transport.call('removeLease', { params: { switch: 'lan', owner: 'one/nic1' } });
    await expect(
      test.host.transport.call('removeLease', { params: { switch: 'lan', owner: 'one/nic1' } }),
    ).rejects.toThrow("no reservation for 'one/nic1'");
  });

  it('go with the last VM', async () => {
    await one.stop({ turnOff: true });
    await two.stop({ turnOff: true });
    expect((await show('quiet')).ports).toEqual([]);
    const { networks } = test.service.management.context;
    await test.service.stop();
    expect(networks.pid).toBeNull();
    await test.restart();
  });
});

describe('MAC addresses', () => {
  it('are of one pool', async () => {
    const { host } = test;
    const mac = '00:15:5d:01:02:03';
    const a = await test.vm('a', { nics: [{ id: 'nic0', switch: null, macAddress: mac }] });
    await expect(test.vm('b', { nics: [{ id: 'nic0', switch: null, macAddress: mac }] })).rejects.toThrow(
      "00:15:5d:01:02:03 is the address of a's nic0 already: give another one",
    );
    const b = await test.vm('b', { nics: [{ id: 'nic0', switch: null }] });
    const given = (await b.refresh()).adapters[0]!.macAddress!;
    await expect(test.vm('c', { nics: [{ id: 'nic0', switch: null, macAddress: given }] })).rejects.toThrow("b's nic0");
    await expect(
      test.vm('c', { nics: [{ id: 'nic0', switch: null, macAddress: '01:00:5e:00:00:01' }] }),
    ).rejects.toThrow('is no address of an adapter');
    const clone = await a.clone({ name: 'clone' });
    expect(clone.info.adapters[0]!.macAddress).toMatch(/^00:15:5d:(?!01:02:03)/);
    expect((await host.get('b')).info.adapters[0]!.macAddress).toBe(given);
  });
});

describe('what makes no sense is refused', () => {
  const create = async (body: object) => await test.host.transport.call('createSwitch', { body: body as never });

  it.each<[object, string]>([
    [{ name: 'lan', kind: 'NAT' }, "there is a switch 'lan' already"],
    [{ name: 'x', kind: 'Private', subnet: '10.0.0.0/24' }, 'are for switches of kind NAT, not Private'],
    [{ name: 'x', kind: 'NAT', subnet: '10.0.0.0/31' }, 'is not an IPv4 network such as'],
    [{ name: 'x', kind: 'NAT', device: 'tap0' }, 'a NAT switch has no device of the host'],
    [{ name: 'x', kind: 'External' }, 'an External switch needs --device'],
    [{ name: 'x', kind: 'External', device: '../tap' }, "must be a network device's name"],
  ])('%j', async (body, message) => {
    await expect(create(body)).rejects.toThrow(message);
  });

  it('a switch that somebody is at is not removed', async () => {
    await test.vm('d', { nics: [{ id: 'nic0', switch: 'quiet' }] });
    await expect(test.host.transport.call('removeSwitch', { params: { switch: 'quiet' } })).rejects.toThrow(
      "disconnect them first, with 'hv nic disconnect'",
    );
    const { hostAccess } = await test.host.transport.call('changeSwitch', {
      params: { switch: 'lan' },
      body: { hostAccess: [{ protocol: 'tcp', port: 5432 }] },
    });
    expect(hostAccess).toEqual([{ protocol: 'tcp', port: 5432 }]);
  });

  it('a database of the version before has its switches', async () => {
    const old = await testHost();
    await old.service.stop();
    const path = join(old.folder, 'data/viridian.db');
    rmSync(path);
    writeFileSync(path, '');
    const db = new DatabaseSync(path);
    // As it was made before switches had settings.
    db.exec(`
      create table settings (name text primary key, value text not null) strict;
      create table vms (id text primary key, name text not null unique, revision integer not null, configuration text not null,
        state text not null, critical text, created text not null, saved text, saved_owned integer not null default 0, worker text,
        last_exit text, was_running integer not null default 0, checkpoint text, usage text not null default '{}') strict;
      create table checkpoints (id text primary key, vm text not null references vms (id) on delete cascade, parent text,
        name text not null, kind text not null, created text not null, configuration text not null, state_file text,
        disks text not null, pause real) strict;
      create table layers (file text primary key, vm text not null references vms (id) on delete cascade, parent text,
        ours integer not null, allow text not null) strict;
      create table held (vm text primary key references vms (id) on delete cascade, running integer not null) strict;
      create table events (id integer primary key autoincrement, time text not null, kind text not null, severity text not null,
        vm text, vm_name text, text text not null, data text not null) strict;
      create table switches (name text primary key, kind text not null, notes text not null) strict;
      create table tokens (id text primary key, name text not null unique, role text not null, vms text, hash text not null unique,
        created text not null) strict;
      insert into switches values ('old', 'NAT', 'from before');
      pragma user_version = 1;`);
    db.close();
    await old.restart();
    expect(await old.host.transport.call('listSwitches')).toEqual([
      {
        name: 'old',
        kind: 'NAT',
        notes: 'from before',
        device: null,
        subnet: '172.30.0.0/24',
        hostAccess: [],
        vms: [],
      },
    ]);
    expect(await old.vm('e', { nics: [{ id: 'nic0', switch: 'old' }] })).toBeDefined();
  });
});
