/** `hv nic ...`, `hv switch ...`: what they do. */
import { createWriteStream } from 'node:fs';
import type { Job, Vm } from '../../../client/index.ts';
import { Stream } from '../../../client/stream.ts';
import type { OperationBody } from '../../../contracts/api/operations.ts';
import type { SwitchDetail } from '../../../contracts/api/resources.ts';
import { ViridianError } from '../../../contracts/errors.ts';
import type { PortForward } from '../../../contracts/network.ts';
import { say } from '../../say.ts';
import type { Action, Flags } from '../command-row.ts';
import { bytes, list, showOne, showRows, table } from '../output.ts';
import { onlyAsked, service, vmOf } from '../session.ts';
import { forwardText, type HostPort } from '../values.ts';

type NicChange = OperationBody<'changeNic'>;

async function done(vm: Vm, job: Promise<Job>): Promise<undefined> {
  await vm.host.finish(await job);
  return undefined;
}

/** Options as settings; null: the default again. */
function adapterOf(flags: Flags): NicChange {
  const { macSpoofing, egress, publish } = flags as {
    macSpoofing?: 'on' | 'off';
    egress?: string[];
    publish?: (PortForward | 'none')[];
  };
  const plain = (['vlan', 'address', 'sendLimit', 'receiveLimit'] as const)
    .filter((name) => flags[name] !== undefined)
    .map((name) => [name, flags[name] === 'none' ? null : flags[name]] as const);
  return {
    ...Object.fromEntries(plain),
    ...(macSpoofing === undefined ? {} : { macSpoofing: macSpoofing === 'on' }),
    ...(egress === undefined ? {} : { egress: egress.includes('none') ? null : egress }),
    ...(publish === undefined ? {} : { forwards: publish.filter((each) => each !== 'none') }),
  };
}

export const addNic: Action = async ([name, to], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `add a network adapter to ${vm.name}`)) return undefined;
  const { id, mac } = flags as { id?: string; mac?: string };
  const settings = Object.entries(adapterOf(flags)).filter(([, value]) => value !== null);
  const body = {
    ...Object.fromEntries(settings),
    switch: to ?? null,
    ...(id === undefined ? {} : { id }),
    ...(mac === undefined ? {} : { macAddress: mac }),
  };
  return await done(vm, vm.host.transport.call('addNic', { params: { vm: vm.id }, body }));
};

async function changeNic(name: string, nic: string, body: NicChange): Promise<undefined> {
  const vm = await vmOf(name);
  return await done(vm, vm.host.transport.call('changeNic', { params: { vm: vm.id, nic }, body }));
}

export const setNic: Action = async ([name, nic], flags) => {
  const change = adapterOf(flags);
  if (Object.keys(change).length === 0) throw new ViridianError('invalid', "nothing to set: see 'hv nic set --help'");
  if (onlyAsked(flags, `set ${JSON.stringify(change)} of ${nic} of ${name}`)) return undefined;
  return await changeNic(name!, nic!, change);
};

export const connectNic: Action = async ([name, nic, to], flags) => {
  if (onlyAsked(flags, `connect ${nic} of ${name} to ${to}`)) return undefined;
  return await changeNic(name!, nic!, { switch: to! });
};

export const disconnectNic: Action = async ([name, nic], flags) => {
  if (onlyAsked(flags, `disconnect ${nic} of ${name}`)) return undefined;
  // What only makes sense at a switch goes with it.
  return await changeNic(name!, nic!, { switch: null, forwards: [], egress: null });
};

export const removeNic: Action = async ([name, nic], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `remove ${nic} of ${vm.name}`)) return undefined;
  return await done(vm, vm.host.transport.call('removeNic', { params: { vm: vm.id, nic: nic! } }));
};

export const listNics: Action = async ([name], flags) => {
  const { configuration, adapters } = (await vmOf(name)).info;
  const rows = configuration.nics.map((nic) => ({ ...nic, ...adapters.find(({ id }) => id === nic.id) }));
  await showRows(rows, flags, {
    name: (nic) => nic.id,
    none: `${name} has no network adapters`,
    columns: [
      { title: 'ID', value: (nic) => nic.id },
      { title: 'SWITCH', value: (nic) => nic.switch ?? '-' },
      { title: 'MAC', value: (nic) => nic.macAddress ?? 'dynamic' },
      { title: 'ADDRESS', value: (nic) => nic.address ?? '-' },
      { title: 'VLAN', value: (nic) => String(nic.vlan ?? '-') },
      { title: 'SETTINGS', value: settingsText },
    ],
  });
  return undefined;
};

function settingsText(nic: {
  readonly macSpoofing?: boolean | undefined;
  readonly sendLimit?: number | undefined;
  readonly receiveLimit?: number | undefined;
  readonly egress?: readonly string[] | undefined;
  readonly forwards?: readonly PortForward[] | undefined;
}): string {
  const { macSpoofing, sendLimit, receiveLimit, egress, forwards = [] } = nic;
  const parts = [
    macSpoofing ? 'mac-spoofing' : '',
    sendLimit === undefined ? '' : `send ${rateText(sendLimit)}`,
    receiveLimit === undefined ? '' : `receive ${rateText(receiveLimit)}`,
    egress === undefined ? '' : `egress ${egress.join(' ') || 'nowhere'}`,
    ...forwards.map(forwardText),
  ];
  return parts.filter(Boolean).join(', ') || '-';
}

function rateText(bits: number): string {
  for (const [unit, size] of [
    ['G', 1e9],
    ['M', 1e6],
    ['k', 1e3],
  ] as const)
    if (bits >= size) return `${Math.round((bits / size) * 10) / 10}${unit}bit/s`;
  return `${bits}bit/s`;
}

// ---- switches ---------------------------------------------------------------------------------------------------------------------

export const createSwitch: Action = async ([name], flags) => {
  const kind = (flags.kind as 'NAT' | undefined) ?? 'NAT';
  if (onlyAsked(flags, `make the switch ${name} (${kind})`)) return undefined;
  const { notes, subnet, device, allowHost } = flags as {
    notes?: string;
    subnet?: string;
    device?: string;
    allowHost?: HostPort[];
  };
  const body = {
    name: name!,
    kind,
    ...(notes === undefined ? {} : { notes }),
    ...(subnet === undefined ? {} : { subnet }),
    ...(device === undefined ? {} : { device }),
    ...(allowHost === undefined ? {} : { hostAccess: allowHost }),
  };
  await (await service()).transport.call('createSwitch', { body });
  return undefined;
};

export const setSwitch: Action = async ([name], flags) => {
  const { notes, allowHost } = flags as { notes?: string; allowHost?: (HostPort | 'none')[] };
  if (notes === undefined && allowHost === undefined)
    throw new ViridianError('invalid', "nothing to set: see 'hv switch set --help'");
  if (onlyAsked(flags, `change the switch ${name}`)) return undefined;
  const body = {
    ...(notes === undefined ? {} : { notes }),
    ...(allowHost === undefined ? {} : { hostAccess: allowHost.filter((each) => each !== 'none') }),
  };
  await (await service()).transport.call('changeSwitch', { params: { switch: name! }, body });
  return undefined;
};

export const listSwitches: Action = async (_args, flags) => {
  const all = await (await service()).transport.call('listSwitches');
  await showRows(all, flags, {
    name: (each) => each.name,
    none: "no switches; make one with 'hv switch create'",
    columns: [
      { title: 'NAME', value: (each) => each.name },
      { title: 'KIND', value: (each) => each.kind },
      { title: 'NETWORK', value: (each) => each.subnet ?? each.device ?? '-' },
      { title: 'VMS', value: (each) => each.vms.join(' ') || '-' },
      { title: 'NOTES', value: (each) => each.notes },
    ],
  });
  return undefined;
};

export const showSwitch: Action = async ([name], flags) => {
  const found = await (await service()).transport.call('getSwitch', { params: { switch: name! } });
  await showOne(found, flags, () => describe(found), found.name);
  return undefined;
};

function describe(found: SwitchDetail): string {
  const facts: (readonly [string, string])[] = [
    ['name', found.name],
    ['kind', found.kind],
    ...(found.subnet === null ? [] : [['subnet', found.subnet] as const]),
    ...(found.gateway === null ? [] : [['gateway', `${found.gateway}, also DHCP and DNS server`] as const]),
    ...(found.domain === null ? [] : [['domain', found.domain] as const]),
    ...(found.device === null ? [] : [['device', found.device] as const]),
    ...(found.hostAccess.length === 0
      ? []
      : [['host ports', found.hostAccess.map(({ protocol, port }) => `${port}/${protocol}`).join(' ')] as const]),
    ['virtual machines', found.vms.join(' ') || '-'],
    ['notes', found.notes || '-'],
  ];
  const parts = [list(facts)];
  if (found.ports.length > 0)
    parts.push(
      table(found.ports, [
        { title: 'VM', value: ({ vm }) => vm },
        { title: 'NIC', value: ({ nic }) => nic },
        { title: 'LINK', value: ({ link }) => (link ? 'up' : 'down') },
        { title: 'MAC', value: ({ mac }) => mac },
        { title: 'ADDRESS', value: ({ address }) => address ?? '-' },
        { title: 'VLAN', value: ({ vlan }) => (vlan === 0 ? '-' : String(vlan)) },
        { title: 'SENT', value: ({ sentBytes }) => bytes(sentBytes), right: true },
        { title: 'RECEIVED', value: ({ receivedBytes }) => bytes(receivedBytes), right: true },
        {
          title: 'DROPPED',
          value: ({ dropped }) =>
            Object.entries(dropped)
              .map(([why, count]) => `${why} ${count}`)
              .join(', ') || '-',
        },
      ]),
    );
  if (found.leases.length > 0)
    parts.push(
      table(found.leases, [
        { title: 'ADDRESS', value: ({ address }) => address },
        { title: 'RESERVED FOR', value: ({ owner }) => owner },
        { title: 'BY', value: ({ fixed }) => (fixed ? 'configuration' : 'DHCP') },
      ]),
    );
  if (found.forwards.length > 0)
    parts.push(
      table(found.forwards, [
        { title: 'HOST', value: ({ hostAddress, hostPort, protocol }) => `${hostAddress}:${hostPort}/${protocol}` },
        { title: 'GUEST', value: ({ vm, guestPort }) => `${vm}:${guestPort}` },
        { title: 'NIC', value: ({ nic }) => nic },
      ]),
    );
  return parts.join('\n\n');
}

export const captureSwitch: Action = async ([name, file], flags) => {
  const { vm, nic, snaplen, seconds } = flags as { vm?: string; nic?: string; snaplen?: number; seconds?: number };
  if (file === undefined && process.stdout.isTTY)
    throw new ViridianError('invalid', "a capture is no text: give it a file, or pipe it, as into 'tcpdump -nr -'");
  const query = new URLSearchParams({
    ...(vm === undefined ? {} : { vm }),
    ...(nic === undefined ? {} : { nic }),
    ...(snaplen === undefined ? {} : { snaplen: String(snaplen) }),
  });
  const host = await service();
  await using stream = new Stream(
    await host.transport.stream(`/switches/${encodeURIComponent(name!)}/capture?${query.toString()}`),
  );
  const output = file === undefined || file === '-' ? process.stdout : createWriteStream(file);
  let count = 0;
  let failure: Error | undefined;
  const end = (): void => void stream[Symbol.asyncDispose]();
  output.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever reads has read enough.
    if (error.code !== 'EPIPE') failure = error;
    end();
  });
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  let timer: NodeJS.Timeout | undefined;
  if (file !== undefined && file !== '-') say(`hv: capturing to ${file}; interrupt it to end`);
  for await (const piece of stream) {
    // The file's header: from here on nothing is missed.
    if (seconds !== undefined) timer ??= setTimeout(end, seconds * 1000);
    count += piece.length;
    if (!output.write(piece)) await new Promise((resolve) => output.once('drain', resolve));
  }
  clearTimeout(timer);
  if (output !== process.stdout) await new Promise<void>((resolve) => output.end(() => resolve()));
  const { code, reason } = stream.closed ?? { code: 1000, reason: '' };
  if (reason !== '' && code !== 1000) throw new ViridianError('failure', reason);
  if (failure !== undefined)
    throw new ViridianError('failure', `${file} cannot be written: ${failure.message}`, { cause: failure });
  if (output !== process.stdout) say(`hv: ${bytes(count)} in ${file}`);
  return undefined;
};

export const forgetLease: Action = async ([name, owner], flags) => {
  if (onlyAsked(flags, `give up the address that is reserved for ${owner} on ${name}`)) return undefined;
  await (await service()).transport.call('removeLease', { params: { switch: name!, owner: owner! } });
  return undefined;
};

export const removeSwitch: Action = async ([name], flags) => {
  if (onlyAsked(flags, `remove the switch ${name}`)) return undefined;
  await (await service()).transport.call('removeSwitch', { params: { switch: name! } });
  return undefined;
};
