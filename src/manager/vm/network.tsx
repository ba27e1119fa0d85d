/** Network adapters of one machine, with their addresses. */
import { useState } from 'react';
import type { Nic, Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Code, Forwards } from '../host/switches-page.tsx';
import { Button } from '../parts/button.tsx';
import { Collection } from '../parts/collection.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { forwardText, parseForwards } from '../store/forwards.ts';
import { useGauge, useLoaded, useMay } from '../store/hooks.ts';
import { attempt, runJob } from '../store/run.ts';
import { Graph, NETWORK } from './graph.tsx';

export function Network({ vm }: { vm: Vm }) {
  const changeable = vm.state === 'Off' || vm.state === 'OffCritical';
  const administrator = useMay('administrator');
  const on = isAttended(vm.state);
  const addresses = useGauge(vm.id)?.latest.addresses ?? [];
  const [forwarding, setForwarding] = useState<Nic>();
  const { nics } = vm.configuration;
  const actions = (nic: Nic) => (
    <div className="buttons">
      <Button look="small" aria-label={`Forwards of ${nic.id}`} onClick={() => setForwarding(nic)}>
        Forwards
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
      {administrator && !changeable ? (
        <p className="note">Network adapters can change while the machine is Off.</p>
      ) : null}
      <Collection
        title="Network adapters"
        heading={false}
        rows={nics}
        keyOf={({ id }) => id}
        columns={[
          { title: 'Adapter', cell: ({ id }) => id },
          { title: 'Switch', cell: ({ switch: name }) => name ?? <span className="quiet">not connected</span> },
          {
            title: 'MAC address',
            cell: ({ macAddress }) => <Code text={macAddress ?? null} otherwise="given at the start" />,
          },
          { title: 'Forwards from the host', cell: ({ forwards = [] }) => <Forwards of={forwards} /> },
          ...(administrator && changeable ? [{ title: 'Actions', look: 'actions', cell: actions } as const] : []),
        ]}
        empty={{ title: 'No network adapters', text: 'An adapter connects the machine to a virtual switch.' }}
        make={
          administrator && changeable
            ? [{ label: 'Add network adapter', form: (close) => <Add vm={vm} onClose={close} /> }]
            : []
        }
      />
      {on && nics.length > 0 ? (
        <p>
          {addresses.length === 0 ? (
            <span className="quiet">No address is known: the guest has not asked for one yet.</span>
          ) : (
            <>
              Addresses: <code className="wrap">{addresses.join(', ')}</code>
            </>
          )}
        </p>
      ) : null}
      {on ? <Graph vm={vm.id} title="Network" figure="rate" series={NETWORK} /> : null}
      {forwarding === undefined ? null : (
        <Dialog
          title={`Forwards of ${forwarding.id}`}
          action="Save"
          onClose={() => setForwarding(undefined)}
          onAction={(data) =>
            attempt('Forwards', async () => {
              const forwards = parseForwards(textIn(data, 'forwards'));
              const changed = nics.map((nic) => (nic.id === forwarding.id ? { ...nic, forwards } : nic));
              await call('changeVm', { params: { vm: vm.id }, revision: vm.revision, body: { nics: changed } });
            })
          }
        >
          <ForwardsField of={forwarding} />
        </Dialog>
      )}
    </div>
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
  const { value = [] } = useLoaded('switches', () => call('listSwitches'));
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
      <Choice
        label="Switch"
        name="switch"
        options={[['', 'Not connected'], ...value.map(({ name, kind }) => [name, `${name} (${kind})`] as const)]}
        hint={value.length === 0 ? 'There is no switch yet: make one on the page Switches.' : undefined}
      />
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
