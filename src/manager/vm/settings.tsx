/**
 * Settings as a tree by hardware and management, with what each is now. What needs the machine to be off says so; a change is
 * refused when another was first.
 */
import { type FormEvent, type ReactNode, useRef, useState } from 'react';
import type { Vm, VmChange } from '../../contracts/api/vm.ts';
import { Button } from '../parts/button.tsx';
import { Area, Choice, Field, type Option } from '../parts/field.tsx';
import { Link } from '../parts/link.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { bytes, parseSize } from '../store/format.ts';
import { attempt } from '../store/run.ts';
import { toast } from '../store/toasts.ts';

type Configuration = Vm['configuration'];

interface Section {
  readonly id: string;
  readonly group: 'Hardware' | 'Management';
  readonly label: string;
  /** What it is now, in a few words. */
  readonly now: (configuration: Configuration) => string;
  /** Part of the machine that runs. */
  readonly needsOff?: boolean;
  readonly fields: (configuration: Configuration) => ReactNode;
  /** @throws Error with what cannot be */
  readonly read: (data: FormData) => VmChange;
}

const text = (data: FormData, name: string): string => textIn(data, name).trim();
const path = (data: FormData, name: string): string | null => text(data, name) || null;
const texts = (data: FormData, ...names: readonly (keyof VmChange)[]): VmChange =>
  Object.fromEntries(names.map((name) => [name, text(data, name)]));
const labelOf = (options: readonly Option[], value: string): string =>
  options
    .flatMap((option) => (typeof option === 'string' ? [[option, option] as const] : [option]))
    .find(([id]) => id === value)?.[1] ?? value;

const ENGINES: readonly Option[] = [
  ['auto', 'Automatic'],
  ['translator', 'Translator'],
  ['interpreter', 'Interpreter (slow, the reference)'],
];
const STARTS: readonly Option[] = [
  ['Nothing', 'Nothing'],
  ['StartIfRunning', 'Start if it was running'],
  ['Start', 'Always start'],
];
const STOPS: readonly Option[] = [
  ['Save', 'Save'],
  ['TurnOff', 'Turn off'],
  ['ShutDown', 'Shut the guest down'],
];
const CRASHES: readonly Option[] = [
  ['StayOff', 'Stay off'],
  ['Restart', 'Start again'],
];
const RESETS: readonly Option[] = [
  ['Restart', 'Restart it'],
  ['Stop', 'Turn it off'],
];
const CHECKPOINTS: readonly Option[] = ['Standard', 'Production', 'Disabled'];

const SECTIONS: readonly Section[] = [
  {
    id: 'boot',
    group: 'Hardware',
    label: 'Boot',
    needsOff: true,
    now: ({ boot: { kernel } }) => (kernel === null ? 'from its disk' : kernel.slice(kernel.lastIndexOf('/') + 1)),
    fields: ({ boot }) => (
      <>
        <Field
          label="Kernel"
          name="kernel"
          defaultValue={boot.kernel ?? ''}
          pattern="/.*"
          hint="bzImage, ELF with a PVH note, or multiboot, on the host. Without one, that of the first disk."
        />
        <Field label="Initial RAM disk" name="initrd" defaultValue={boot.initrd ?? ''} pattern="/.*" />
        <Field label="Command line" name="append" defaultValue={boot.append} />
      </>
    ),
    read: (data) => ({
      boot: { kernel: path(data, 'kernel'), initrd: path(data, 'initrd'), append: text(data, 'append') },
    }),
  },
  {
    id: 'memory',
    group: 'Hardware',
    label: 'Memory',
    needsOff: true,
    now: ({ memory }) => bytes(memory),
    fields: ({ memory }) => (
      <Field label="Memory" name="memory" defaultValue={bytes(memory)} hint="As 512M or 2 GiB" required />
    ),
    read: (data) => {
      const memory = parseSize(text(data, 'memory'));
      if (memory === undefined) throw new Error('the memory must be a size, as 512M or 2G');
      return { memory };
    },
  },
  {
    id: 'processor',
    group: 'Hardware',
    label: 'Processor',
    needsOff: true,
    now: ({ processors }) => (processors === 1 ? '1 processor' : `${processors} processors`),
    fields: ({ processors, processorWeight, engine }) => (
      <>
        <Field label="Processors" name="processors" type="number" min={1} max={64} defaultValue={processors} required />
        <Field
          label="Weight"
          name="weight"
          type="number"
          min={1}
          max={10_000}
          defaultValue={processorWeight}
          hint="Share of the host under load, against 100 of others"
          required
        />
        <Choice label="Engine" name="engine" defaultValue={engine} options={ENGINES} />
      </>
    ),
    read: (data) => ({
      ...texts(data, 'engine'),
      processors: Number(data.get('processors')),
      processorWeight: Number(data.get('weight')),
    }),
  },
  {
    id: 'name',
    group: 'Management',
    label: 'Name',
    now: ({ tags }) => tags.join(', '),
    fields: ({ name, notes, tags }) => (
      <>
        <Field label="Name" name="name" defaultValue={name} required />
        <Area label="Notes" name="notes" defaultValue={notes} />
        <Field label="Tags" name="tags" defaultValue={tags.join(' ')} hint="Words, with spaces between them" />
      </>
    ),
    read: (data) => ({
      ...texts(data, 'name', 'notes'),
      tags: text(data, 'tags')
        .split(/[\s,]+/)
        .filter(Boolean),
    }),
  },
  {
    id: 'checkpoints',
    group: 'Management',
    label: 'Checkpoints',
    now: ({ checkpointType }) => checkpointType,
    fields: ({ checkpointType }) => (
      <Choice label="Kind" name="checkpointType" defaultValue={checkpointType} options={CHECKPOINTS} />
    ),
    read: (data) => texts(data, 'checkpointType'),
  },
  {
    id: 'start',
    group: 'Management',
    label: 'Automatic start',
    now: ({ automaticStartAction }) => labelOf(STARTS, automaticStartAction),
    fields: ({ automaticStartAction, automaticStartDelay, automaticStartOrder }) => (
      <>
        <Choice
          label="When the service starts"
          name="automaticStartAction"
          defaultValue={automaticStartAction}
          options={STARTS}
        />
        <Field
          label="Delay in seconds"
          name="delay"
          type="number"
          min={0}
          max={86_400}
          defaultValue={automaticStartDelay}
          required
        />
        <Field
          label="Order"
          name="order"
          type="number"
          min={0}
          max={10_000}
          defaultValue={automaticStartOrder}
          hint="Lower ones first"
          required
        />
      </>
    ),
    read: (data) => ({
      ...texts(data, 'automaticStartAction'),
      automaticStartDelay: Number(data.get('delay')),
      automaticStartOrder: Number(data.get('order')),
    }),
  },
  {
    id: 'stop',
    group: 'Management',
    label: 'Automatic stop',
    now: ({ automaticStopAction }) => labelOf(STOPS, automaticStopAction),
    fields: ({ automaticStopAction, crashPolicy }) => (
      <>
        <Choice
          label="When the host is shut down"
          name="automaticStopAction"
          defaultValue={automaticStopAction}
          options={STOPS}
        />
        <Choice
          label="When its worker ends by itself"
          name="crashPolicy"
          defaultValue={crashPolicy}
          options={CRASHES}
        />
      </>
    ),
    read: (data) => texts(data, 'automaticStopAction', 'crashPolicy'),
  },
  {
    id: 'restart',
    group: 'Management',
    label: 'Restart',
    needsOff: true,
    now: ({ guestReset }) => labelOf(RESETS, guestReset),
    fields: ({ guestReset }) => (
      <Choice label="When the guest restarts" name="guestReset" defaultValue={guestReset} options={RESETS} />
    ),
    read: (data) => texts(data, 'guestReset'),
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
        {/* Another revision: the fields are made anew. */}
        <Part key={`${section.id} ${vm.revision}`} vm={vm} section={section} />
      </div>
    </div>
  );
}

function Part({ vm, section: { label, fields, read, needsOff = false } }: { vm: Vm; section: Section }) {
  const [busy, setBusy] = useState(false);
  const locked = needsOff && vm.state !== 'Off' && vm.state !== 'OffCritical';
  const submit = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    setBusy(true);
    const done = await attempt(label, async () => {
      await call('changeVm', { params: { vm: vm.id }, revision: vm.revision, body: read(data) });
    });
    setBusy(false);
    if (done) toast('info', `${label}: saved`);
  };
  return (
    <form className="panel stack" aria-label={label} onSubmit={(event) => void submit(event)}>
      <h2>{label}</h2>
      {locked ? <p className="note">This can change while the machine is Off. It is {vm.state}.</p> : null}
      <fieldset className="stack plain-set" disabled={locked}>
        {fields(vm.configuration)}
        <div className="buttons">
          <Button type="submit" look="main" disabled={busy || locked}>
            Save changes
          </Button>
        </div>
      </fieldset>
    </form>
  );
}
