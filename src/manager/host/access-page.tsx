/** Tokens: who may use the service over the network, and as what. */
import { useState } from 'react';
import type { Token } from '../../contracts/api/resources.ts';
import { Button } from '../parts/button.tsx';
import { Collection } from '../parts/collection.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { clock } from '../store/format.ts';
import { useLastOf, useLoaded, useStore } from '../store/hooks.ts';
import type { Role } from '../store/roles.ts';
import { attempt } from '../store/run.ts';

const ROLE_TEXTS: readonly (readonly [Role, string])[] = [
  ['viewer', 'Viewer: looks'],
  ['operator', 'Operator: also starts, stops and uses machines'],
  ['administrator', 'Administrator: also makes and changes'],
];

export function AccessPage() {
  const last = useLastOf('token.');
  const tokens = useLoaded(`tokens ${last}`, () => call('listTokens'));
  const vms = useStore((state) => state.vms);
  const [made, setMade] = useState<{ name: string; secret: string }>();
  const [revoking, setRevoking] = useState<Token>();
  const create = async (data: FormData): Promise<void> => {
    const vm = textIn(data, 'vm');
    const body = {
      name: textIn(data, 'name').trim(),
      role: data.get('role') as Role,
      vms: vm === '' ? null : [vm],
    };
    setMade(await call('createToken', { body }));
    tokens.again();
  };
  return (
    <>
      <Collection
        title="Access"
        rows={tokens}
        keyOf={({ id }) => id}
        columns={[
          { title: 'Name', cell: ({ name }) => <strong>{name}</strong> },
          { title: 'Role', cell: ({ role }) => role },
          {
            title: 'Machines',
            cell: (token) => (token.vms === null ? 'all' : token.vms.map((id) => vms.get(id)?.name ?? id).join(', ')),
          },
          { title: 'Made', cell: ({ createdAt }) => clock(createdAt) },
          {
            title: 'Actions',
            look: 'actions',
            cell: (token) => (
              <Button look={['small', 'danger']} aria-label={`Revoke ${token.name}`} onClick={() => setRevoking(token)}>
                Revoke
              </Button>
            ),
          },
        ]}
        empty={{
          title: 'No tokens',
          text: 'A token lets a person or a program use the service over the network, with one of three roles, for all machines or one of them.',
        }}
        make={[
          {
            label: 'New token',
            form: (close) => (
              <Dialog
                title="New token"
                action="Make it"
                onClose={close}
                onAction={(data) => attempt('New token', () => create(data))}
              >
                <Field label="Name" name="name" required autoFocus />
                <Choice label="Role" name="role" options={ROLE_TEXTS} />
                <Choice
                  label="Machines"
                  name="vm"
                  options={[['', 'All'], ...[...vms.values()].map(({ id, name }) => [id, name] as const)]}
                />
              </Dialog>
            ),
          },
        ]}
      >
        {made === undefined ? null : (
          <p className="note wrap" role="status" style={{ marginBottom: 'var(--s4)' }}>
            The secret of {made.name}, shown this once: <code>{made.secret}</code>
          </p>
        )}
      </Collection>
      {revoking === undefined ? null : (
        <Dialog
          title={`Revoke ${revoking.name}?`}
          text="Whoever uses it is refused from now on."
          action="Revoke"
          danger
          onClose={() => setRevoking(undefined)}
          onAction={async () => {
            const done = await attempt('Revoke', () => call('removeToken', { params: { token: revoking.id } }));
            if (done) tokens.again();
            return done;
          }}
        />
      )}
    </>
  );
}
