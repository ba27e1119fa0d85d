/**
 * What connects VMs: switches on record, the process that they live in, and the ports of the VMs that run. The service says what there
 * is to be; after a restart of either process it says all of it again.
 */
import { rmSync } from 'node:fs';
import type { NewSwitch, Switch, SwitchChange, SwitchDetail } from '../../contracts/api/resources.ts';
import type { Adapter, Nic } from '../../contracts/api/vm.ts';
import { isViridianError, ViridianError } from '../../contracts/errors.ts';
import type { PortSpec, SwitchEvent, SwitchStatus } from '../../contracts/switches.ts';
import type { WorkerMethods, WorkerNic } from '../../contracts/worker.ts';
import type { Database } from '../database.ts';
import type { EventLog } from '../events.ts';
import type { Inventory, VmRecord } from '../inventory.ts';
import { MacPool } from './macs.ts';
import { SwitchProcess } from './switch-process.ts';
import { Switches, type SwitchRecord } from './switches.ts';

export interface NetworksOptions {
  readonly db: Database;
  readonly inventory: Inventory;
  readonly events: EventLog;
  readonly dataFolder: string;
  readonly runtimeFolder: string;
  /** The switch process's program. */
  readonly switchEntry: string;
}

/** Milliseconds until a switch process that was lost is started again; it may be lost at once. */
const RESTART_DELAY = 200;
/** Milliseconds between two events about an adapter's address. */
const TELL_PERIOD = 5000;
const RESTARTS = 5;
const RESTART_PERIOD = 60_000;

export class Networks {
  readonly switches: Switches;
  readonly macs: MacPool;
  readonly #options: NetworksOptions;
  readonly #process: SwitchProcess;
  /** VMs whose adapters are plugged in, by the instance of their worker. */
  readonly #plugged = new Map<string, string>();
  /** What DHCP has given, by VM and adapter, and when it was last told of as an event. */
  readonly #addresses = new Map<string, string>();
  readonly #told = new Map<string, number>();
  #restarts: number[] = [];

  constructor(options: NetworksOptions) {
    this.#options = options;
    this.switches = new Switches(options);
    this.macs = new MacPool(options.db, options.inventory);
    this.#process = new SwitchProcess({
      entry: options.switchEntry,
      runtimeFolder: options.runtimeFolder,
      event: (event) => this.#event(event),
      connected: () => this.#sync(),
      lost: () => this.#lost(),
    });
  }

  get pid(): number | null {
    return this.#process.pid;
  }

  // ------------------------------------------------------------------------------------------------------------- ports

  /** Ports for the adapters of a VM that is about to start, and what its worker is told of them. @throws ViridianError */
  async plug(record: VmRecord, instance: string): Promise<WorkerNic[]> {
    this.#plugged.set(instance, record.id);
    try {
      for (const nic of record.configuration.nics) await this.#setPort(record, instance, nic);
    } catch (error) {
      await this.unplug(instance);
      throw error;
    }
    return record.configuration.nics.map((nic) => this.#workerNic(record, instance, nic));
  }

  /** A VM of an earlier service, which goes on. */
  adopt(record: VmRecord, instance: string): void {
    this.#plugged.set(instance, record.id);
  }

  /** The worker has ended. */
  async unplug(instance: string): Promise<void> {
    const vm = this.#plugged.get(instance);
    this.#plugged.delete(instance);
    if (vm !== undefined)
      for (const key of [...this.#addresses.keys()]) if (key.startsWith(`${vm}/`)) this.#addresses.delete(key);
    if (!this.#process.running) return;
    await this.#keep().catch(() => {});
  }

  #workerNic(record: VmRecord, instance: string, nic: Nic): WorkerNic {
    const port = nic.switch === null ? null : { socket: this.#process.portSocket, id: portId(instance, nic) };
    return { id: nic.id, mac: this.macs.take(record.id, nic), port };
  }

  async #setPort(record: VmRecord, instance: string, nic: Nic): Promise<void> {
    if (nic.switch === null) return;
    const wire = this.switches.find(nic.switch);
    await this.#process.request('setSwitch', this.switches.spec(wire));
    await this.#process.request('setPort', this.#portSpec(record, instance, nic, wire.name));
  }

  #portSpec(record: VmRecord, instance: string, nic: Nic, wire: string): PortSpec {
    const { name, nics } = record.configuration;
    const first = nics.find((each) => each.switch === wire);
    return {
      id: portId(instance, nic),
      switch: wire,
      vm: name,
      nic: nic.id,
      owner: ownerOf(name, nic),
      hostName: first?.id === nic.id ? name : null,
      mac: this.macs.take(record.id, nic),
      vlan: nic.vlan ?? 0,
      macSpoofing: nic.macSpoofing ?? false,
      sendLimit: nic.sendLimit ?? null,
      receiveLimit: nic.receiveLimit ?? null,
      address: nic.address ?? null,
      egress: nic.egress ?? null,
      forwards: nic.forwards ?? [],
    };
  }

  /**
   * What a running VM has is made what its configuration says. @param ask its worker.
   * @throws ViridianError with the first thing that cannot be.
   */
  async match(record: VmRecord, instance: string, ask: AskWorker): Promise<void> {
    const { nics } = record.configuration;
    const there = new Map((await ask('listNics', undefined)).map((nic) => [nic.id, nic]));
    for (const nic of nics) await this.#setPort(record, instance, nic);
    for (const [id, { mac }] of there) {
      const wanted = nics.find((nic) => nic.id === id);
      if (wanted !== undefined && this.macs.take(record.id, wanted) === mac) continue;
      await ask('detachNic', { id });
      there.delete(id);
    }
    for (const nic of nics) {
      const wanted = this.#workerNic(record, instance, nic);
      const has = there.get(nic.id);
      if (has === undefined) await ask('attachNic', { nic: wanted });
      else if (has.port?.id !== wanted.port?.id) await ask('connectNic', { id: nic.id, port: wanted.port });
    }
    if (this.#process.running) await this.#keep();
  }

  /** Ports that are nobody's are taken away, and switches that are not on record. */
  async #keep(): Promise<void> {
    await this.#process.request('keep', {
      switches: this.switches.list().map(({ name }) => name),
      ports: this.#runs().flatMap(({ record, instance }) =>
        record.configuration.nics.filter((nic) => nic.switch !== null).map((nic) => portId(instance, nic)),
      ),
    });
  }

  #runs(): { readonly record: VmRecord; readonly instance: string }[] {
    return [...this.#plugged].flatMap(([instance, vm]) => {
      const record = this.#options.inventory.get(vm);
      return record === undefined ? [] : [{ record, instance }];
    });
  }

  // ----------------------------------------------------------------------------------------------------------- process

  /** After workers were found: the switch process of an earlier service, or a new one where it is needed. */
  async recover(): Promise<void> {
    if (await this.#process.adopt()) return;
    if (this.#needed) await this.#restart();
  }

  get #needed(): boolean {
    return this.#runs().some(({ record }) => record.configuration.nics.some((nic) => nic.switch !== null));
  }

  /** A switch process that was just connected to is told everything. */
  async #sync(): Promise<void> {
    for (const { record, instance } of this.#runs())
      for (const nic of record.configuration.nics) {
        try {
          await this.#setPort(record, instance, nic);
        } catch (error) {
          if (!this.#process.running) throw error;
          this.#options.events.add({
            kind: 'vm.not-connected',
            severity: 'warning',
            vm: { id: record.id, name: record.configuration.name },
            text: `${record.configuration.name}: ${nic.id} is not connected to ${nic.switch}: ${textOf(error)}`,
          });
        }
      }
    await this.#keep();
    for (const name of new Set(
      this.#runs().flatMap(({ record }) => record.configuration.nics.map((nic) => nic.switch)),
    )) {
      if (name === null) continue;
      const status = await this.#process.request('status', { name }).catch(() => undefined);
      for (const { vm, nic, address } of status?.ports ?? []) this.#remember(vm, nic, address);
    }
  }

  /** Without a VM at a switch it ends by itself, and is not missed. */
  #lost(): void {
    if (!this.#needed) return;
    const now = Date.now();
    this.#restarts = [...this.#restarts.filter((time) => now - time < RESTART_PERIOD), now];
    const { events } = this.#options;
    if (this.#restarts.length > RESTARTS) {
      events.add({
        kind: 'switch.lost',
        severity: 'error',
        text: `the switch process has ended ${this.#restarts.length} times within a minute, and is not started again: VMs have no network until one is started, or the service is`,
      });
      return;
    }
    events.add({
      kind: 'switch.lost',
      severity: 'warning',
      text: 'the switch process has ended, and is started again: VMs are connected again, connections through NAT are lost',
    });
    setTimeout(() => void this.#restart(), RESTART_DELAY).unref();
  }

  async #restart(): Promise<void> {
    try {
      await this.#process.request('hello', undefined);
    } catch (error) {
      this.#options.events.add({ kind: 'switch.lost', severity: 'error', text: textOf(error) });
    }
  }

  async leave(): Promise<void> {
    await this.#process.leave(this.#needed);
  }

  #event(event: SwitchEvent): void {
    if (event.event !== 'address') return;
    const { vm, nic, address } = event;
    if (!this.#remember(vm, nic, address)) return;
    const record = this.#options.inventory.named(vm);
    // A guest that has its address change all the time does not fill the event log.
    const key = `${vm}/${nic}`;
    if (Date.now() - (this.#told.get(key) ?? 0) < TELL_PERIOD) return;
    this.#told.set(key, Date.now());
    this.#options.events.add({
      kind: 'vm.address',
      ...(record === undefined ? {} : { vm: { id: record.id, name: vm } }),
      text: `${vm} has the address ${address} (${nic})`,
      data: { nic, address },
    });
  }

  #remember(vm: string, nic: string, address: string | null): boolean {
    const record = this.#options.inventory.named(vm);
    if (record === undefined || address === null) return false;
    const key = `${record.id}/${nic}`;
    const is = this.#addresses.get(key) === address;
    this.#addresses.set(key, address);
    return !is;
  }

  // ------------------------------------------------------------------------------------------------------------- views

  adapters({ id, configuration }: VmRecord): Adapter[] {
    const runs = [...this.#plugged.values()].includes(id);
    return configuration.nics.map((nic) => ({
      id: nic.id,
      switch: nic.switch,
      macAddress: this.macs.get(id, nic) ?? null,
      address: (runs ? this.#addresses.get(`${id}/${nic.id}`) : undefined) ?? nic.address ?? null,
      connected: runs && nic.switch !== null,
    }));
  }

  /** @param sees whether the caller may know of a VM, by its name. */
  list(sees: (vm: string) => boolean): Switch[] {
    return this.switches.list().map((record) => this.#visible(record, sees));
  }

  #visible(record: SwitchRecord, sees: (vm: string) => boolean): Switch {
    const view = this.switches.view(record);
    return { ...view, vms: view.vms.filter(sees) };
  }

  async detail(name: string, sees: (vm: string) => boolean): Promise<SwitchDetail> {
    const record = this.switches.find(name);
    const status = await this.#status(name);
    const forwards = (status?.forwards ?? []).filter(({ vm }) => sees(vm));
    return {
      ...this.#visible(record, sees),
      running: this.#process.running,
      gateway: status?.gateway ?? null,
      domain: status?.domain ?? null,
      ports: (status?.ports ?? []).filter(({ vm }) => sees(vm)),
      leases: (status?.leases ?? []).filter(({ owner }) => sees(owner.split('/')[0]!)),
      forwards: forwards.map((each) => ({ ...each, hostAddress: each.hostAddress ?? '127.0.0.1' })),
    };
  }

  /** Undefined: nobody is at it. A NAT switch is looked at all the same: it has leases. */
  async #status(name: string): Promise<SwitchStatus | undefined> {
    const record = this.switches.find(name);
    if (!this.#process.running && record.kind !== 'NAT') return undefined;
    if (record.kind === 'NAT') await this.#process.request('setSwitch', this.switches.spec(record));
    return await this.#process.request('status', { name }).catch((error: unknown) => {
      if (isViridianError(error) && error.code === 'notFound') return undefined;
      throw error;
    });
  }

  create(given: NewSwitch): Switch {
    return this.switches.view(this.switches.create(given));
  }

  async change(name: string, change: SwitchChange): Promise<Switch> {
    const record = this.switches.change(name, change);
    if (this.#process.running) await this.#process.request('setSwitch', this.switches.spec(record));
    return this.switches.view(record);
  }

  async remove(name: string): Promise<void> {
    this.switches.remove(name);
    if (this.#process.running) await this.#process.request('removeSwitch', { name });
    rmSync(this.switches.leasesFile(name), { force: true });
  }

  async forgetLease(name: string, owner: string): Promise<void> {
    const record = this.switches.find(name);
    await this.#process.request('setSwitch', this.switches.spec(record));
    const { there } = await this.#process.request('forgetLease', { name, owner });
    if (!there) throw new ViridianError('notFound', `${name} has no reservation for '${owner}'`);
  }

  /** A pcap file, piece by piece. */
  async capture(
    name: string,
    { vm, nic, snaplen }: { vm?: string | undefined; nic?: string | undefined; snaplen?: number | undefined },
    write: (bytes: Uint8Array) => void,
  ): Promise<{ readonly closed: Promise<void>; end(): void }> {
    const record = this.switches.find(name);
    let mac: string | null = null;
    if (vm !== undefined) {
      const { id, configuration } = this.#options.inventory.find(vm);
      const wanted = configuration.nics.find((each) => each.switch === name && (nic === undefined || each.id === nic));
      if (wanted === undefined)
        throw new ViridianError('notFound', `${configuration.name} has no ${nic ?? 'adapter'} at the switch ${name}`);
      mac = this.macs.take(id, wanted);
    }
    await this.#process.request('setSwitch', this.switches.spec(record));
    return await this.#process.capture({ name, mac, snaplen: snaplen ?? null }, write);
  }
}

export type AskWorker = <M extends 'listNics' | 'attachNic' | 'detachNic' | 'connectNic'>(
  method: M,
  params: WorkerMethods[M]['params'],
) => Promise<WorkerMethods[M]['result']>;

/** What the worker shows to the switch process: nobody else knows its instance. */
function portId(instance: string, nic: Nic): string {
  return `${instance}/${nic.id}`;
}

/** What an adapter's address is reserved under: its VM's name, for the first one. */
function ownerOf(vm: string, nic: Nic): string {
  return nic.id === 'nic0' ? vm : `${vm}/${nic.id}`;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
