/** Tokens: who may use the service over the network, and as what. */

import { useState } from 'react';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Empty, Waiting } from '../parts/empty.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { clock } from '../store/format.ts';
import { useLoaded, useStore } from '../store/hooks.ts';
import type { Role } from '../store/roles.ts';
import { attempt } from '../store/run.ts';

const ROLE_TEXTS: readonly (readonly [Role, string])[] = [
  ['viewer', 'Viewer: looks'],
  ['operator', 'Operator: also starts, stops and uses machines'],
  ['administrator', 'Administrator: also makes and changes'],
];

export function AccessPage() {
  const { value, error, again } = useLoaded('tokens', () => call('listTokens'));
  const vms = useStore((state) => state.vms);
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<{ name: string; secret: string }>();
  const make = (
    <Button look="main" onClick={() => setMaking(true)}>
      New token
    </Button>
  );
  return (
    <>
      <div className="page-head">
        <h1>Access</h1>
        {value !== undefined && value.length > 0 ? <div className="push">{make}</div> : null}
      </div>
      {made === undefined ? null : (
        <p className="note wrap" style={{ marginBottom: 'var(--s4)' }}>
          The secret of {made.name}, shown this once: <code>{made.secret}</code>
        </p>
      )}
      {value === undefined ? (
        <Waiting error={error} />
      ) : value.length === 0 ? (
        <Empty
          title="No tokens"
          text="A token lets a person or a program use the service over the network, with one of three roles, for all machines or one of them."
        >
          {make}
        </Empty>
      ) : (
        <div className="table-box">
          <table className="table">
            <thead>
              <tr>
                <th>Name</th>
                <th>Role</th>
                <th>Machines</th>
                <th>Made</th>
                <th>
                  <span className="hidden-label">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {value.map((token) => (
                <tr key={token.id}>
                  <td>{token.name}</td>
                  <td>{token.role}</td>
                  <td className="wrap">
                    {token.vms === null ? 'all' : token.vms.map((id) => vms.get(id)?.name ?? id).join(', ')}
                  </td>
                  <td>{clock(token.createdAt)}</td>
                  <td>
                    <Button
                      look={['small', 'danger']}
                      aria-label={`Revoke ${token.name}`}
                      onClick={() =>
                        void attempt('Revoke', () => call('removeToken', { params: { token: token.id } })).then(again)
                      }
                    >
                      Revoke
                    </Button>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {making ? (
        <Dialog
          title="New token"
          action="Make it"
          onClose={() => setMaking(false)}
          onAction={(data) =>
            attempt('New token', async () => {
              const vm = textIn(data, 'vm');
              const body = {
                name: textIn(data, 'name').trim(),
                role: data.get('role') as Role,
                vms: vm === '' ? null : [vm],
              };
              setMade(await call('createToken', { body }));
              again();
            })
          }
        >
          <Field label="Name" name="name" required autoFocus />
          <Choice label="Role" name="role" options={ROLE_TEXTS} />
          <Choice
            label="Machines"
            name="vm"
            options={[['', 'All'], ...[...vms.values()].map(({ id, name }) => [id, name] as const)]}
          />
        </Dialog>
      ) : null}
    </>
  );
}
