/** Disk files of the host: made, converted, compacted and deleted, with progress. */
import { useState } from 'react';
import type { DiskImage } from '../../contracts/api/resources.ts';
import { Collection } from '../parts/collection.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { JobRow } from '../parts/job-row.tsx';
import { Menu } from '../parts/menu.tsx';
import type { Column } from '../parts/table.tsx';
import { call } from '../store/api.ts';
import { bytes } from '../store/format.ts';
import { useLastOf, useLoaded, useMay, useStore } from '../store/hooks.ts';
import { attempt, runJob } from '../store/run.ts';
import { ConvertDisk, NewDisk } from './disk-dialogs.tsx';

export const FORMATS: Readonly<Record<string, string>> = {
  vhdx: 'VHDX',
  vhd: 'VHD',
  raw: 'raw',
  iso: 'DVD image',
  qcow2: 'qcow2',
};

/** "VHDX, dynamic". */
function kindOf({ format, type }: DiskImage): string {
  return format === null ? '' : `${FORMATS[format] ?? format}, ${type}`;
}

/** Of administrators; there are none for others. */
export function useDiskImages() {
  const may = useMay('administrator');
  const last = useLastOf('disk.', 'vm.changed', 'vm.created', 'vm.removed', 'checkpoint.');
  return useLoaded(`disks ${last}`, async () => (may ? await call('listDisks') : []));
}

export function DisksPage() {
  const images = useDiskImages();
  const jobs = useStore((state) => state.jobs);
  const running = jobs.filter(({ kind, state }) => kind.startsWith('disk.') && state === 'running');
  const [converting, setConverting] = useState<string>();
  const [deleting, setDeleting] = useState<string>();
  const menu = (image: DiskImage) => (
    <Menu
      small
      label="…"
      name={`More for ${nameOf(image.file)}`}
      entries={[
        { id: 'convert', label: 'Convert', onChoose: () => setConverting(image.file) },
        {
          id: 'compact',
          label: 'Compact',
          onChoose: () => void runJob('Compact', () => call('compactDisk', { body: { file: image.file } })),
        },
        ...(image.own && image.vms.length === 0
          ? [{ id: 'delete', label: 'Delete', danger: true, onChoose: () => setDeleting(image.file) }]
          : []),
      ]}
    />
  );
  return (
    <>
      <Collection
        title="Disks"
        rows={images}
        keyOf={({ file }) => file}
        columns={[...COLUMNS, { title: 'Actions', look: 'actions', cell: menu }]}
        empty={{
          title: 'No disks',
          text: 'A disk is a VHDX, VHD or raw file on the host. Disks of machines are listed here, and those that are made here.',
        }}
        make={[
          { label: 'New disk', form: (close) => <NewDisk known={images.value ?? []} onClose={close} /> },
          { label: 'Convert a disk', form: (close) => <ConvertDisk known={images.value ?? []} onClose={close} /> },
        ]}
      >
        {running.length === 0 ? null : (
          <ul className="panel jobs" aria-label="Under way">
            {running.map((job) => (
              <JobRow key={job.id} job={job} />
            ))}
          </ul>
        )}
      </Collection>
      {converting === undefined ? null : (
        <ConvertDisk known={images.value ?? []} from={converting} onClose={() => setConverting(undefined)} />
      )}
      {deleting === undefined ? null : (
        <Dialog
          title={`Delete ${nameOf(deleting)}?`}
          text={`${deleting} and what it holds are gone then.`}
          action="Delete"
          danger
          onClose={() => setDeleting(undefined)}
          onAction={() => attempt('Delete', () => call('deleteDisk', { query: { file: deleting } }))}
        />
      )}
    </>
  );
}

export function FileName({ of }: { of: string }) {
  return (
    <div className="vm-name">
      <strong className="wrap">{nameOf(of)}</strong>
      <span className="quiet wrap">{of.slice(0, of.lastIndexOf('/')) || '/'}</span>
    </div>
  );
}

export function nameOf(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1);
}

const COLUMNS: readonly Column<DiskImage>[] = [
  {
    title: 'Disk',
    cell: ({ file, parent, problem }) => (
      <div className="vm-name">
        <FileName of={file} />
        {parent === null ? null : <span className="quiet wrap">stands on {nameOf(parent)}</span>}
        {problem === null ? null : <span className="severity-error wrap">{problem}</span>}
      </div>
    ),
  },
  { title: 'Kind', cell: kindOf },
  { title: 'Size', look: 'number', cell: ({ size, problem }) => (problem === null ? bytes(size) : '') },
  { title: 'On the host', look: 'number', cell: ({ fileSize, problem }) => (problem === null ? bytes(fileSize) : '') },
  { title: 'Machines', cell: ({ vms }) => (vms.length === 0 ? <span className="quiet">none</span> : vms.join(', ')) },
];
