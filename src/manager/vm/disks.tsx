/** Disks and DVD drives of one machine. */
import { useState } from 'react';
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { FormatField, NewDisk } from '../host/disk-dialogs.tsx';
import { FileName, FORMATS, useDiskImages } from '../host/disks-page.tsx';
import { Button } from '../parts/button.tsx';
import { Collection } from '../parts/collection.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Check } from '../parts/field.tsx';
import { FileField } from '../parts/file-field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { bytes } from '../store/format.ts';
import { useMay } from '../store/hooks.ts';
import { runJob, startJob } from '../store/run.ts';
import { DISK, Graph } from './graph.tsx';

interface Unit {
  readonly slot: number;
  readonly dvd: boolean;
  readonly kind: string;
  readonly file: string | null;
}

interface NewUnit {
  readonly file: string;
  readonly format?: string;
  readonly readOnly?: boolean;
  readonly discard?: boolean;
}

/** Disks can come and go in these; elsewhere the buttons would fail. */
const CHANGEABLE = ['Off', 'OffCritical', 'Running', 'Paused'];

function unitsOf({ disks, dvds }: Vm['configuration']): Unit[] {
  return [
    ...disks.map(({ slot, file, format, readOnly, discard }) => {
      const manner = discard ? ', writes are discarded' : readOnly ? ', read-only' : '';
      return {
        slot,
        file,
        dvd: false,
        kind: `${format === undefined ? 'disk' : (FORMATS[format] ?? format)}${manner}`,
      };
    }),
    ...dvds.map(({ slot, file }) => ({ slot, file, dvd: true, kind: 'DVD' })),
  ].sort((a, b) => a.slot - b.slot);
}

export function Disks({ vm }: { vm: Vm }) {
  const changeable = CHANGEABLE.includes(vm.state);
  const administrator = useMay('administrator') && changeable;
  const operator = useMay('operator') && changeable;
  const images = useDiskImages();
  const sizeOf = ({ file }: Unit): string => {
    const image = images.value?.find((each) => each.file === file);
    return image === undefined || image.problem !== null
      ? ''
      : `${bytes(image.size)}, ${bytes(image.fileSize)} on the host`;
  };
  const [detaching, setDetaching] = useState<Unit>();
  const [inserting, setInserting] = useState<Unit>();
  const of = ({ slot }: Unit) => ({ params: { vm: vm.id, slot: String(slot) } });
  const actions = (unit: Unit) => (
    <div className="buttons">
      {unit.dvd && operator ? (
        <Button
          look="small"
          onClick={() =>
            unit.file === null
              ? setInserting(unit)
              : void runJob('Eject', () => call('setDvd', { ...of(unit), body: { file: null } }))
          }
        >
          {unit.file === null ? 'Insert' : 'Eject'}
        </Button>
      ) : null}
      {administrator ? (
        <Button look={['small', 'danger']} aria-label={`Detach slot ${unit.slot}`} onClick={() => setDetaching(unit)}>
          Detach
        </Button>
      ) : null}
    </div>
  );
  return (
    <div className="stack">
      <Collection
        title="Disks"
        heading={false}
        rows={unitsOf(vm.configuration)}
        keyOf={({ slot }) => String(slot)}
        columns={[
          { title: 'Slot', look: 'narrow', cell: ({ slot }) => slot },
          { title: 'Kind', cell: ({ kind }) => kind },
          {
            title: 'File',
            cell: ({ file }) => (file === null ? <span className="quiet">empty</span> : <FileName of={file} />),
          },
          ...(images.value?.length ? [{ title: 'Size', cell: sizeOf } as const] : []),
          ...(operator ? [{ title: 'Actions', look: 'actions', cell: actions } as const] : []),
        ]}
        empty={{
          title: 'No disks',
          text: 'A disk is a VHDX, VHD, raw or qcow2 file on the host. It can be attached while the machine runs.',
        }}
        make={administrator ? makingFor(vm) : []}
      />
      {isAttended(vm.state) ? <Graph vm={vm.id} title="Disks" figure="rate" series={DISK} /> : null}
      {detaching === undefined ? null : (
        <Dialog
          title={`Detach slot ${detaching.slot}?`}
          text={`${detaching.file ?? 'The empty drive'} ${detaching.file === null ? 'goes.' : 'stays on the host.'}${isAttended(vm.state) ? ' A guest that uses it now loses what it has not written.' : ''}`}
          action="Detach"
          danger
          onClose={() => setDetaching(undefined)}
          onAction={() => {
            return startJob('Detach', () => call(detaching.dvd ? 'removeDvd' : 'removeDisk', of(detaching)));
          }}
        />
      )}
      {inserting === undefined ? null : (
        <Dvd
          title="Insert DVD"
          action="Insert"
          onClose={() => setInserting(undefined)}
          onFile={(file) => startJob('Insert DVD', () => call('setDvd', { ...of(inserting), body: { file } }))}
        />
      )}
    </div>
  );
}

function makingFor({ id }: Vm) {
  const params = { vm: id };
  const attach = (body: NewUnit): Promise<boolean> => startJob('Attach disk', () => call('addDisk', { params, body }));
  return [
    { label: 'Attach disk', form: (close: () => void) => <Attach onClose={close} onFile={attach} /> },
    { label: 'New disk', form: (close: () => void) => <NewFor onClose={close} attach={(file) => attach({ file })} /> },
    {
      label: 'Add DVD drive',
      form: (close: () => void) => (
        <Dvd
          title="Add DVD drive"
          action="Add"
          optional
          onClose={close}
          onFile={(file) => startJob('Add DVD drive', () => call('addDvd', { params, body: { file } }))}
        />
      ),
    },
  ];
}

function NewFor({ onClose, attach }: { onClose: () => void; attach: (file: string) => Promise<unknown> }) {
  const { value = [] } = useDiskImages();
  return <NewDisk known={value} onClose={onClose} then={attach} />;
}

function Attach({ onClose, onFile }: { onClose: () => void; onFile: (disk: NewUnit) => Promise<boolean> }) {
  const { value = [] } = useDiskImages();
  return (
    <Dialog
      title="Attach disk"
      action="Attach"
      onClose={onClose}
      onAction={(data) =>
        onFile({
          file: textIn(data, 'file').trim(),
          ...(textIn(data, 'format') === '' ? {} : { format: textIn(data, 'format') }),
          ...(data.get('readOnly') ? { readOnly: true } : {}),
          ...(data.get('discard') ? { discard: true } : {}),
        })
      }
    >
      <FileField
        label="File on the host"
        name="file"
        placeholder="/srv/disks/data.vhdx"
        known={value.filter(({ vms }) => vms.length === 0).map(({ file }) => file)}
        required
        autoFocus
      />
      <FormatField />
      <Check name="readOnly" label="Read-only" />
      <Check name="discard" label="Discard what the guest writes when it is off" />
    </Dialog>
  );
}

function Dvd({
  title,
  action,
  optional = false,
  onClose,
  onFile,
}: {
  title: string;
  action: string;
  optional?: boolean;
  onClose: () => void;
  onFile: (file: string | null) => Promise<boolean>;
}) {
  return (
    <Dialog
      title={title}
      action={action}
      onClose={onClose}
      onAction={(data) => onFile(textIn(data, 'file').trim() || null)}
    >
      <FileField
        label="Image on the host"
        name="file"
        placeholder="/srv/images/debian.iso"
        hint={optional ? 'Without one the drive is empty.' : undefined}
        required={!optional}
        autoFocus
      />
    </Dialog>
  );
}
