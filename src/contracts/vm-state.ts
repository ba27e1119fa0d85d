/**
 * States of a virtual machine and what may be asked of it in each: Hyper-V's words (Msvm_ComputerSystem, EnabledState and
 * the VMState of its PowerShell module). One table; VMMS, command and web page read it.
 */

export const VM_STATES = [
  'Off',
  'Starting',
  'Running',
  'Pausing',
  'Paused',
  'Resuming',
  'Saving',
  'Saved',
  'Stopping',
  'OffCritical',
  'RunningCritical',
  'PausedCritical',
  'SavedCritical',
] as const;

/**
 * The critical ones: `OffCritical` and `SavedCritical` when a file that the VM needs is missing or damaged, `PausedCritical`
 * while the host has no room for what the guest writes, `RunningCritical` when the worker does not answer.
 */
export type VmState = (typeof VM_STATES)[number];

export const VM_ACTIONS = [
  'start',
  'shutdown',
  'turnOff',
  'restart',
  'reset',
  'pause',
  'resume',
  'save',
  'nmi',
  'discardSavedState',
] as const;
export type VmAction = (typeof VM_ACTIONS)[number];

export interface VmTransition {
  readonly from: readonly VmState[];
  /** The state while it is under way; undefined where the state does not change. */
  readonly through: VmState | undefined;
  /** Where it leads; undefined: back to where it was. */
  readonly to: VmState | undefined;
  /** In messages: "cannot ... web: it is Off". */
  readonly verb: string;
}

export const VM_TRANSITIONS: Readonly<Record<VmAction, VmTransition>> = {
  start: {
    from: ['Off', 'Saved', 'OffCritical', 'SavedCritical'],
    through: 'Starting',
    to: 'Running',
    verb: 'start',
  },
  shutdown: { from: ['Running'], through: 'Stopping', to: 'Off', verb: 'shut down' },
  turnOff: {
    from: ['Starting', 'Running', 'Pausing', 'Paused', 'Resuming', 'Stopping', 'RunningCritical', 'PausedCritical'],
    through: 'Stopping',
    to: 'Off',
    verb: 'turn off',
  },
  restart: { from: ['Running'], through: undefined, to: undefined, verb: 'restart' },
  reset: { from: ['Running', 'Paused', 'PausedCritical'], through: undefined, to: 'Running', verb: 'reset' },
  pause: { from: ['Running'], through: 'Pausing', to: 'Paused', verb: 'pause' },
  resume: { from: ['Paused', 'PausedCritical'], through: 'Resuming', to: 'Running', verb: 'resume' },
  save: { from: ['Running', 'Paused'], through: 'Saving', to: 'Saved', verb: 'save' },
  nmi: { from: ['Running'], through: undefined, to: undefined, verb: 'send an NMI to' },
  discardSavedState: { from: ['Saved', 'SavedCritical'], through: undefined, to: 'Off', verb: 'discard the state of' },
};

/** States in which a worker process holds the VM. */
export const LIVE_STATES: readonly VmState[] = [
  'Starting',
  'Running',
  'Pausing',
  'Paused',
  'Resuming',
  'Saving',
  'Stopping',
  'RunningCritical',
  'PausedCritical',
];

export function isLive(state: VmState): boolean {
  return LIVE_STATES.includes(state);
}

/** The guest's memory and processors are there to be asked: a console, a screen. */
export function isAttended(state: VmState): boolean {
  return isLive(state) && state !== 'Starting';
}

export function mayDo(action: VmAction, state: VmState): boolean {
  return VM_TRANSITIONS[action].from.includes(state);
}

/** Settings of the service's: they can change in any state. All others are parts of the machine that runs. */
export const LIVE_SETTINGS: readonly string[] = [
  'name',
  'notes',
  'tags',
  'checkpointType',
  'automaticStartAction',
  'automaticStartDelay',
  'automaticStartOrder',
  'automaticStopAction',
  'crashPolicy',
];
/** All settings can change in these. */
export const CHANGEABLE_STATES: readonly VmState[] = ['Off', 'OffCritical'];

/** Why not, in one line: "cannot pause web: it is Off, and that needs Running". */
export function refusal(action: VmAction, name: string, state: VmState): string {
  const { verb, from } = VM_TRANSITIONS[action];
  const plain = from.filter((each) => !each.endsWith('Critical'));
  const needed = from.length < 4 ? plain.join(' or ') : 'it to run';
  return `cannot ${verb} ${name}: it is ${state}, and that needs ${action === 'start' ? plain.join(' or ') : needed}`;
}
