/** What a new disk is to be, or a copy in another format. */
import { useState } from 'react';
import type { DiskImage, NewDiskImage } from '../../contracts/api/resources.ts';
import { Dialog } from '../parts/dialog.tsx';
import { Choice, Field, type Option } from '../parts/field.tsx';
import { FileField } from '../parts/file-field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { parseSize } from '../store/format.ts';
import { useStore } from '../store/hooks.ts';
import { attempt, runJob, startJob } from '../store/run.ts';

type Known = readonly DiskImage[];
type Kind = NonNullable<NewDiskImage['type']>;

const KINDS: readonly Option[] = [
  ['dynamic', 'Dynamic: the file grows as the disk fills'],
  ['fixed', 'Fixed: the file has its whole size at once'],
  ['differencing', 'Differencing: stands on another disk, and keeps the changes'],
];

/** @param then what is done with it when it is there; it is in the list by itself. */
export function NewDisk({
  known,
  onClose,
  then,
}: {
  known: Known;
  onClose: () => void;
  then?: (file: string) => Promise<unknown>;
}) {
  const [kind, setKind] = useState<Kind>('dynamic');
  const folder = useStore(({ host }) => host?.diskFolder ?? '');
  const make = async (body: NewDiskImage): Promise<void> => {
    const job = await runJob('New disk', () => call('createDisk', { body }));
    if (job?.state === 'done') await then?.(body.file);
  };
  return (
    <Dialog
      title="New disk"
      action={then === undefined ? 'Make it' : 'Make and attach'}
      onClose={onClose}
      onAction={(data) =>
        attempt('New disk', () => {
          const parent = textIn(data, 'parent').trim();
          const size = kind === 'differencing' ? undefined : sizeIn(data);
          const what = size === undefined ? { parent } : { size };
          void make({ file: textIn(data, 'file').trim(), type: kind, ...what });
          return Promise.resolve();
        })
      }
    >
      <FileField
        label="File on the host"
        name="file"
        defaultValue={`${folder}/`}
        hint="Its name says the format: .vhdx, .vhd or .img"
        required
        autoFocus
      />
      <Choice label="Kind" options={KINDS} value={kind} onChange={({ target }) => setKind(target.value as Kind)} />
      {kind === 'differencing' ? (
        <FileField
          label="Stands on"
          name="parent"
          known={known.map(({ file }) => file)}
          hint="That disk must not be written to any more."
          required
        />
      ) : (
        <Field label="Size" name="size" defaultValue="20 GiB" required />
      )}
    </Dialog>
  );
}

export function ConvertDisk({ known, from, onClose }: { known: Known; from?: string; onClose: () => void }) {
  const folder = useStore(({ host }) => host?.diskFolder ?? '');
  const stem = from === undefined ? '' : from.slice(from.lastIndexOf('/') + 1).replace(/\.[^.]+$/, '');
  const suggestion = `${folder}/${stem === '' ? '' : `${stem}${from!.endsWith('.vhdx') ? '-copy' : ''}.vhdx`}`;
  return (
    <Dialog
      title="Convert a disk"
      text="The disk is copied into a new file of another format or kind. It stays as it is."
      action="Convert"
      onClose={onClose}
      onAction={(data) => {
        const body = {
          from: textIn(data, 'from').trim(),
          to: textIn(data, 'to').trim(),
          type: data.get('type') as 'fixed' | 'dynamic',
          ...formatIn(data),
        };
        return startJob('Convert', () => call('convertDisk', { body }));
      }}
    >
      <FileField
        label="Disk"
        name="from"
        defaultValue={from ?? ''}
        known={known.map(({ file }) => file)}
        hint="VHDX, VHD, raw or qcow2"
        required
        autoFocus={from === undefined}
      />
      <FormatField />
      <FileField
        label="New file"
        name="to"
        defaultValue={suggestion}
        hint="Its name says the format: .vhdx, .vhd or .img"
        required
        autoFocus={from !== undefined}
      />
      <Choice label="Kind" name="type" options={KINDS.slice(0, 2)} />
    </Dialog>
  );
}

/** What a file is, where neither its name nor what it holds says so. */
export function FormatField() {
  return (
    <Choice
      label="Format"
      name="format"
      options={[
        ['', 'As its name and content say'],
        ['vhdx', 'VHDX'],
        ['vhd', 'VHD'],
        ['raw', 'Raw'],
        ['qcow2', 'qcow2'],
      ]}
    />
  );
}

function formatIn(data: FormData): { fromFormat?: string } {
  const format = textIn(data, 'format');
  return format === '' ? {} : { fromFormat: format };
}

/** @throws Error */
export function sizeIn(data: FormData, name = 'size'): number {
  const size = parseSize(textIn(data, name));
  if (size === undefined || size <= 0) throw new Error('the size must be one, as 512M or 20G');
  return Math.ceil(size / 512) * 512;
}
