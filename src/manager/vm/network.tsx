/** Network adapters of one machine, with their addresses. */
import { useState } from 'react';
import type { Adapter, Nic, Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Code, Forwards } from '../host/switches-page.tsx';
import { Button } from '../parts/button.tsx';
import { Collection } from '../parts/collection.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Choice, Field } from '../parts/field.tsx';
import type { Column } from '../parts/table.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { forwardText, parseForwards } from '../store/forwards.ts';
import { useGauge, useLoaded, useMay } from '../store/hooks.ts';
import { attempt, runJob } from '../store/run.ts';
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
  const rows = vm.configuration.nics.map((nic) => ({ ...nic, adapter: vm.adapters.find(({ id }) => id === nic.id) }));
  const others = said.filter((address) => !vm.adapters.some((adapter) => adapter.address === address));
  const actions = (nic: Nic) => (
    <div className="buttons">
      <Button look="small" aria-label={`Change ${nic.id}`} onClick={() => setChanging(nic)}>
        Change
      </Button>
      <Button
        look={['small', 'danger']}
        aria-label={`Remove ${nic.id}`}
        onClick={() => void runJob('Remove adapter', () => call('removeNic', { params: { vm: vm.id, nic: nic.id } }))}
      >
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
        make={administrator ? [{ label: 'Add network adapter', form: (close) => <Add vm={vm} onClose={close} /> }] : []}
      />
      {on && others.length > 0 ? (
        <p>
          The guest also has <code className="wrap">{others.join(', ')}</code>
        </p>
      ) : null}
      {on ? <Graph vm={vm.id} title="Network" figure="rate" series={NETWORK} /> : null}
      {changing === undefined ? null : <Change vm={vm} nic={changing} onClose={() => setChanging(undefined)} />}
    </div>
  );
}

const COLUMNS: readonly Column<Row>[] = [
  { title: 'Adapter', cell: ({ id }) => id },
  { title: 'Switch', cell: ({ switch: name }) => name ?? <span className="quiet">not connected</span> },
  {
    title: 'MAC address',
    cell: ({ adapter }) => <Code text={adapter?.macAddress ?? null} otherwise="given at the start" />,
  },
  { title: 'Address', cell: ({ adapter }) => <Code text={adapter?.address ?? null} otherwise="none known" /> },
  { title: 'Forwards from the host', cell: ({ forwards = [] }) => <Forwards of={forwards} /> },
];

function Change({ vm, nic, onClose }: { vm: Vm; nic: Nic; onClose: () => void }) {
  return (
    <Dialog
      title={`Change ${nic.id}`}
      action="Save"
      onClose={onClose}
      onAction={(data) =>
        attempt('Change adapter', () => {
          const body = { switch: textIn(data, 'switch') || null, forwards: parseForwards(textIn(data, 'forwards')) };
          void runJob('Change adapter', () => call('changeNic', { params: { vm: vm.id, nic: nic.id }, body }));
          return Promise.resolve();
        })
      }
    >
      <SwitchField of={nic} />
      <ForwardsField of={nic} />
    </Dialog>
  );
}

function SwitchField({ of }: { of?: Nic }) {
  const { value } = useLoaded('switches', () => call('listSwitches'));
  const names = value?.map(({ name, kind }) => [name, `${name} (${kind})`] as const) ?? [];
  return (
    <Choice
      // Chosen once the switches are known.
      key={names.length}
      label="Switch"
      name="switch"
      defaultValue={of?.switch ?? ''}
      options={[['', 'Not connected'], ...names]}
      hint={value?.length === 0 ? 'There is no switch yet: make one on the page Switches.' : undefined}
    />
  );
}

function ForwardsField({ of }: { of?: Nic }) {
  return (
    <Field
      label="Ports of the host that lead to the guest"
      name="forwards"
      defaultValue={(of?.forwards ?? []).map(forwardText).join(' ')}
      placeholder="8080:80 2222:22"
      hint="HOSTPORT:GUESTPORT, several with spaces, /udp for UDP. The host listens on 127.0.0.1, or on an address before the port. At a NAT switch only."
    />
  );
}

function Add({ vm, onClose }: { vm: Vm; onClose: () => void }) {
  return (
    <Dialog
      title="Add network adapter"
      action="Add"
      onClose={onClose}
      onAction={(data) =>
        attempt('Add adapter', () => {
          const macAddress = textIn(data, 'mac').trim().toLowerCase();
          const forwards = parseForwards(textIn(data, 'forwards'));
          const body = {
            switch: textIn(data, 'switch') || null,
            ...(macAddress === '' ? {} : { macAddress }),
            ...(forwards.length === 0 ? {} : { forwards }),
          };
          void runJob('Add adapter', () => call('addNic', { params: { vm: vm.id }, body }));
          return Promise.resolve();
        })
      }
    >
      <SwitchField />
      <Field
        label="MAC address"
        name="mac"
        placeholder="00:15:5d:00:00:01"
        pattern="([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}"
        hint="Without one, the host gives it."
      />
      <ForwardsField />
    </Dialog>
  );
}
