/** The page's connection to the service: takes lists once, follows events, comes again when it is cut off. */
import type { Event, Job, VmGauges } from '../../contracts/api/resources.ts';
import { ApiFailure, call, messageOf, openSocket, whenSignedOut } from './api.ts';
import { tellGauges } from './gauges.ts';
import { type Change, EMPTY, reduce, type State } from './state.ts';

type Message = { readonly event: Event } | { readonly job: Job } | { readonly gauges: VmGauges };

const FIRST_EVENTS = 300;
const LONGEST_WAIT = 5000;
/** Changed VMs are asked for together. */
const GATHER = 60;
const MANY = 10;

let state: State = EMPTY;
const listeners = new Set<() => void>();
let socket: WebSocket | undefined;
let attempts = 0;
const dirty = new Set<string>();

export function current(): State {
  return state;
}
export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
export function change(what: Change): void {
  const next = reduce(state, what);
  if (next === state) return;
  state = next;
  for (const listener of listeners) listener();
}

/** Told on the sign-in page, once. */
let whySignIn: string | undefined;
export function reasonToSignIn(): string | undefined {
  return whySignIn;
}

const CODE = /^#code=([\w-]+)$/;
/** Who asks, and then everything else. A link's code in the address is exchanged first. */
export async function begin(): Promise<void> {
  whenSignedOut(() => {
    if (typeof state.session === 'object') whySignIn = 'Your session has ended: sign in again.';
    signedOut();
  });
  const code = CODE.exec(location.hash)?.[1];
  // A link that is opened where the page is already: the browser loads nothing for it.
  addEventListener('hashchange', () => CODE.test(location.hash) && location.reload());
  if (code !== undefined) {
    history.replaceState(null, '', location.pathname);
    await call('openSession', { body: { token: code } }).catch((error: unknown) => {
      whySignIn = `The link did not sign you in: ${messageOf(error)}. Another one: hv manager`;
    });
  }
  await connect();
}

export async function signIn(token: string): Promise<void> {
  await call('openSession', { body: { token: token.trim() } });
  whySignIn = undefined;
  await connect();
}

export async function signOut(): Promise<void> {
  await call('closeSession').catch(() => {});
  whySignIn = undefined;
  signedOut();
}

function signedOut(): void {
  socket?.close();
  socket = undefined;
  change({ kind: 'session', session: 'none' });
}

async function connect(): Promise<void> {
  try {
    const [session, events] = await Promise.all([
      call('getSession'),
      state.lastEvent === 0 ? call('listEvents', { query: { last: FIRST_EVENTS } }) : [],
    ]);
    change({ kind: 'session', session });
    change({ kind: 'events', events });
  } catch (error) {
    // Any other failure is the service's, and it may come again.
    if (error instanceof ApiFailure && (error.status === 401 || error.status === 403)) return signedOut();
    return again();
  }
  follow();
}

function follow(): void {
  const mine = openSocket(`/events/stream?after=${state.lastEvent}&gauges=true`);
  socket = mine;
  // What happens to these from now on is in the log, which the stream begins with; jobs are in the stream alone.
  const asked = Promise.all([takeVms(), takeHost()]);
  asked.catch(() => {});
  mine.onopen = () => {
    attempts = 0;
    void Promise.all([asked, takeJobs()])
      .then(() => change({ kind: 'connection', connection: 'live' }))
      .catch(() => mine.close());
  };
  mine.onmessage = ({ data }) => take(JSON.parse(String(data)) as Message);
  mine.onclose = () => {
    if (socket !== mine) return;
    socket = undefined;
    again();
  };
}

function again(): void {
  change({ kind: 'connection', connection: state.loaded ? 'lost' : 'connecting' });
  attempts++;
  setTimeout(() => void connect(), Math.min(LONGEST_WAIT, 250 * 2 ** Math.min(attempts, 10)));
}

function take(message: Message): void {
  if ('gauges' in message) tellGauges(message.gauges);
  else if ('job' in message) {
    const before = state.jobs.find(({ id }) => id === message.job.id);
    change({ kind: 'job', job: message.job });
    if (message.job.vm !== null && before?.state !== message.job.state) refresh(message.job.vm);
  } else {
    const { event } = message;
    change({ kind: 'event', event });
    if (event.vm !== null && event.kind !== 'vm.removed') refresh(event.vm);
    if (event.kind === 'host.changed' || event.kind === 'vm.state') void takeHost().catch(() => {});
  }
}

/** Ask for a VM that has changed, with others that have. */
function refresh(id: string): void {
  if (dirty.size === 0) setTimeout(() => void takeDirty(), GATHER);
  dirty.add(id);
}

async function takeDirty(): Promise<void> {
  // A list that is on its way is older than what is asked for now: it must not come after it.
  await listing.catch(() => {});
  const ids = [...dirty];
  dirty.clear();
  if (ids.length > MANY) return await takeVms().catch(() => {});
  for (const id of ids) {
    try {
      change({ kind: 'vm', vm: await call('getVm', { params: { vm: id } }) });
    } catch (error) {
      if (error instanceof ApiFailure && error.status === 404) change({ kind: 'vmGone', id });
    }
  }
}

let listing: Promise<void> = Promise.resolve();
function takeVms(): Promise<void> {
  listing = call('listVms').then((vms) => change({ kind: 'vms', vms }));
  return listing;
}
async function takeJobs(): Promise<void> {
  change({ kind: 'jobs', jobs: await call('listJobs') });
}
async function takeHost(): Promise<void> {
  change({ kind: 'host', host: await call('getHost') });
}
