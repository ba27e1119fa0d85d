import { useState } from 'react';
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Empty } from '../parts/empty.tsx';
import { Field } from '../parts/field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { useMay } from '../store/hooks.ts';
import { runJob } from '../store/run.ts';
import { DISK, Graph } from './graph.tsx';

type Asked =
  | { readonly kind: 'disk' | 'dvd' }
  | { readonly kind: 'insert' | 'remove' | 'removeDvd'; readonly slot: number; readonly file: string | null };

/** Disks can come and go in these; elsewhere the buttons would fail. */
const CHANGEABLE = ['Off', 'OffCritical', 'Running', 'Paused'];

export function Disks({ vm }: { vm: Vm }) {
  const administrator = useMay('administrator') && CHANGEABLE.includes(vm.state);
  const operator = useMay('operator') && CHANGEABLE.includes(vm.state);
  const [asked, setAsked] = useState<Asked>();
  const { disks, dvds } = vm.configuration;
  const units = [
    ...disks.map((disk) => ({ ...disk, dvd: false })),
    ...dvds.map((dvd) => ({ ...dvd, dvd: true, format: 'iso', readOnly: true, discard: false })),
  ].sort((a, b) => a.slot - b.slot);
  return (
    <div className="stack">
      {administrator ? (
        <div className="buttons">
          <Button look="main" onClick={() => setAsked({ kind: 'disk' })}>
            Attach disk
          </Button>
          <Button onClick={() => setAsked({ kind: 'dvd' })}>Add DVD drive</Button>
        </div>
      ) : null}
      {units.length === 0 ? (
        <Empty
          title="No disks"
          text="A disk is a VHDX, VHD, raw or qcow2 file on the host. It can be attached while the machine runs. hv vhd makes, converts and compacts such files."
        />
      ) : (
        <div className="table-box">
          <table className="table">
            <thead>
              <tr>
                <th>Slot</th>
                <th>Kind</th>
                <th>File</th>
                <th>
                  <span className="hidden-label">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {units.map((unit) => (
                <tr key={unit.slot}>
                  <td>{unit.slot}</td>
                  <td>
                    {unit.dvd ? 'DVD' : (unit.format ?? 'disk')}
                    {unit.discard ? ', writes are discarded' : unit.readOnly && !unit.dvd ? ', read-only' : ''}
                  </td>
                  <td className="wrap">{unit.file ?? <span className="quiet">empty</span>}</td>
                  <td>
                    <div className="buttons">
                      {unit.dvd && operator ? (
                        <Button
                          look="small"
                          onClick={() =>
                            unit.file === null
                              ? setAsked({ kind: 'insert', slot: unit.slot, file: null })
                              : void runJob('Eject', () =>
                                  call('setDvd', {
                                    params: { vm: vm.id, slot: String(unit.slot) },
                                    body: { file: null },
                                  }),
                                )
                          }
                        >
                          {unit.file === null ? 'Insert' : 'Eject'}
                        </Button>
                      ) : null}
                      {administrator ? (
                        <Button
                          look={['small', 'danger']}
                          aria-label={`Detach slot ${unit.slot}`}
                          onClick={() =>
                            setAsked({ kind: unit.dvd ? 'removeDvd' : 'remove', slot: unit.slot, file: unit.file })
                          }
                        >
                          Detach
                        </Button>
                      ) : null}
                    </div>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {isAttended(vm.state) ? <Graph vm={vm.id} title="Disks" figure="rate" series={DISK} /> : null}
      {asked === undefined ? null : <Ask vm={vm} asked={asked} onClose={() => setAsked(undefined)} />}
    </div>
  );
}

function Ask({ vm, asked, onClose }: { vm: Vm; asked: Asked; onClose: () => void }) {
  const params = { vm: vm.id };
  if (asked.kind === 'remove' || asked.kind === 'removeDvd') {
    const name = asked.kind === 'remove' ? 'removeDisk' : 'removeDvd';
    return (
      <Dialog
        title={`Detach slot ${asked.slot}?`}
        text={`${asked.file ?? 'The empty drive'} ${asked.file === null ? 'goes.' : 'stays on the host.'} A guest that uses it now loses what it has not written.`}
        action="Detach"
        danger
        onClose={onClose}
        onAction={() => {
          void runJob('Detach', () => call(name, { params: { ...params, slot: String(asked.slot) } }));
          return true;
        }}
      />
    );
  }
  const disk = asked.kind === 'disk';
  return (
    <Dialog
      title={disk ? 'Attach disk' : asked.kind === 'dvd' ? 'Add DVD drive' : 'Insert DVD'}
      action={disk ? 'Attach' : asked.kind === 'dvd' ? 'Add' : 'Insert'}
      onClose={onClose}
      onAction={(data) => {
        const file = textIn(data, 'file').trim();
        if (disk) {
          const flags = {
            ...(data.get('readOnly') ? { readOnly: true } : {}),
            ...(data.get('discard') ? { discard: true } : {}),
          };
          void runJob('Attach disk', () => call('addDisk', { params, body: { file, ...flags } }));
        } else if (asked.kind === 'insert') {
          void runJob('Insert DVD', () =>
            call('setDvd', { params: { ...params, slot: String(asked.slot) }, body: { file } }),
          );
        } else
          void runJob('Add DVD drive', () => call('addDvd', { params, body: { file: file === '' ? null : file } }));
        return true;
      }}
    >
      <Field
        label="File on the host"
        name="file"
        placeholder={disk ? '/srv/disks/data.vhdx' : '/srv/images/debian.iso'}
        pattern="/.*"
        title="An absolute path"
        required={asked.kind !== 'dvd'}
        autoFocus
      />
      {disk ? (
        <>
          <label className="check">
            <input type="checkbox" name="readOnly" /> Read-only
          </label>
          <label className="check">
            <input type="checkbox" name="discard" /> Discard what the guest writes when it is off
          </label>
        </>
      ) : null}
    </Dialog>
  );
}
