/**
 * What the page knows, and how it changes: a pure function of what the service says (docs/api.md, "Streams"). The page
 * never asks for a list again and again: a list is taken once at each connection, then events keep it right.
 */
import type { OperationResult } from '../../contracts/api/operations.ts';
import type { Event, Host, Job } from '../../contracts/api/resources.ts';
import type { Vm } from '../../contracts/api/vm.ts';
import { VM_STATES, type VmState } from '../../contracts/vm-state.ts';

export type Session = OperationResult<'getSession'>;
/** `lost`: it was there; the page shows what it knew. */
export type Connection = 'connecting' | 'live' | 'lost';

/** Events that are kept in the page; the service has more. */
export const KEPT_EVENTS = 1000;
const KEPT_JOBS = 50;

export interface State {
  readonly session: Session | 'unknown' | 'none';
  readonly connection: Connection;
  readonly loaded: boolean;
  readonly vms: ReadonlyMap<string, Vm>;
  /** Newest first. */
  readonly jobs: readonly Job[];
  /** Oldest first. */
  readonly events: readonly Event[];
  readonly lastEvent: number;
  readonly host: Host | undefined;
}

export const EMPTY: State = {
  session: 'unknown',
  connection: 'connecting',
  loaded: false,
  vms: new Map(),
  jobs: [],
  events: [],
  lastEvent: 0,
  host: undefined,
};

export type Change =
  | { readonly kind: 'session'; readonly session: State['session'] }
  | { readonly kind: 'connection'; readonly connection: Connection }
  | { readonly kind: 'vms'; readonly vms: readonly Vm[] }
  | { readonly kind: 'vm'; readonly vm: Vm }
  | { readonly kind: 'vmGone'; readonly id: string }
  | { readonly kind: 'jobs'; readonly jobs: readonly Job[] }
  | { readonly kind: 'job'; readonly job: Job }
  | { readonly kind: 'events'; readonly events: readonly Event[] }
  | { readonly kind: 'event'; readonly event: Event }
  | { readonly kind: 'host'; readonly host: Host };

export function reduce(state: State, change: Change): State {
  switch (change.kind) {
    case 'session':
      return change.session === 'none' ? { ...EMPTY, session: 'none' } : { ...state, session: change.session };
    case 'connection':
      return { ...state, connection: change.connection };
    case 'vms':
      return { ...state, loaded: true, vms: new Map(change.vms.map((vm) => [vm.id, vm])) };
    case 'vm':
      return { ...state, vms: new Map(state.vms).set(change.vm.id, change.vm) };
    case 'vmGone':
      return { ...state, vms: without(state.vms, change.id) };
    case 'jobs':
      return { ...state, jobs: kept(change.jobs).map((job) => later(state.jobs, job)) };
    case 'job':
      return { ...state, jobs: withJob(state.jobs, change.job) };
    case 'events':
      return change.events.reduce((now, event) => withEvent(now, event), state);
    case 'event':
      return withEvent(state, change.event);
    case 'host':
      return { ...state, host: change.host };
  }
}

function withJob(jobs: readonly Job[], job: Job): Job[] {
  const at = jobs.findIndex(({ id }) => id === job.id);
  return at < 0 ? kept([job, ...jobs]) : jobs.with(at, later(jobs, job));
}

/** The newest, and all that are under way. */
function kept(jobs: readonly Job[]): Job[] {
  return jobs.filter(({ state }, at) => at < KEPT_JOBS || state === 'running');
}

/** A job that has ended goes on no more: an answer that says so was overtaken by the stream. */
function later(known: readonly Job[], job: Job): Job {
  const before = known.find(({ id }) => id === job.id);
  return before !== undefined && before.state !== 'running' && job.state === 'running' ? before : job;
}

function withEvent(state: State, event: Event): State {
  // Told twice: by the log and by the stream.
  if (event.id <= state.lastEvent) return state;
  const events = [...state.events.slice(-(KEPT_EVENTS - 1)), event];
  const next = { ...state, events, lastEvent: event.id };
  const vm = event.vm === null ? undefined : state.vms.get(event.vm);
  if (event.kind === 'vm.removed' && event.vm !== null) return { ...next, vms: without(state.vms, event.vm) };
  const now = event.data.state;
  if (vm === undefined || event.kind !== 'vm.state' || !isState(now)) return next;
  // At once; the rest of it comes with the VM itself.
  return { ...next, vms: new Map(state.vms).set(vm.id, { ...vm, state: now }) };
}

function isState(value: unknown): value is VmState {
  return (VM_STATES as readonly unknown[]).includes(value);
}

function without(vms: State['vms'], id: string): State['vms'] {
  if (!vms.has(id)) return vms;
  const rest = new Map(vms);
  rest.delete(id);
  return rest;
}
