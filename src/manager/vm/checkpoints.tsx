/** Checkpoints as the tree that they are, and where the machine is in it. */
import { useState } from 'react';
import type { Checkpoint } from '../../contracts/api/resources.ts';
import type { Vm } from '../../contracts/api/vm.ts';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Empty, Waiting } from '../parts/empty.tsx';
import { Choice, Field } from '../parts/field.tsx';
import { Menu } from '../parts/menu.tsx';
import { StateMark } from '../parts/state.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { bytes, clock } from '../store/format.ts';
import { useLastEvent, useLoaded, useMay } from '../store/hooks.ts';
import { attempt, startJob } from '../store/run.ts';
import { type CheckpointNode, checkpointTree } from './checkpoint-tree.ts';

type Asked = 'create' | readonly ['apply' | 'rename' | 'delete' | 'deleteTree' | 'fork' | 'export', Checkpoint];

export function Checkpoints({ vm }: { vm: Vm }) {
  const last = useLastEvent(vm.id);
  const { value, error } = useLoaded(`${vm.id} ${last}`, () => call('listCheckpoints', { params: { vm: vm.id } }));
  const operator = useMay('operator');
  const [asked, setAsked] = useState<Asked>();
  if (value === undefined) return <Waiting error={error} />;
  const create = (
    <Button look="main" onClick={() => setAsked('create')}>
      Create checkpoint
    </Button>
  );
  return (
    <div className="stack">
      {value.length === 0 ? (
        <Empty
          title="No checkpoints"
          text="A checkpoint keeps the disks and, of a machine that runs, its memory as they are now. Applying it later puts the machine back to this moment."
        >
          {operator ? create : null}
        </Empty>
      ) : (
        <>
          {operator ? <div className="buttons">{create}</div> : null}
          <ul className="tree" aria-label="Checkpoints">
            {checkpointTree(value).map((node) => (
              <Node key={node.checkpoint.id} vm={vm} node={node} ask={setAsked} />
            ))}
          </ul>
        </>
      )}
      {asked === undefined ? null : <Ask vm={vm} asked={asked} onClose={() => setAsked(undefined)} />}
    </div>
  );
}

function Node({ vm, node, ask }: { vm: Vm; node: CheckpointNode; ask: (asked: Asked) => void }) {
  const { checkpoint, children } = node;
  const operator = useMay('operator');
  const administrator = useMay('administrator');
  const entry = (id: Exclude<Asked, 'create'>[0], label: string, danger = false) => ({
    id,
    label,
    danger,
    onChoose: () => ask([id, checkpoint]),
  });
  return (
    <li>
      <div className="tree-node">
        <div className="vm-name">
          <strong className="wrap">{checkpoint.name}</strong>
          <span className="quiet">
            {clock(checkpoint.createdAt)}, {checkpoint.kind}, {checkpoint.memory ? 'with memory' : 'disks only'},{' '}
            {bytes(checkpoint.size)}
          </span>
        </div>
        {operator ? (
          <div className="buttons">
            <Button look="small" aria-label={`Apply ${checkpoint.name}`} onClick={() => ask(['apply', checkpoint])}>
              Apply
            </Button>
            <Menu
              small
              label="…"
              name={`More for ${checkpoint.name}`}
              entries={[
                entry('rename', 'Rename'),
                ...(administrator ? [entry('fork', 'New virtual machine from it'), entry('export', 'Export')] : []),
                entry('delete', 'Delete', true),
                ...(children.length > 0 ? [entry('deleteTree', 'Delete with all below it', true)] : []),
              ]}
            />
          </div>
        ) : null}
      </div>
      {children.length === 0 && !checkpoint.current ? null : (
        <ul>
          {checkpoint.current ? <Now vm={vm} /> : null}
          {children.map((child) => (
            <Node key={child.checkpoint.id} vm={vm} node={child} ask={ask} />
          ))}
        </ul>
      )}
    </li>
  );
}

/** Where the machine is: what it has done since the checkpoint above is kept nowhere else. */
function Now({ vm }: { vm: Vm }) {
  return (
    <li>
      <div className="tree-node" data-now aria-current="true">
        <strong>Now</strong>
        <StateMark state={vm.state} />
      </div>
    </li>
  );
}

function Ask({ vm, asked, onClose }: { vm: Vm; asked: Asked; onClose: () => void }) {
  if (asked === 'create')
    return (
      <Dialog
        title="Create checkpoint"
        action="Create"
        onClose={onClose}
        onAction={(data) => {
          const name = textIn(data, 'name').trim();
          const kind = data.get('kind') as 'Standard' | 'Production';
          return startJob('Create checkpoint', () =>
            call('createCheckpoint', { params: { vm: vm.id }, body: { ...(name === '' ? {} : { name }), kind } }),
          );
        }}
      >
        <Field label="Name" name="name" maxLength={100} hint="Without one, it is named after the time." autoFocus />
        <Choice
          label="Kind"
          name="kind"
          defaultValue={vm.configuration.checkpointType === 'Production' ? 'Production' : 'Standard'}
          options={[
            ['Standard', 'Standard: memory too, the guest goes on where it was'],
            ['Production', 'Production: file systems frozen by the guest, it boots'],
          ]}
        />
      </Dialog>
    );
  const [what, checkpoint] = asked;
  const of = { params: { vm: vm.id, checkpoint: checkpoint.id } };
  const close = { onClose };
  switch (what) {
    case 'apply':
      return (
        <Dialog
          {...close}
          title={`Apply ${checkpoint.name}?`}
          text={`${vm.name} goes back to ${clock(checkpoint.createdAt)}. What it has done since the last checkpoint is lost: create one first to keep it.`}
          action="Apply"
          danger
          onAction={() => {
            return startJob(`Apply ${checkpoint.name}`, () => call('applyCheckpoint', { ...of, body: {} }));
          }}
        />
      );
    case 'rename':
      return (
        <Dialog
          {...close}
          title={`Rename ${checkpoint.name}`}
          action="Rename"
          onAction={(data) =>
            attempt('Rename', () => call('renameCheckpoint', { ...of, body: { name: textIn(data, 'name') } }))
          }
        >
          <Field label="Name" name="name" defaultValue={checkpoint.name} maxLength={100} required autoFocus />
        </Dialog>
      );
    case 'fork':
      return (
        <Dialog
          {...close}
          title="New virtual machine from a checkpoint"
          text={`It goes on where ${checkpoint.name} was, on disks of its own over the frozen ones.`}
          action="Make it"
          onAction={(data) => {
            const body = { name: textIn(data, 'name'), start: data.get('start') !== null };
            return startJob(`Fork ${checkpoint.name}`, () => call('forkCheckpoint', { ...of, body }));
          }}
        >
          <Field label="Name of the new machine" name="name" required autoFocus />
          <label className="check">
            <input type="checkbox" name="start" defaultChecked /> Start it
          </label>
        </Dialog>
      );
    case 'export':
      return (
        <Dialog
          {...close}
          title={`Export ${checkpoint.name}`}
          action="Export"
          onAction={(data) => {
            return startJob(`Export ${checkpoint.name}`, () =>
              call('exportCheckpoint', { ...of, body: { folder: textIn(data, 'folder') } }),
            );
          }}
        >
          <Field
            label="New folder on the host"
            name="folder"
            placeholder="/srv/exports/web"
            pattern="/.*"
            required
            autoFocus
          />
        </Dialog>
      );
    default: {
      const subtree = what === 'deleteTree';
      return (
        <Dialog
          {...close}
          title={`Delete ${checkpoint.name}${subtree ? ' and all below it' : ''}?`}
          text="The machine keeps running as it is. Disks are merged into what stands on them."
          action="Delete"
          danger
          onAction={() => {
            return startJob(`Delete ${checkpoint.name}`, () =>
              call('removeCheckpoint', { ...of, query: subtree ? { subtree: 'true' } : {} }),
            );
          }}
        />
      );
    }
  }
}
