/** Network adapters of one machine, with their addresses. */
import { useState } from 'react';
import type { Adapter, Nic, Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Code, Forwards } from '../host/switches-page.tsx';
import { Button } from '../parts/button.tsx';
import { Collection } from '../parts/collection.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { changesIn, type FieldOf, FieldTable } from '../parts/field-table.tsx';
import type { Column } from '../parts/table.tsx';
import { call } from '../store/api.ts';
import { useGauge, useLoaded, useMay } from '../store/hooks.ts';
import { startJob } from '../store/run.ts';
import { Graph, NETWORK } from './graph.tsx';

/** Adapters can come, go and change in these; elsewhere the buttons would fail. */
const CHANGEABLE = ['Off', 'OffCritical', 'Running', 'Paused'];

interface Row extends Nic {
  /** What the service knows of it. */
  readonly adapter: Adapter | undefined;
}

export function Network({ vm }: { vm: Vm }) {
  const administrator = useMay('administrator') && CHANGEABLE.includes(vm.state);
  const on = isAttended(vm.state);
  const said = useGauge(vm.id)?.latest.addresses ?? [];
  const [changing, setChanging] = useState<Nic>();
  const [removing, setRemoving] = useState<Nic>();
  const rows = vm.configuration.nics.map((nic) => ({ ...nic, adapter: vm.adapters.find(({ id }) => id === nic.id) }));
  const others = said.filter((address) => !vm.adapters.some((adapter) => adapter.address === address));
  const actions = (nic: Nic) => (
    <div className="buttons">
      <Button look="small" aria-label={`Change ${nic.id}`} onClick={() => setChanging(nic)}>
        Change
      </Button>
      <Button look={['small', 'danger']} aria-label={`Remove ${nic.id}`} onClick={() => setRemoving(nic)}>
        Remove
      </Button>
    </div>
  );
  return (
    <div className="stack">
      <Collection
        title="Network adapters"
        heading={false}
        rows={rows}
        keyOf={({ id }) => id}
        columns={[
          ...COLUMNS,
          ...(administrator ? [{ title: 'Actions', look: 'actions', cell: actions } as const] : []),
        ]}
        empty={{ title: 'No network adapters', text: 'An adapter connects the machine to a virtual switch.' }}
        make={
          administrator
            ? [{ label: 'Add network adapter', form: (close) => <AdapterDialog vm={vm} onClose={close} /> }]
            : []
        }
      />
      {on && others.length > 0 ? (
        <p>
          The guest also has <code className="wrap">{others.join(', ')}</code>
        </p>
      ) : null}
      {on ? <Graph vm={vm.id} title="Network" figure="rate" series={NETWORK} /> : null}
      {removing === undefined ? null : (
        <Dialog
          title={`Remove ${removing.id}?`}
          text={
            on
              ? 'The guest loses it at once, and what is connected through it.'
              : 'Its settings and its MAC address go.'
          }
          action="Remove"
          danger
          onClose={() => setRemoving(undefined)}
          onAction={() =>
            startJob('Remove adapter', () => call('removeNic', { params: { vm: vm.id, nic: removing.id } }))
          }
        />
      )}
      {changing === undefined ? null : <AdapterDialog vm={vm} nic={changing} onClose={() => setChanging(undefined)} />}
    </div>
  );
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'Adapter', cell: ({ id }) => id },
  {
    title: 'Switch',
    cell: (nic) => (
      <div className="vm-name">
        <span>{nic.switch ?? <span className="quiet">not connected</span>}</span>
        {mannerOf(nic) === '' ? null : <span className="quiet wrap">{mannerOf(nic)}</span>}
      </div>
    ),
  },
  {
    title: 'MAC address',
    cell: ({ adapter }) => <Code text={adapter?.macAddress ?? null} otherwise="given at the start" />,
  },
  { title: 'Address', cell: ({ adapter }) => <Code text={adapter?.address ?? null} otherwise="none known" /> },
  { title: 'Forwards from the host', cell: ({ forwards = [] }) => <Forwards of={forwards} /> },
];

/** "VLAN 5, sends 10 Mbit/s at most". */
function mannerOf({ vlan, sendLimit, receiveLimit, macSpoofing, egress }: Nic): string {
  const most = (what: string, limit: number | undefined): string[] =>
    limit === undefined ? [] : [`${what} ${limit / 1e6} Mbit/s at most`];
  return [
    ...(vlan === undefined ? [] : [`VLAN ${vlan}`]),
    ...most('sends', sendLimit),
    ...most('receives', receiveLimit),
    ...(macSpoofing ? ['from any MAC address'] : []),
    ...(egress === undefined ? [] : [`goes to ${egress.length === 0 ? 'nowhere' : egress.join(' ')} only`]),
  ].join(', ');
}

/** What an adapter may be told; its switch is one of those that there are. */
const FIELDS: readonly FieldOf[] = [
  {
    of: 'forwards',
    label: 'Ports of the host that lead to the guest',
    kind: 'forwards',
    placeholder: '8080:80 2222:22',
    hint: 'HOSTPORT:GUESTPORT, several with spaces, /udp for UDP. The host listens on 127.0.0.1, or on an address before the port. At a NAT switch only.',
  },
  {
    of: 'egress',
    label: 'Where it may go',
    kind: 'optionalWords',
    placeholder: 'anywhere',
    hint: 'As tcp:192.0.2.7:443 *.debian.org:80-443. At a NAT switch only.',
  },
  {
    of: 'address',
    label: 'IPv4 address',
    kind: 'optional',
    placeholder: 'any that is free',
    hint: 'What DHCP gives it',
    half: true,
  },
  {
    of: 'vlan',
    label: 'VLAN',
    kind: 'number',
    min: 1,
    max: 4094,
    placeholder: 'none',
    hint: 'Not with NAT',
    half: true,
  },
  { of: 'sendLimit', label: 'Sends, Mbit/s', kind: 'megabits', min: 0.001, placeholder: 'no limit', half: true },
  { of: 'receiveLimit', label: 'Receives, Mbit/s', kind: 'megabits', min: 0.001, placeholder: 'no limit', half: true },
  { of: 'macSpoofing', label: 'It may send from any MAC and IP address', kind: 'check' },
];
const MAC: FieldOf = {
  of: 'macAddress',
  label: 'MAC address',
  kind: 'optional',
  placeholder: '00:15:5d:00:00:01',
  pattern: '([0-9a-f]{2}:){5}[0-9a-f]{2}',
  hint: 'Without one, the host gives it.',
};

/** Of an adapter that is there, or of a new one. */
function AdapterDialog({ vm, nic, onClose }: { vm: Vm; nic?: Nic; onClose: () => void }) {
  const switches = useLoaded('switches', () => call('listSwitches'));
  const fields: readonly FieldOf[] = [
    {
      of: 'switch',
      label: 'Switch',
      kind: 'optionalChoice',
      options: [
        ['', 'Not connected'],
        ...(switches.value ?? []).map(({ name, kind }) => [name, `${name} (${kind})`] as const),
      ],
      hint: switches.value?.length === 0 ? 'There is no switch yet: make one on the page Switches.' : undefined,
    },
    ...(nic === undefined ? [MAC] : []),
    ...FIELDS,
  ];
  const ask = (data: FormData): Promise<boolean> =>
    nic === undefined
      ? startJob('Add adapter', () => {
          const body = { switch: null, ...changesIn(fields, {}, data) };
          return call('addNic', { params: { vm: vm.id }, body });
        })
      : startJob('Change adapter', () =>
          call('changeNic', { params: { vm: vm.id, nic: nic.id }, body: changesIn(fields, nic, data) }),
        );
  return (
    <Dialog
      title={nic === undefined ? 'Add network adapter' : `Change ${nic.id}`}
      action={nic === undefined ? 'Add' : 'Save'}
      onClose={onClose}
      onAction={ask}
    >
      <FieldTable fields={fields} values={nic ?? {}} />
    </Dialog>
  );
}
