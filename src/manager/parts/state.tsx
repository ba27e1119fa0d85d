/** A VM's state, in Hyper-V's word, with a mark that does not need colour alone. */
import type { VmState } from '../../contracts/vm-state.ts';

export function lookOf(state: VmState): 'on' | 'off' | 'still' | 'moving' | 'bad' {
  if (state.endsWith('Critical')) return 'bad';
  if (state === 'Running') return 'on';
  if (state === 'Paused' || state === 'Saved') return 'still';
  return state === 'Off' ? 'off' : 'moving';
}

export function StateMark({ state }: { state: VmState }) {
  return (
    <span className="state" data-look={lookOf(state)}>
      {state}
    </span>
  );
}
