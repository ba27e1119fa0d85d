/** Settings by hardware and management. What needs the machine to be off says so; a change is refused when another was first. */

import { type FormEvent, useState } from 'react';
import type { Vm, VmChange } from '../../contracts/api/vm.ts';
import { Button } from '../parts/button.tsx';
import { Area, Choice, Field } from '../parts/field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { bytes, parseSize } from '../store/format.ts';
import { attempt } from '../store/run.ts';
import { toast } from '../store/toasts.ts';

export function Settings({ vm }: { vm: Vm }) {
  const { configuration } = vm;
  const off = vm.state === 'Off' || vm.state === 'OffCritical';
  // Another revision: the fields are made anew.
  return (
    <div className="grid" key={vm.revision}>
      <Part vm={vm} title="Identity" read={identity}>
        <Field label="Name" name="name" defaultValue={configuration.name} required />
        <Area label="Notes" name="notes" defaultValue={configuration.notes} />
        <Field
          label="Tags"
          name="tags"
          defaultValue={configuration.tags.join(' ')}
          hint="Words, with spaces between them."
        />
      </Part>
      <Part vm={vm} title="Processor and memory" read={hardware} locked={!off}>
        <Field
          label="Processors"
          name="processors"
          type="number"
          min={1}
          max={64}
          defaultValue={configuration.processors}
          required
        />
        <Field label="Memory" name="memory" defaultValue={bytes(configuration.memory)} required />
        <Choice
          label="Engine"
          name="engine"
          defaultValue={configuration.engine}
          options={[
            ['auto', 'Automatic'],
            ['translator', 'Translator'],
            ['interpreter', 'Interpreter (slow, the reference)'],
          ]}
        />
      </Part>
      <Part vm={vm} title="Boot" read={boot} locked={!off}>
        <Field
          label="Kernel"
          name="kernel"
          defaultValue={configuration.boot.kernel ?? ''}
          pattern="/.*"
          hint="bzImage, ELF with a PVH note, or multiboot, on the host"
        />
        <Field label="Initial RAM disk" name="initrd" defaultValue={configuration.boot.initrd ?? ''} pattern="/.*" />
        <Field label="Command line" name="append" defaultValue={configuration.boot.append} />
      </Part>
      <Part vm={vm} title="Start and stop with the host" read={management}>
        <Choice
          label="When the service starts"
          name="automaticStartAction"
          defaultValue={configuration.automaticStartAction}
          options={[
            ['Nothing', 'Nothing'],
            ['StartIfRunning', 'Start if it was running'],
            ['Start', 'Always start'],
          ]}
        />
        <Choice
          label="When the host is shut down"
          name="automaticStopAction"
          defaultValue={configuration.automaticStopAction}
          options={[
            ['Save', 'Save'],
            ['TurnOff', 'Turn off'],
            ['ShutDown', 'Shut the guest down'],
          ]}
        />
        <Choice
          label="When its worker ends by itself"
          name="crashPolicy"
          defaultValue={configuration.crashPolicy}
          options={[
            ['StayOff', 'Stay off'],
            ['Restart', 'Start again'],
          ]}
        />
        <Choice
          label="Checkpoints"
          name="checkpointType"
          defaultValue={configuration.checkpointType}
          options={['Standard', 'Production', 'Disabled']}
        />
      </Part>
    </div>
  );
}

const text = (data: FormData, name: string): string => textIn(data, name).trim();
const path = (data: FormData, name: string): string | null => text(data, name) || null;

function identity(data: FormData): VmChange {
  return {
    name: text(data, 'name'),
    notes: text(data, 'notes'),
    tags: text(data, 'tags')
      .split(/[\s,]+/)
      .filter(Boolean),
  };
}
function hardware(data: FormData): VmChange {
  const memory = parseSize(text(data, 'memory'));
  if (memory === undefined) throw new Error('the memory must be a size, as 512M or 2G');
  return { processors: Number(data.get('processors')), memory, engine: data.get('engine') as 'auto' };
}
function boot(data: FormData): VmChange {
  return { boot: { kernel: path(data, 'kernel'), initrd: path(data, 'initrd'), append: text(data, 'append') } };
}
function management(data: FormData): VmChange {
  const names = ['automaticStartAction', 'automaticStopAction', 'crashPolicy', 'checkpointType'];
  return Object.fromEntries(names.map((name) => [name, text(data, name)])) as VmChange;
}

interface PartProps {
  readonly vm: Vm;
  readonly title: string;
  readonly read: (data: FormData) => VmChange;
  readonly locked?: boolean;
  readonly children: React.ReactNode;
}

function Part({ vm, title, read, locked = false, children }: PartProps) {
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    setBusy(true);
    const done = await attempt(title, async () => {
      await call('changeVm', { params: { vm: vm.id }, revision: vm.revision, body: read(data) });
    });
    setBusy(false);
    if (done) toast('info', `${title}: saved`);
  };
  return (
    <form className="panel stack" onSubmit={(event) => void submit(event)}>
      <h2>{title}</h2>
      {locked ? <p className="note">This can change while the machine is Off.</p> : null}
      <fieldset className="stack" disabled={locked} style={{ border: 0, margin: 0, padding: 0, minWidth: 0 }}>
        {children}
        <div className="buttons">
          <Button type="submit" disabled={busy}>
            Save changes
          </Button>
        </div>
      </fieldset>
    </form>
  );
}
