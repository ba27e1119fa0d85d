/** A new virtual machine: from a disk image, a kernel, a clone, a checkpoint, or an export. */

import { type FormEvent, useState } from 'react';
import type { NewVm } from '../../contracts/api/vm.ts';
import { sizeIn } from '../host/disk-dialogs.tsx';
import { useDiskImages } from '../host/disks-page.tsx';
import { Button } from '../parts/button.tsx';
import { Check, Choice, Field } from '../parts/field.tsx';
import { FileField } from '../parts/file-field.tsx';
import { Link } from '../parts/link.tsx';
import { PageHead } from '../parts/page-head.tsx';
import { call } from '../store/api.ts';
import { NAME, textIn } from '../store/form.ts';
import { parseSize } from '../store/format.ts';
import { useLoaded, useStore } from '../store/hooks.ts';
import { change, current } from '../store/live.ts';
import { go } from '../store/router.ts';
import { attempt, finished, runJob } from '../store/run.ts';

const SOURCES = [
  ['disk', 'Disk image', 'Boots the Linux kernel that the disk holds'],
  ['boot', 'Kernel', 'Boots a kernel from the host, with a disk or an ISO as you like'],
  ['clone', 'Clone', 'Copies a machine that is off, or links to its disks'],
  ['checkpoint', 'Checkpoint', 'Goes on where another machine was'],
  ['import', 'Import', 'Takes what an export wrote'],
] as const;
type Source = (typeof SOURCES)[number][0];

type DiskUse = 'itself' | 'copy' | 'over' | 'new' | 'none';
/** How a disk comes to the machine, and from which sources it may. */
const DISK_USES: readonly { readonly id: DiskUse; readonly label: string; readonly of: readonly Source[] }[] = [
  { id: 'none', label: 'No disk', of: ['boot'] },
  { id: 'itself', label: 'A file as it is', of: ['disk', 'boot'] },
  { id: 'copy', label: 'A copy of a file, as VHDX: the file stays as it is', of: ['disk', 'boot'] },
  { id: 'over', label: 'A new disk over a VHDX, which keeps the changes', of: ['disk', 'boot'] },
  { id: 'new', label: 'A new empty VHDX', of: ['boot'] },
];

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
      <PageHead title="New virtual machine" />
      <form className="form" onSubmit={(event) => void submit(event)}>
        <fieldset className="choices">
          <legend className="hidden-label">From what</legend>
          {SOURCES.map(([id, label, text]) => (
            <label key={id} className="choice">
              <span>
                <input type="radio" name="source" value={id} checked={source === id} onChange={() => setSource(id)} />
                <strong>{label}</strong>
              </span>
              <span className="quiet">{text}</span>
            </label>
          ))}
        </fieldset>
        <Field
          label="Name"
          name="name"
          {...NAME}
          required={source !== 'import'}
          autoComplete="off"
          hint={source === 'import' ? 'Without one, it keeps the name it had.' : undefined}
        />
        {source === 'boot' || source === 'disk' ? <HardwareFields source={source} key={source} /> : null}
        {source === 'clone' ? <CloneFields /> : null}
        {source === 'checkpoint' ? <CheckpointFields /> : null}
        {source === 'import' ? (
          <FileField label="Folder of the export, on the host" name="folder" placeholder="/srv/exports/web" required />
        ) : null}
        {source === 'boot' || source === 'disk' || source === 'checkpoint' ? (
          <Check name="start" defaultChecked label="Start it" />
        ) : null}
        <div className="buttons">
          <Button type="submit" look="main" disabled={busy}>
            {busy ? 'Making it…' : 'Create'}
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
          <FileField
            label="Kernel"
            name="kernel"
            required
            placeholder="/boot/vmlinuz"
            hint="A file on the host: bzImage, ELF with a PVH note, or multiboot"
          />
          <FileField label="Initial RAM disk" name="initrd" placeholder="/boot/initrd.img" />
          <Field label="Command line" name="append" defaultValue="console=ttyS0" />
        </>
      ) : null}
      <DiskFields source={source} />
      <div className="pair">
        <Field label="Memory" name="memory" defaultValue="512 MiB" required />
        <Field label="Processors" name="processors" type="number" min={1} max={64} defaultValue={1} required />
      </div>
      <FileField label="DVD image" name="dvd" placeholder="/srv/images/debian.iso" />
      <Choice
        label="Network"
        name="switch"
        options={[['none', 'No adapter'], ...value.map(({ name, kind }) => [`=${name}`, `${name} (${kind})`] as const)]}
      />
    </>
  );
}

function DiskFields({ source }: { source: 'disk' | 'boot' }) {
  const { value = [] } = useDiskImages();
  const uses = DISK_USES.filter(({ of }) => of.includes(source));
  const [use, setUse] = useState<DiskUse>(uses[0]!.id);
  return (
    <>
      <Choice
        label="Disk"
        name="use"
        value={use}
        options={uses.map(({ id, label }) => [id, label] as const)}
        onChange={({ target }) => setUse(target.value as DiskUse)}
      />
      {use === 'none' || use === 'new' ? null : (
        <FileField
          label="Disk file on the host"
          name="disk"
          required
          known={value.map(({ file }) => file)}
          placeholder="/srv/disks/debian.vhdx"
          hint="VHDX, VHD, raw or qcow2. A Debian one: hv image create debian FILE"
        />
      )}
      {use === 'new' ? <Field label="Size of the new disk" name="size" defaultValue="20 GiB" required /> : null}
    </>
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
      <Check name="linked" label="Linked: differencing disks over the other's, made at once" />
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
  const [kernel, dvd, network] = ['kernel', 'dvd', 'switch'].map((name) => text(data, name)) as [
    string,
    string,
    string,
  ];
  const name = text(data, 'name');
  // Before a disk is made for it, which may take minutes.
  if ([...current().vms.values()].some((vm) => vm.name === name))
    throw new Error(`there is a virtual machine '${name}' already: give another name`);
  const disk = await diskOf(data, name);
  const body: NewVm = {
    name,
    memory,
    processors: Number(data.get('processors')),
    ...(kernel === '' ? {} : { boot: { kernel, initrd: text(data, 'initrd') || null, append: text(data, 'append') } }),
    ...(disk === undefined ? {} : { disks: [{ slot: 0, file: disk.file, ...disk.parents }] }),
    ...(dvd === '' ? {} : { dvds: [{ slot: 1, file: dvd }] }),
    ...(network === 'none' ? {} : { nics: [{ id: 'nic0', switch: network.slice(1) }] }),
  };
  const vm = await call('createVm', { body }).catch(async (error: unknown) => {
    // Nobody else wants the disk that was made for it.
    if (disk?.made) await call('deleteDisk', { query: { file: disk.file } }).catch(() => {});
    throw error;
  });
  change({ kind: 'vm', vm });
  go(`/vms/${vm.id}`);
  if (data.get('start') !== null) void runJob(`Start ${vm.name}`, () => call('startVm', { params: { vm: vm.id } }));
}

interface FirstDisk {
  readonly file: string;
  readonly made: boolean;
  readonly parents?: { readonly allowParent: string[] };
}

/** The disk that a machine is to have; one that is made for it lies in the service's folder, under its name. */
async function diskOf(data: FormData, name: string): Promise<FirstDisk | undefined> {
  const use = text(data, 'use') as DiskUse;
  const given = text(data, 'disk');
  if (use === 'none') return undefined;
  if (use === 'itself') return { file: given, made: false };
  const file = `${current().host?.diskFolder ?? ''}/${name}.vhdx`;
  const job =
    use === 'copy'
      ? await call('convertDisk', { body: { from: given, to: file } })
      : await call('createDisk', { body: use === 'over' ? { file, parent: given } : { file, size: sizeIn(data) } });
  await finished(job);
  return { file, made: true, ...(use === 'over' ? { parents: { allowParent: [given] } } : {}) };
}
