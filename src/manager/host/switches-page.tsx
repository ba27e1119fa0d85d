import { useState } from 'react';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Empty, Waiting } from '../parts/empty.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { useLoaded, useMay, useStore } from '../store/hooks.ts';
import { attempt } from '../store/run.ts';

const KINDS: readonly (readonly [string, string])[] = [
  ['Private', 'Private: machines reach one another'],
  ['Internal', 'Internal: and the host'],
  ['NAT', 'NAT: and the world, through the host'],
  ['External', 'External: an adapter of the host'],
];

export function SwitchesPage() {
  const last = useStore(
    ({ events }) => events.findLast(({ kind }) => kind.startsWith('switch.') || kind === 'vm.changed')?.id ?? 0,
  );
  const { value, error, again } = useLoaded(`switches ${last}`, () => call('listSwitches'));
  const administrator = useMay('administrator');
  const [making, setMaking] = useState(false);
  const make = (
    <Button look="main" onClick={() => setMaking(true)}>
      New switch
    </Button>
  );
  return (
    <>
      <div className="page-head">
        <h1>Switches</h1>
        {administrator && value !== undefined && value.length > 0 ? <div className="push">{make}</div> : null}
      </div>
      {value === undefined ? (
        <Waiting error={error} />
      ) : value.length === 0 ? (
        <Empty
          title="No switches"
          text="A virtual switch connects network adapters of machines, with one another or also with the host and the world."
        >
          {administrator ? make : null}
        </Empty>
      ) : (
        <div className="table-box">
          <table className="table">
            <thead>
              <tr>
                <th>Name</th>
                <th>Kind</th>
                <th>Machines</th>
                <th>
                  <span className="hidden-label">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {value.map((each) => (
                <tr key={each.name}>
                  <td>
                    <strong>{each.name}</strong>
                    <p className="quiet wrap">{each.notes}</p>
                  </td>
                  <td>{each.kind}</td>
                  <td className="wrap">{each.vms.join(', ') || <span className="quiet">none</span>}</td>
                  <td>
                    {administrator && each.vms.length === 0 ? (
                      <Button
                        look={['small', 'danger']}
                        aria-label={`Remove ${each.name}`}
                        onClick={() =>
                          void attempt('Remove switch', () =>
                            call('removeSwitch', { params: { switch: each.name } }),
                          ).then(again)
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
      {making ? (
        <Dialog
          title="New switch"
          action="Make it"
          onClose={() => setMaking(false)}
          onAction={async (data) => {
            const body = {
              name: textIn(data, 'name').trim(),
              kind: data.get('kind') as 'Private',
              notes: textIn(data, 'notes'),
            };
            const done = await attempt('New switch', () => call('createSwitch', { body }));
            if (done) again();
            return done;
          }}
        >
          <Field label="Name" name="name" required autoFocus />
          <Choice label="Kind" name="kind" options={KINDS} />
          <Field label="Notes" name="notes" maxLength={1000} />
        </Dialog>
      ) : null}
    </>
  );
}
