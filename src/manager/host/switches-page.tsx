/** Virtual switches, with who is connected to each: addresses, traffic, ports of the host that lead there. */
import { useState } from 'react';
import type { Switch, SwitchDetail, SwitchPort } from '../../contracts/api/resources.ts';
import type { Forward, Vm } from '../../contracts/api/vm.ts';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Empty, Waiting } from '../parts/empty.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { changesIn, type FieldOf, FieldTable } from '../parts/field-table.tsx';
import { Link } from '../parts/link.tsx';
import { PageHead } from '../parts/page-head.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { bytes } from '../store/format.ts';
import { portText } from '../store/forwards.ts';
import { useLastOf, useLoaded, useMay, useStore } from '../store/hooks.ts';
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
            <OneSwitch key={each.name} of={each} onChanged={again} />
          ))}
        </div>
      )}
      {making ? <NewSwitch onClose={() => setMaking(false)} onMade={again} /> : null}
    </>
  );
}

function NewSwitch({ onClose, onMade }: { onClose: () => void; onMade: () => void }) {
  const [kind, setKind] = useState<Switch['kind']>('NAT');
  const make = async (data: FormData): Promise<boolean> => {
    const [device, subnet] = [textIn(data, 'device').trim(), textIn(data, 'subnet').trim()];
    const body = {
      name: textIn(data, 'name').trim(),
      kind,
      notes: textIn(data, 'notes'),
      ...(device === '' ? {} : { device }),
      ...(subnet === '' ? {} : { subnet }),
    };
    const done = await attempt('New switch', () => call('createSwitch', { body }));
    if (done) onMade();
    return done;
  };
  return (
    <Dialog title="New switch" action="Make it" onClose={onClose} onAction={make}>
      <Field label="Name" name="name" required autoFocus />
      <Choice
        label="Kind"
        value={kind}
        options={SWITCH_KINDS}
        onChange={({ target }) => setKind(target.value as Switch['kind'])}
      />
      {kind === 'NAT' ? (
        <Field label="Subnet" name="subnet" placeholder="172.30.0.0/24" hint="Without one, the service chooses." />
      ) : null}
      {kind === 'Internal' || kind === 'External' ? (
        <Field
          label="Device of the host"
          name="device"
          placeholder="tap0"
          required={kind === 'External'}
          hint="A TAP device: one that is there, or one that the service may make"
        />
      ) : null}
      <Field label="Notes" name="notes" maxLength={1000} />
    </Dialog>
  );
}

function OneSwitch({ of, onChanged }: { of: Switch; onChanged: () => void }) {
  const { name, kind, vms } = of;
  const administrator = useMay('administrator');
  const last = useLastOf('vm.state', 'vm.changed', 'vm.removed', 'vm.address', 'switch.');
  const { value, error, again } = useLoaded(`${name} ${last}`, () => call('getSwitch', { params: { switch: name } }));
  const machines = useStore((state) => state.vms);
  const [asked, setAsked] = useState<'change' | 'remove'>();
  const release = (owner: string): void =>
    void attempt('Release', () => call('removeLease', { params: { switch: name, owner } })).then(again);
  return (
    <section className="panel stack" aria-label={name}>
      <div className="panel-head">
        <h2>{name}</h2>
        <span className="tag">{kind}</span>
        <span className="quiet wrap">{aboutSwitch(of, value)}</span>
        {administrator ? (
          <div className="buttons push">
            <Button look="small" aria-label={`Change ${name}`} onClick={() => setAsked('change')}>
              Change
            </Button>
            {vms.length === 0 ? (
              <Button look={['small', 'danger']} aria-label={`Remove ${name}`} onClick={() => setAsked('remove')}>
                Remove
              </Button>
            ) : null}
          </div>
        ) : null}
      </div>
      {asked === 'change' ? <ChangeSwitch of={of} onClose={() => setAsked(undefined)} onChanged={onChanged} /> : null}
      {asked === 'remove' ? (
        <Dialog
          title={`Remove ${name}?`}
          text="No adapter is connected to it. Its settings and the addresses that it has leased go."
          action="Remove"
          danger
          onClose={() => setAsked(undefined)}
          onAction={async () => {
            const done = await attempt('Remove switch', () => call('removeSwitch', { params: { switch: name } }));
            if (done) onChanged();
            return done;
          }}
        />
      ) : null}
      {value === undefined ? (
        <Waiting error={error} />
      ) : vms.length === 0 ? (
        <p className="quiet">No adapter is connected. One is added on a machine's page, under Network.</p>
      ) : (
        <>
          <Table
            label={`Ports of ${name}`}
            columns={PORTS}
            rows={portsOf(value, [...machines.values()])}
            keyOf={({ machine, nic }) => `${machine.id} ${nic}`}
          />
          {value.leases.length === 0 ? null : (
            <Table
              label={`Leases of ${name}`}
              columns={[
                { title: 'Leased address', cell: ({ address }) => <Code text={address} otherwise="" /> },
                { title: 'To', cell: ({ owner }) => owner },
                { title: 'By', cell: ({ fixed }) => (fixed ? 'the settings of its adapter' : 'DHCP') },
                ...(administrator ? [{ title: 'Actions', look: 'actions', cell: releasing(release) } as const] : []),
              ]}
              rows={value.leases}
              keyOf={({ owner }) => owner}
            />
          )}
        </>
      )}
    </section>
  );
}

/** Who has it gets another one with its next request. */
function releasing(release: (owner: string) => void) {
  return ({ owner, address, fixed }: SwitchDetail['leases'][number]) =>
    fixed ? null : (
      <Button look="small" aria-label={`Release ${address}`} onClick={() => release(owner)}>
        Release
      </Button>
    );
}

/** "172.30.0.0/24, gateway 172.30.0.1, ports of the host 5432". */
function aboutSwitch({ subnet, device, notes, hostAccess }: Switch, detail: SwitchDetail | undefined): string {
  return [
    subnet ?? '',
    detail?.gateway ? `gateway ${detail.gateway}` : '',
    detail?.domain ? `names in ${detail.domain}` : '',
    device === null ? '' : `device ${device}`,
    hostAccess.length === 0 ? '' : `reaches ports ${hostAccess.map(portText).join(' ')} of the host`,
    notes,
  ]
    .filter(Boolean)
    .join(', ');
}

const NOTES: FieldOf = { of: 'notes', label: 'Notes', kind: 'area' };
const HOST_ACCESS: FieldOf = {
  of: 'hostAccess',
  label: 'Ports of the host that guests reach',
  kind: 'ports',
  placeholder: '5432 53/udp',
  hint: "At the gateway's address; of programs that listen on the host's 127.0.0.1.",
};

function ChangeSwitch({ of, onClose, onChanged }: { of: Switch; onClose: () => void; onChanged: () => void }) {
  const fields = of.kind === 'NAT' ? [HOST_ACCESS, NOTES] : [NOTES];
  const save = async (data: FormData): Promise<void> => {
    await call('changeSwitch', { params: { switch: of.name }, body: changesIn(fields, of, data) });
    onChanged();
  };
  return (
    <Dialog
      title={`Change ${of.name}`}
      action="Save"
      onClose={onClose}
      onAction={(data) => attempt('Change switch', () => save(data))}
    >
      <FieldTable fields={fields} values={of} />
    </Dialog>
  );
}

interface PortRow {
  readonly machine: Vm;
  readonly nic: string;
  readonly mac: string | null;
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
        mac: machine.adapters.find(({ id }) => id === nic.id)?.macAddress ?? null,
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
  { title: 'MAC address', cell: ({ mac }) => <Code text={mac} otherwise="given at the start" /> },
  {
    title: 'Address',
    cell: ({ port }) => (
      <Code text={port?.address ?? null} otherwise={port === undefined ? 'not running' : 'none known'} />
    ),
  },
  {
    title: 'Received, sent',
    cell: ({ port }) =>
      port === undefined ? '' : `${bytes(port.receivedBytes)}, ${bytes(port.sentBytes)}${droppedText(port)}`,
  },
  { title: 'Forwards from the host', cell: ({ forwards }) => <Forwards of={forwards} /> },
];

function droppedText({ dropped }: SwitchPort): string {
  const count = Object.values(dropped).reduce((sum, each) => sum + each, 0);
  return count === 0 ? '' : `, ${count} dropped`;
}

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
