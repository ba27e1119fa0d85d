/** A new virtual machine: from a disk image, a kernel, a clone, a checkpoint, or an export. */

import { type FormEvent, useState } from 'react';
import type { NewVm } from '../../contracts/api/vm.ts';
import { Button } from '../parts/button.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { Link } from '../parts/link.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { parseSize } from '../store/format.ts';
import { useLoaded, useStore } from '../store/hooks.ts';
import { change } from '../store/live.ts';
import { go } from '../store/router.ts';
import { attempt, runJob } from '../store/run.ts';

const SOURCES = [
  ['disk', 'Disk image', 'Boots the Linux kernel that the disk holds'],
  ['boot', 'Kernel', 'Boots a kernel from the host, with a disk or an ISO as you like'],
  ['clone', 'Clone', 'Copies a machine that is off, or links to its disks'],
  ['checkpoint', 'Checkpoint', 'Goes on where another machine was'],
  ['import', 'Import', 'Takes what an export wrote'],
] as const;
type Source = (typeof SOURCES)[number][0];

export function Create() {
  const [source, setSource] = useState<Source>('disk');
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    setBusy(true);
    await attempt('New virtual machine', () => MAKE[source](data));
    setBusy(false);
  };
  return (
    <>
      <div className="page-head">
        <h1>New virtual machine</h1>
      </div>
      <form className="form" onSubmit={(event) => void submit(event)}>
        <fieldset className="choices">
          <legend className="hidden-label">From what</legend>
          {SOURCES.map(([id, label, text]) => (
            <label key={id} className="choice">
              <span>
                <input type="radio" name="source" value={id} checked={source === id} onChange={() => setSource(id)} />{' '}
                <strong>{label}</strong>
              </span>
              <span className="quiet">{text}</span>
            </label>
          ))}
        </fieldset>
        <Field
          label="Name"
          name="name"
          required={source !== 'import'}
          autoComplete="off"
          hint={source === 'import' ? 'Without one, it keeps the name it had.' : undefined}
        />
        {source === 'boot' || source === 'disk' ? <HardwareFields source={source} key={source} /> : null}
        {source === 'clone' ? <CloneFields /> : null}
        {source === 'checkpoint' ? <CheckpointFields /> : null}
        {source === 'import' ? (
          <Field label="Folder of the export, on the host" name="folder" pattern="/.*" required />
        ) : null}
        {source === 'boot' || source === 'disk' || source === 'checkpoint' ? (
          <label className="check">
            <input type="checkbox" name="start" defaultChecked /> Start it
          </label>
        ) : null}
        <div className="buttons">
          <Button type="submit" look="main" disabled={busy}>
            Create
          </Button>
          <Link href="/" className="button">
            Cancel
          </Link>
        </div>
      </form>
    </>
  );
}

function HardwareFields({ source }: { source: 'disk' | 'boot' }) {
  const boot = source === 'boot';
  const { value = [] } = useLoaded('switches', () => call('listSwitches'));
  return (
    <>
      {boot ? (
        <>
          <Field
            label="Kernel"
            name="kernel"
            pattern="/.*"
            required
            placeholder="/boot/vmlinuz"
            hint="A file on the host: bzImage, ELF with a PVH note, or multiboot"
          />
          <Field label="Initial RAM disk" name="initrd" pattern="/.*" placeholder="/boot/initrd.img" />
          <Field label="Command line" name="append" defaultValue="console=ttyS0" />
        </>
      ) : (
        <DiskField required />
      )}
      <div className="grid" style={{ gridTemplateColumns: '1fr 1fr' }}>
        <Field label="Memory" name="memory" defaultValue="512 MiB" required />
        <Field label="Processors" name="processors" type="number" min={1} max={64} defaultValue={1} required />
      </div>
      {boot ? <DiskField required={false} /> : null}
      <Field label="DVD image" name="dvd" pattern="/.*" placeholder="/srv/images/debian.iso" />
      <Choice
        label="Network"
        name="switch"
        options={[['none', 'No adapter'], ...value.map(({ name }) => [`=${name}`, name] as const)]}
      />
    </>
  );
}

function DiskField({ required }: { required: boolean }) {
  return (
    <Field
      label="Disk"
      name="disk"
      pattern="/.*"
      required={required}
      placeholder="/srv/disks/debian.vhdx"
      hint={
        required
          ? 'A VHDX, VHD, raw or qcow2 file on the host. A Debian one: hv image create debian FILE'
          : 'VHDX, VHD, raw or qcow2. An empty one: hv vhd create FILE --size 10G'
      }
    />
  );
}

function VmChoice({ vm, onChoose }: { vm?: string; onChoose?: (id: string) => void }) {
  const vms = useStore((state) => state.vms);
  return (
    <Choice
      label="Of which machine"
      name="of"
      required
      value={vm}
      onChange={({ target }) => onChoose?.(target.value)}
      options={[['', 'Choose'], ...[...vms.values()].map(({ id, name, state }) => [id, `${name} (${state})`] as const)]}
    />
  );
}

function CloneFields() {
  return (
    <>
      <VmChoice />
      <label className="check">
        <input type="checkbox" name="linked" /> Linked: differencing disks over the other's, made at once
      </label>
    </>
  );
}

function CheckpointFields() {
  const [vm, setVm] = useState('');
  const { value = [] } = useLoaded(`checkpoints-of-${vm}`, async () =>
    vm === '' ? [] : await call('listCheckpoints', { params: { vm } }),
  );
  return (
    <>
      <VmChoice vm={vm} onChoose={setVm} />
      <Choice
        label="Checkpoint"
        name="checkpoint"
        required
        options={value.map(({ id, name }) => [id, name] as const)}
        hint={vm !== '' && value.length === 0 ? 'This machine has no checkpoints.' : undefined}
      />
    </>
  );
}

const text = (data: FormData, name: string): string => textIn(data, name).trim();

const MAKE: Readonly<Record<Source, (data: FormData) => Promise<void>>> = {
  disk: create,
  boot: create,
  clone: async (data) => {
    const body = { name: text(data, 'name'), linked: data.get('linked') !== null };
    await made(await runJob('Clone', () => call('cloneVm', { params: { vm: text(data, 'of') }, body })));
  },
  checkpoint: async (data) => {
    const params = { vm: text(data, 'of'), checkpoint: text(data, 'checkpoint') };
    const body = { name: text(data, 'name'), start: data.get('start') !== null };
    await made(await runJob('Fork', () => call('forkCheckpoint', { params, body })));
  },
  import: async (data) => {
    const name = text(data, 'name');
    const body = { folder: text(data, 'folder'), ...(name === '' ? {} : { name }) };
    await made(await runJob('Import', () => call('importVm', { body })));
  },
};

async function made(job: Awaited<ReturnType<typeof runJob>>): Promise<void> {
  if (job?.state !== 'done' || job.result === null) return;
  change({ kind: 'vm', vm: await call('getVm', { params: { vm: job.result } }) });
  go(`/vms/${job.result}`);
}

async function create(data: FormData): Promise<void> {
  const memory = parseSize(text(data, 'memory'));
  if (memory === undefined) throw new Error('the memory must be a size, as 512M or 2G');
  const [kernel, disk, dvd, network] = ['kernel', 'disk', 'dvd', 'switch'].map((name) => text(data, name)) as [
    string,
    string,
    string,
    string,
  ];
  const body: NewVm = {
    name: text(data, 'name'),
    memory,
    processors: Number(data.get('processors')),
    ...(kernel === '' ? {} : { boot: { kernel, initrd: text(data, 'initrd') || null, append: text(data, 'append') } }),
    ...(disk === '' ? {} : { disks: [{ slot: 0, file: disk }] }),
    ...(dvd === '' ? {} : { dvds: [{ slot: 1, file: dvd }] }),
    ...(network === 'none' ? {} : { nics: [{ id: 'nic0', switch: network.slice(1) }] }),
  };
  const vm = await call('createVm', { body });
  change({ kind: 'vm', vm });
  go(`/vms/${vm.id}`);
  if (data.get('start') !== null) void runJob(`Start ${vm.name}`, () => call('startVm', { params: { vm: vm.id } }));
}
