/**
 * Settings as a tree by hardware and management, with what each is now. What needs the machine to be off says so; a change is
 * refused when another was first.
 */
import { type FormEvent, useRef, useState } from 'react';
import type { Vm, VmChange } from '../../contracts/api/vm.ts';
import { CHANGEABLE_STATES, LIVE_SETTINGS } from '../../contracts/vm-state.ts';
import { Button } from '../parts/button.tsx';
import type { Option } from '../parts/field.tsx';
import { changesIn, type FieldOf, FieldTable } from '../parts/field-table.tsx';
import { Link } from '../parts/link.tsx';
import { call } from '../store/api.ts';
import { bytes } from '../store/format.ts';
import { change } from '../store/live.ts';
import { attempt } from '../store/run.ts';
import { toast } from '../store/toasts.ts';

type Configuration = Vm['configuration'];

interface Section {
  readonly id: string;
  readonly group: 'Hardware' | 'Management';
  readonly label: string;
  /** What it is now, in a few words. */
  readonly now: (configuration: Configuration) => string;
  /** The part of the configuration that the fields are of; otherwise all of it. */
  readonly part?: 'boot';
  readonly fields: readonly FieldOf[];
}

/** The texts of values that users choose between. */
const ENGINES: readonly Option[] = [
  ['auto', 'Automatic'],
  ['translator', 'Translator'],
  ['interpreter', 'Interpreter (slow, the reference)'],
];
const STARTS = { Nothing: 'Nothing', StartIfRunning: 'Start if it was running', Start: 'Always start' } as const;
const STOPS = { Save: 'Save', TurnOff: 'Turn off', ShutDown: 'Shut the guest down' } as const;
const CRASHES: readonly Option[] = [
  ['StayOff', 'Stay off'],
  ['Restart', 'Start again'],
];
const RESETS = { Restart: 'Restart it', Stop: 'Turn it off' } as const;
const CHECKPOINTS: readonly Option[] = ['Standard', 'Production', 'Disabled'];

const SECTIONS: readonly Section[] = [
  {
    id: 'boot',
    group: 'Hardware',
    label: 'Boot',
    now: ({ boot: { kernel } }) => (kernel === null ? 'from its disk' : kernel.slice(kernel.lastIndexOf('/') + 1)),
    part: 'boot',
    fields: [
      {
        of: 'kernel',
        label: 'Kernel',
        kind: 'optional',
        pattern: '/.*',
        hint: 'bzImage, ELF with a PVH note, or multiboot, on the host. Without one, that of the first disk.',
      },
      { of: 'initrd', label: 'Initial RAM disk', kind: 'optional', pattern: '/.*' },
      { of: 'append', label: 'Command line', kind: 'text' },
    ],
  },
  {
    id: 'memory',
    group: 'Hardware',
    label: 'Memory',
    now: ({ memory }) => bytes(memory),
    fields: [{ of: 'memory', label: 'Memory', kind: 'size', hint: 'As 512M or 2 GiB', required: true }],
  },
  {
    id: 'processor',
    group: 'Hardware',
    label: 'Processor',
    now: ({ processors }) => (processors === 1 ? '1 processor' : `${processors} processors`),
    fields: [
      { of: 'processors', label: 'Processors', kind: 'number', min: 1, max: 64, required: true, half: true },
      { of: 'engine', label: 'Engine', kind: 'choice', options: ENGINES, half: true },
      {
        of: 'processorMaximum',
        label: 'Most of each, in percent',
        kind: 'number',
        min: 1,
        max: 100,
        hint: 'Of a processor of the host',
        required: true,
        half: true,
      },
      {
        of: 'processorWeight',
        label: 'Weight',
        kind: 'number',
        min: 1,
        max: 10_000,
        hint: 'Share of the host under load, against 100 of others',
        required: true,
        half: true,
      },
    ],
  },
  {
    id: 'limits',
    group: 'Hardware',
    label: 'Bandwidth',
    now: ({ storageMaximum, networkMaximum }) =>
      storageMaximum === null && networkMaximum === null ? 'no limits' : 'limited',
    fields: [
      {
        of: 'storageMaximum',
        label: 'Disks, bytes in a second',
        kind: 'size',
        placeholder: 'no limit',
        hint: 'Of all its disks together, as 50M',
      },
      {
        of: 'networkMaximum',
        label: 'Network, Mbit/s',
        kind: 'megabits',
        min: 0.01,
        placeholder: 'no limit',
        hint: 'Of each adapter, each way; an adapter may have narrower limits',
      },
    ],
  },
  {
    id: 'name',
    group: 'Management',
    label: 'Name',
    now: ({ tags }) => tags.join(', '),
    fields: [
      { of: 'name', label: 'Name', kind: 'text', required: true },
      { of: 'notes', label: 'Notes', kind: 'area' },
      { of: 'tags', label: 'Tags', kind: 'words', hint: 'Words, with spaces between them' },
    ],
  },
  {
    id: 'checkpoints',
    group: 'Management',
    label: 'Checkpoints',
    now: ({ checkpointType }) => checkpointType,
    fields: [
      {
        of: 'checkpointType',
        label: 'Kind',
        kind: 'choice',
        options: CHECKPOINTS,
        hint: 'Standard keeps the memory of a machine that runs. For Production its guest freezes its file systems, and boots when it is applied.',
      },
    ],
  },
  {
    id: 'start',
    group: 'Management',
    label: 'Automatic start',
    now: ({ automaticStartAction }) => STARTS[automaticStartAction],
    fields: [
      {
        of: 'automaticStartAction',
        label: 'When the service starts',
        kind: 'choice',
        options: Object.entries(STARTS),
      },
      {
        of: 'automaticStartDelay',
        label: 'Delay in seconds',
        kind: 'number',
        min: 0,
        max: 86_400,
        required: true,
        half: true,
      },
      {
        of: 'automaticStartOrder',
        label: 'Order',
        kind: 'number',
        min: 0,
        max: 10_000,
        hint: 'Lower ones first',
        required: true,
        half: true,
      },
    ],
  },
  {
    id: 'stop',
    group: 'Management',
    label: 'Automatic stop',
    now: ({ automaticStopAction }) => STOPS[automaticStopAction],
    fields: [
      {
        of: 'automaticStopAction',
        label: 'When the host is shut down',
        kind: 'choice',
        options: Object.entries(STOPS),
      },
      { of: 'crashPolicy', label: 'When its worker ends by itself', kind: 'choice', options: CRASHES },
    ],
  },
  {
    id: 'restart',
    group: 'Management',
    label: 'Restart',
    now: ({ guestReset }) => RESETS[guestReset],
    fields: [{ of: 'guestReset', label: 'When the guest restarts', kind: 'choice', options: Object.entries(RESETS) }],
  },
];

/** Hardware that has a page of its own. */
function elsewhere({ disks, dvds, nics }: Configuration): readonly (readonly [string, string, readonly string[]])[] {
  const file = (name: string | null): string => (name === null ? 'empty' : name.slice(name.lastIndexOf('/') + 1));
  const units = [
    ...disks.map((disk) => ({ ...disk, kind: 'Disk' })),
    ...dvds.map((dvd) => ({ ...dvd, kind: 'DVD' })),
  ].sort((a, b) => a.slot - b.slot);
  return [
    ['SCSI controller', 'disks', units.map((unit) => `${unit.kind} ${unit.slot}: ${file(unit.file)}`)],
    ['Network adapters', 'network', nics.map((nic) => `${nic.id}: ${nic.switch ?? 'not connected'}`)],
  ];
}

export function Settings({ vm }: { vm: Vm }) {
  const [chosen, setChosen] = useState('boot');
  const form = useRef<HTMLDivElement>(null);
  const choose = (id: string): void => {
    setChosen(id);
    // On a narrow page it is below.
    requestAnimationFrame(() => form.current?.scrollIntoView({ block: 'nearest' }));
  };
  const { configuration } = vm;
  const section = SECTIONS.find(({ id }) => id === chosen)!;
  const items = (group: Section['group']) =>
    SECTIONS.filter((each) => each.group === group).map(({ id, label, now }) => (
      <li key={id}>
        <button
          type="button"
          className="settings-item"
          aria-current={id === chosen ? 'true' : undefined}
          onClick={() => choose(id)}
        >
          <span>{label}</span>
          <span className="quiet wrap">{now(configuration)}</span>
        </button>
      </li>
    ));
  return (
    <div className="settings">
      <nav className="panel settings-tree" aria-label="Settings">
        <h2>Hardware</h2>
        <ul>
          {items('Hardware')}
          {elsewhere(configuration).map(([label, tab, parts]) => (
            <li key={tab}>
              <Link className="settings-item" href={`/vms/${vm.id}/${tab}`}>
                <span>{label}</span>
                <span className="quiet">{parts.length === 0 ? 'none' : 'change…'}</span>
              </Link>
              {parts.length === 0 ? null : (
                <ul className="settings-parts quiet">
                  {parts.map((part) => (
                    <li key={part} className="wrap">
                      {part}
                    </li>
                  ))}
                </ul>
              )}
            </li>
          ))}
        </ul>
        <h2>Management</h2>
        <ul>{items('Management')}</ul>
      </nav>
      <div ref={form}>
        <Part key={section.id} vm={vm} section={section} />
      </div>
    </div>
  );
}

function Part({ vm, section: { label, fields, part } }: { vm: Vm; section: Section }) {
  const [busy, setBusy] = useState(false);
  // What the fields were filled from. It follows the machine until somebody writes: what they write must not go.
  const [base, setBase] = useState(vm);
  const [touched, setTouched] = useState(false);
  const late = base.revision !== vm.revision;
  if (late && !touched) setBase(vm);
  const values = part === undefined ? base.configuration : base.configuration[part];
  const live = part === undefined && fields.every(({ of }) => LIVE_SETTINGS.includes(of));
  const locked = !live && !CHANGEABLE_STATES.includes(vm.state);
  const save = async (data: FormData): Promise<void> => {
    const changes = changesIn(fields, values, data);
    if (Object.keys(changes).length === 0) return toast('info', `${label}: nothing is different`);
    const body: VmChange = part === undefined ? changes : { [part]: changes };
    const changed = await call('changeVm', { params: { vm: vm.id }, revision: base.revision, body });
    change({ kind: 'vm', vm: changed });
    setTouched(false);
    toast('info', `${label}: saved`);
  };
  const submit = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    setBusy(true);
    await attempt(label, () => save(data));
    setBusy(false);
  };
  return (
    <form
      className="panel stack"
      aria-label={label}
      onSubmit={(event) => void submit(event)}
      onInput={() => setTouched(true)}
    >
      <h2>{label}</h2>
      {locked ? <p className="note">This can change while the machine is Off. It is {vm.state}.</p> : null}
      {late && touched ? (
        <p className="note warn" role="status">
          Its settings were changed elsewhere meanwhile.{' '}
          <Button look="small" onClick={() => setTouched(false)}>
            Begin again with what they are now
          </Button>
        </p>
      ) : null}
      <fieldset className="stack plain-set" disabled={locked}>
        <FieldTable key={base.revision} fields={fields} values={values} />
        <div className="buttons">
          <Button type="submit" look="main" disabled={busy || locked}>
            Save changes
          </Button>
        </div>
      </fieldset>
    </form>
  );
}
