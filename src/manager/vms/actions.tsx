/** Buttons and a menu for what may be done with one VM or several, with the question before what cannot be taken back. */
import { useState } from 'react';
import type { Vm } from '../../contracts/api/vm.ts';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Field } from '../parts/field.tsx';
import { Menu } from '../parts/menu.tsx';
import { textIn } from '../store/form.ts';
import { useStore } from '../store/hooks.ts';
import { ROLES } from '../store/roles.ts';
import { runJob, startJob } from '../store/run.ts';
import { commandsFor, type VmCommand } from './commands.ts';

const NONE: readonly string[] = [];

/** What was asked for and is under way. */
const asking = new Set<string>();
/** Clicked twice, it is done once: the state in which it may be done no more is shown a moment later. */
async function runOnce(command: VmCommand, vm: Vm): Promise<void> {
  const key = `${command.id} ${vm.id}`;
  if (asking.has(key)) return;
  asking.add(key);
  await runJob(`${command.label} ${vm.name}`, () => command.run(vm, ''));
  asking.delete(key);
}

export function VmActions({
  vms,
  buttons = NONE,
  small = false,
}: {
  vms: readonly Vm[];
  buttons?: readonly string[];
  small?: boolean;
}) {
  const session = useStore((state) => state.session);
  const [asked, setAsked] = useState<VmCommand>();
  const rank = typeof session === 'object' ? ROLES.indexOf(session.role) : -1;
  const may = commandsFor(vms).filter(({ role }) => ROLES.indexOf(role) <= rank);
  if (may.length === 0) return null;
  const names = vms.length === 1 ? vms[0]!.name : `${vms.length} virtual machines`;
  const run = (command: VmCommand): void => {
    for (const vm of vms.filter(({ state }) => command.allowed(state))) void runOnce(command, vm);
  };
  const choose = (command: VmCommand): void =>
    command.question === undefined && command.asks === undefined ? run(command) : setAsked(command);
  const shown = may.filter(({ id }) => buttons.includes(id));
  // Where there is no room for the buttons, the menu is all there is.
  const rest = small ? may : may.filter(({ id }) => !buttons.includes(id));
  return (
    <div className="buttons">
      {shown.map((command, at) => (
        <Button
          key={command.id}
          look={small ? 'small' : at === 0 && command.id === 'start' ? 'main' : []}
          aria-label={small ? `${command.label} ${names}` : undefined}
          onClick={() => choose(command)}
        >
          {command.label}
        </Button>
      ))}
      {rest.length === 0 ? null : (
        <Menu
          label={small ? '…' : 'More'}
          name={`More for ${names}`}
          small={small}
          entries={rest.map((command) => ({
            id: command.id,
            label: command.label,
            danger: command.danger,
            onChoose: () => choose(command),
          }))}
        />
      )}
      {asked === undefined ? null : (
        <Dialog
          title={`${asked.label} ${names}${asked.asks === undefined ? '?' : ''}`}
          text={asked.question}
          action={asked.label}
          danger={asked.danger === true}
          onClose={() => setAsked(undefined)}
          onAction={async (data) => {
            const [vm] = vms;
            // What was written stays, where the service does not take it.
            if (asked.asks !== undefined && vm !== undefined)
              return await startJob(`${asked.label} ${vm.name}`, () => asked.run(vm, textIn(data, 'answer').trim()));
            run(asked);
            return true;
          }}
        >
          {asked.asks === undefined ? null : <Field {...asked.asks} name="answer" required autoFocus />}
        </Dialog>
      )}
    </div>
  );
}
