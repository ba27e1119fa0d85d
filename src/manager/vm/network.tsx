import { useState } from 'react';
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Empty } from '../parts/empty.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { useLoaded, useMay } from '../store/hooks.ts';
import { runJob } from '../store/run.ts';
import { Graph, NETWORK } from './graph.tsx';

export function Network({ vm }: { vm: Vm }) {
  const off = vm.state === 'Off' || vm.state === 'OffCritical';
  const administrator = useMay('administrator');
  const [asked, setAsked] = useState(false);
  const { nics } = vm.configuration;
  const params = { vm: vm.id };
  return (
    <div className="stack">
      {administrator && off ? (
        <div className="buttons">
          <Button look="main" onClick={() => setAsked(true)}>
            Add network adapter
          </Button>
        </div>
      ) : null}
      {administrator && !off ? <p className="note">Network adapters can change while the machine is Off.</p> : null}
      {nics.length === 0 ? (
        <Empty title="No network adapters" text="An adapter connects the machine to a virtual switch." />
      ) : (
        <div className="table-box">
          <table className="table">
            <thead>
              <tr>
                <th>Adapter</th>
                <th>Switch</th>
                <th>MAC address</th>
                <th>
                  <span className="hidden-label">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {nics.map((nic) => (
                <tr key={nic.id}>
                  <td>{nic.id}</td>
                  <td>{nic.switch ?? <span className="quiet">not connected</span>}</td>
                  <td>
                    {nic.macAddress === undefined ? (
                      <span className="quiet">given at the start</span>
                    ) : (
                      <code>{nic.macAddress}</code>
                    )}
                  </td>
                  <td>
                    {administrator && off ? (
                      <Button
                        look={['small', 'danger']}
                        aria-label={`Remove ${nic.id}`}
                        onClick={() =>
                          void runJob('Remove adapter', () => call('removeNic', { params: { ...params, nic: nic.id } }))
                        }
                      >
                        Remove
                      </Button>
                    ) : null}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {isAttended(vm.state) ? <Graph vm={vm.id} title="Network" figure="rate" series={NETWORK} /> : null}
      {asked ? <Add vm={vm} onClose={() => setAsked(false)} /> : null}
    </div>
  );
}

function Add({ vm, onClose }: { vm: Vm; onClose: () => void }) {
  const { value = [] } = useLoaded('switches', () => call('listSwitches'));
  return (
    <Dialog
      title="Add network adapter"
      action="Add"
      onClose={onClose}
      onAction={(data) => {
        const name = textIn(data, 'switch');
        const macAddress = textIn(data, 'mac').trim().toLowerCase();
        const body = { switch: name === '' ? null : name, ...(macAddress === '' ? {} : { macAddress }) };
        void runJob('Add adapter', () => call('addNic', { params: { vm: vm.id }, body }));
        return true;
      }}
    >
      <Choice
        label="Switch"
        name="switch"
        options={[['', 'Not connected'], ...value.map(({ name }) => [name, name] as const)]}
        hint={value.length === 0 ? 'There is no switch yet: make one on the page Switches.' : undefined}
      />
      <Field
        label="MAC address"
        name="mac"
        placeholder="00:15:5d:00:00:01"
        pattern="([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}"
        hint="Without one, the host gives it."
      />
    </Dialog>
  );
}
