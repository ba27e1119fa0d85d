/** Virtual switches, with who is connected to each: addresses, traffic, ports of the host that lead there. */
import { useEffect, useRef, useState } from 'react';
import type { Switch, SwitchDetail, SwitchPort } from '../../contracts/api/resources.ts';
import type { Forward, Vm } from '../../contracts/api/vm.ts';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Empty, Waiting } from '../parts/empty.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { Link } from '../parts/link.tsx';
import { PageHead } from '../parts/page-head.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { bytes } from '../store/format.ts';
import { useGauge, useLastOf, useLoaded, useMay, useStore } from '../store/hooks.ts';
import { attempt } from '../store/run.ts';
import { SWITCH_KINDS } from './switch-kinds.ts';

export function SwitchesPage() {
  const last = useLastOf('switch.', 'vm.changed', 'vm.removed', 'vm.created');
  const { value, error, again } = useLoaded(`switches ${last}`, () => call('listSwitches'));
  const administrator = useMay('administrator');
  const [making, setMaking] = useState(false);
  const make = administrator ? (
    <Button look="main" onClick={() => setMaking(true)}>
      New switch
    </Button>
  ) : null;
  return (
    <>
      <PageHead title="Switches">{value?.length ? make : null}</PageHead>
      {value === undefined ? (
        <Waiting error={error} />
      ) : value.length === 0 ? (
        <Empty
          title="No switches"
          text="A virtual switch connects network adapters of machines, with one another or also with the host and the world."
        >
          {make}
        </Empty>
      ) : (
        <div className="stack">
          {value.map((each) => (
            <OneSwitch key={each.name} of={each} onRemoved={again} />
          ))}
        </div>
      )}
      {making ? (
        <Dialog
          title="New switch"
          action="Make it"
          onClose={() => setMaking(false)}
          onAction={async (data) => {
            const body = {
              name: textIn(data, 'name').trim(),
              kind: data.get('kind') as Switch['kind'],
              notes: textIn(data, 'notes'),
            };
            const done = await attempt('New switch', () => call('createSwitch', { body }));
            if (done) again();
            return done;
          }}
        >
          <Field label="Name" name="name" required autoFocus />
          <Choice label="Kind" name="kind" options={SWITCH_KINDS} />
          <Field label="Notes" name="notes" maxLength={1000} />
        </Dialog>
      ) : null}
    </>
  );
}

function OneSwitch({ of: { name, kind, notes, vms }, onRemoved }: { of: Switch; onRemoved: () => void }) {
  const administrator = useMay('administrator');
  const last = useLastOf('vm.state', 'vm.changed', 'vm.removed');
  const { value, error, again } = useLoaded(`${name} ${last}`, () => call('getSwitch', { params: { switch: name } }));
  const machines = useStore((state) => state.vms);
  const remove = (): void =>
    void attempt('Remove switch', () => call('removeSwitch', { params: { switch: name } })).then(onRemoved);
  return (
    <section className="panel stack" aria-label={name}>
      <div className="panel-head">
        <h2>{name}</h2>
        <span className="tag">{kind}</span>
        <span className="quiet wrap">{notes}</span>
        {administrator && vms.length === 0 ? (
          <div className="push">
            <Button look={['small', 'danger']} aria-label={`Remove ${name}`} onClick={remove}>
              Remove
            </Button>
          </div>
        ) : null}
      </div>
      {value === undefined ? (
        <Waiting error={error} />
      ) : vms.length === 0 ? (
        <p className="quiet">No adapter is connected. One is added on a machine's page, under Network.</p>
      ) : (
        <>
          {[...machines.values()]
            .filter((vm) => vms.includes(vm.name))
            .map(({ id }) => (
              <Watch key={id} vm={id} onChange={again} />
            ))}
          <Table
            label={`Ports of ${name}`}
            columns={PORTS}
            rows={portsOf(value, [...machines.values()])}
            keyOf={({ machine, nic }) => `${machine.id} ${nic}`}
          />
          {value.leases.length === 0 ? null : (
            <p className="quiet">
              Leases:{' '}
              <span className="wrap">
                {value.leases.map(({ owner, address }) => `${address} (${owner})`).join(', ')}
              </span>
            </p>
          )}
        </>
      )}
    </section>
  );
}

/** Figures of running machines come by themselves: the ports are asked for again when an address among them is another. */
function Watch({ vm, onChange }: { vm: string; onChange: () => void }) {
  const addresses = useGauge(vm)?.latest.addresses.join(' ') ?? '';
  const known = useRef(addresses);
  useEffect(() => {
    if (known.current !== addresses) onChange();
    known.current = addresses;
  }, [addresses, onChange]);
  return null;
}

interface PortRow {
  readonly machine: Vm;
  readonly nic: string;
  /** Undefined: the machine does not run. */
  readonly port: SwitchPort | undefined;
  readonly forwards: readonly Forward[];
}

/** Adapters of machines that do not run have ports as well, when they do. */
function portsOf({ name, ports }: SwitchDetail, machines: readonly Vm[]): PortRow[] {
  return machines.flatMap((machine) =>
    machine.configuration.nics
      .filter((nic) => nic.switch === name)
      .map((nic) => ({
        machine,
        nic: nic.id,
        port: ports.find((port) => port.vm === machine.name && port.nic === nic.id),
        forwards: nic.forwards ?? [],
      })),
  );
}

const PORTS: readonly Column<PortRow>[] = [
  {
    title: 'Machine',
    cell: ({ machine, nic }) => (
      <>
        <Link href={`/vms/${machine.id}/network`}>{machine.name}</Link> <span className="quiet">{nic}</span>
      </>
    ),
  },
  { title: 'MAC address', cell: ({ port }) => <Code text={port?.mac ?? null} otherwise="not running" /> },
  {
    title: 'Address',
    cell: ({ port }) => <Code text={port?.address ?? null} otherwise={port === undefined ? '' : 'none known'} />,
  },
  {
    title: 'Received, sent',
    cell: ({ port }) => (port === undefined ? '' : `${bytes(port.receivedBytes)}, ${bytes(port.sentBytes)}`),
  },
  { title: 'Forwards from the host', cell: ({ forwards }) => <Forwards of={forwards} /> },
];

export function Code({ text, otherwise }: { text: string | null; otherwise: string }) {
  return text === null ? <span className="quiet">{otherwise}</span> : <code className="wrap">{text}</code>;
}

export function Forwards({ of }: { of: readonly Forward[] }) {
  if (of.length === 0) return <span className="quiet">none</span>;
  return (
    <span className="wrap">
      {of
        .map(
          ({ protocol, hostAddress = '127.0.0.1', hostPort, guestPort }) =>
            `${hostAddress}:${hostPort} → ${guestPort}${protocol === 'udp' ? ' (UDP)' : ''}`,
        )
        .join(', ')}
    </span>
  );
}
