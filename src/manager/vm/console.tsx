/** VMConnect: the serial console or the screen. */
import { useState } from 'react';
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended, mayDo } from '../../contracts/vm-state.ts';
import { Button } from '../parts/button.tsx';
import { Empty } from '../parts/empty.tsx';
import { call } from '../store/api.ts';
import { runJob } from '../store/run.ts';
import { Screen } from './screen.tsx';
import { Terminal } from './terminal.tsx';

export function Console({ vm }: { vm: Vm }) {
  const [kind, setKind] = useState<'serial' | 'screen'>('serial');
  if (!isAttended(vm.state))
    return (
      <Empty title={`${vm.name} is ${vm.state}`} text="Its console and its screen are here while it runs.">
        {mayDo('start', vm.state) ? (
          <Button
            look="main"
            onClick={() => void runJob(`Start ${vm.name}`, () => call('startVm', { params: { vm: vm.id } }))}
          >
            Start
          </Button>
        ) : null}
      </Empty>
    );
  const kinds = (
    <fieldset className="either plain-set" aria-label="What to look at">
      <Button aria-pressed={kind === 'serial'} look={kind === 'serial' ? 'main' : []} onClick={() => setKind('serial')}>
        Serial console
      </Button>
      <Button aria-pressed={kind === 'screen'} look={kind === 'screen' ? 'main' : []} onClick={() => setKind('screen')}>
        Screen
      </Button>
    </fieldset>
  );
  const Shown = kind === 'serial' ? Terminal : Screen;
  return (
    <div className="stack">
      <Shown vm={vm.id} name={vm.name} kinds={kinds} />
    </div>
  );
}
