/** Switches on record: what they are, and what may be said of them. */
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { NewSwitch, Switch, SwitchChange } from '../../contracts/api/resources.ts';
import type { Nic } from '../../contracts/api/vm.ts';
import { isViridianError, ViridianError } from '../../contracts/errors.ts';
import type { SwitchSpec } from '../../contracts/switches.ts';
import { openTap } from '../../host/node/tap.ts';
import { inNetwork, parseIp } from '../../vswitch/ethernet.ts';
import { DEFAULT_SUBNET, resolveNatOptions } from '../../vswitch/nat/config.ts';
import { parseEgressRule } from '../../vswitch/nat/policy.ts';
import type { ServiceContext } from '../context.ts';
import type { Row } from '../database.ts';

export interface SwitchRecord {
  readonly name: string;
  readonly kind: Switch['kind'];
  readonly notes: string;
  readonly device: string | null;
  readonly subnet: string | null;
  readonly hostAccess: Switch['hostAccess'];
}

/** Longest name of a network device on Linux. */
const DEVICE_NAME = 15;

export class Switches {
  readonly #context: Pick<ServiceContext, 'db' | 'inventory' | 'events' | 'dataFolder'>;

  constructor(context: Pick<ServiceContext, 'db' | 'inventory' | 'events' | 'dataFolder'>) {
    this.#context = context;
  }

  list(): SwitchRecord[] {
    return this.#context.db.all('select * from switches order by name').map(recordOf);
  }

  get(name: string): SwitchRecord | undefined {
    const row = this.#context.db.get('select * from switches where name = ?', name);
    return row === undefined ? undefined : recordOf(row);
  }

  /** @throws ViridianError `notFound` */
  find(name: string): SwitchRecord {
    const record = this.get(name);
    if (record === undefined)
      throw new ViridianError('notFound', `there is no switch '${name}': make it with 'hv switch create ${name}'`);
    return record;
  }

  view(record: SwitchRecord): Switch {
    const vms = this.#context.inventory
      .list()
      .filter(({ configuration }) => configuration.nics.some((nic) => nic.switch === record.name))
      .map(({ configuration }) => configuration.name);
    return { ...record, hostAccess: [...record.hostAccess], vms };
  }

  create(given: NewSwitch): SwitchRecord {
    const { name, kind, notes = '', subnet, hostAccess = [] } = given;
    if (this.get(name) !== undefined) throw new ViridianError('wrongState', `there is a switch '${name}' already`);
    if (kind !== 'NAT' && (subnet !== undefined || hostAccess.length > 0))
      throw new ViridianError('invalid', `a subnet and access to the host are for switches of kind NAT, not ${kind}`);
    if (kind === 'NAT') resolveNatOptions({ subnet });
    const device = deviceOf(given);
    if (device !== null) demandDevice(name, kind, device);
    const record = {
      name,
      kind,
      notes,
      device,
      subnet: kind === 'NAT' ? (subnet ?? DEFAULT_SUBNET) : null,
      hostAccess,
    };
    const { db, events } = this.#context;
    db.run(
      'insert into switches (name, kind, notes, settings) values (?, ?, ?, ?)',
      name,
      kind,
      notes,
      JSON.stringify({ device, subnet: record.subnet, hostAccess }),
    );
    events.add({ kind: 'switch.created', text: `the switch ${name} (${kind}) was created` });
    return record;
  }

  change(name: string, { notes, hostAccess }: SwitchChange): SwitchRecord {
    const before = this.find(name);
    if (hostAccess !== undefined && before.kind !== 'NAT')
      throw new ViridianError(
        'invalid',
        `access to the host is for switches of kind NAT, and ${name} is ${before.kind}`,
      );
    const record = { ...before, notes: notes ?? before.notes, hostAccess: hostAccess ?? before.hostAccess };
    const { db, events } = this.#context;
    db.run(
      'update switches set notes = ?, settings = ? where name = ?',
      record.notes,
      JSON.stringify({ device: record.device, subnet: record.subnet, hostAccess: record.hostAccess }),
      name,
    );
    events.add({ kind: 'switch.changed', text: `the switch ${name} was changed` });
    return record;
  }

  remove(name: string): void {
    const { vms } = this.view(this.find(name));
    if (vms.length > 0)
      throw new ViridianError(
        'wrongState',
        `adapters of ${vms.join(', ')} are connected to ${name}: disconnect them first, with 'hv nic disconnect'`,
      );
    this.#context.db.run('delete from switches where name = ?', name);
    this.#context.events.add({ kind: 'switch.removed', text: `the switch ${name} was removed` });
  }

  /** For the switch process. */
  spec({ name, kind, device, subnet, hostAccess }: SwitchRecord): SwitchSpec {
    const leases = kind === 'NAT' ? this.leasesFile(name) : null;
    return { name, kind, device, subnet, hostAccess, leases };
  }

  /** Who has which address of a NAT switch; the switch process writes it. */
  leasesFile(name: string): string {
    return join(this.#context.dataFolder, 'switches', `${encodeURIComponent(name)}.json`);
  }

  /** What an adapter asks of its switch must be possible there. @throws ViridianError */
  demandNic(nic: Nic): void {
    const { id, switch: name, vlan, address, forwards = [], egress } = nic;
    const problem = (text: string): ViridianError => new ViridianError('invalid', `${id}: ${text}`);
    const record = name === null ? undefined : this.find(name);
    const isNat = record?.kind === 'NAT' && (vlan ?? 0) === 0;
    if (forwards.length > 0 && !isNat) throw problem('port forwards need a switch of kind NAT, and no VLAN');
    if (egress !== undefined && !isNat) throw problem('an egress policy needs a switch of kind NAT, and no VLAN');
    for (const rule of egress ?? []) parseEgressRule(rule);
    if (address === undefined || record === undefined) return;
    const ip = parseIp(address);
    if (ip === undefined) throw problem(`${address} is no IPv4 address`);
    if (!isNat) return;
    const { network, gateway } = resolveNatOptions({ subnet: record.subnet ?? undefined });
    const first = network.network;
    const last = (first + 2 ** (32 - network.prefix) - 1) >>> 0;
    if (!inNetwork(ip, network) || ip === gateway || ip === first || ip === last)
      throw problem(`${address} is no address for a machine in ${record.subnet}, the network of ${record.name}`);
  }
}

function recordOf(row: Row): SwitchRecord {
  const kind = row.kind as Switch['kind'];
  const settings = JSON.parse(String(row.settings)) as Partial<SwitchRecord>;
  return {
    name: String(row.name),
    kind,
    notes: String(row.notes),
    device: settings.device ?? null,
    subnet: settings.subnet ?? (kind === 'NAT' ? DEFAULT_SUBNET : null),
    hostAccess: settings.hostAccess ?? [],
  };
}

function deviceOf({ name, kind, device }: NewSwitch): string | null {
  if (kind === 'External' && device === undefined)
    throw new ViridianError(
      'invalid',
      'an External switch needs --device: a TAP device of the host that is in a bridge with the network outside',
    );
  if (kind !== 'External' && kind !== 'Internal') {
    if (device !== undefined) throw new ViridianError('invalid', `a ${kind} switch has no device of the host`);
    return null;
  }
  return device ?? `hv-${name.toLowerCase().replaceAll(/[^a-z0-9-]+/g, '-')}`.slice(0, DEVICE_NAME);
}

/** Whether the device can be opened is known before anything is connected to it. */
function demandDevice(name: string, kind: string, device: string): void {
  try {
    openTap(device).close();
  } catch (error) {
    if (!isViridianError(error)) throw error;
    const make = `ip tuntap add dev ${device} mode tap user ${userInfo().username} && ip link set ${device} up`;
    const more = kind === 'Internal' ? ` && ip address add 10.75.0.1/24 dev ${device}` : '';
    throw new ViridianError(
      error.code,
      `the switch ${name} needs the host's TAP device ${device} (${error.message}): have root run '${make}${more}', then try again`,
      { cause: error },
    );
  }
}
