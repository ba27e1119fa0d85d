/**
 * Every operation of the API, one row each: what it takes, what it gives, who may. The server registers its routes from this
 * table, the OpenAPI document is made of it, and the client is typed by it. Streams (console, screen, events) are
 * WebSockets, and in docs/api.md.
 */
import { z } from 'zod';
import type { OperationName } from './paths.ts';
import {
  CHECKPOINT_KINDS,
  Checkpoint,
  Event,
  Host,
  HostChange,
  Job,
  MadeToken,
  NewSwitch,
  NewToken,
  ROLES,
  type Role,
  SignInLink,
  Switch,
  SwitchChange,
  SwitchDetail,
  Token,
  Usage,
} from './resources.ts';
import { Disk, Dvd, HostPath, Id, Name, NewVm, Nic, NicChange, Vm, VmChange, VmMetrics } from './vm.ts';

export interface Operation {
  readonly tag: string;
  readonly summary: string;
  readonly role: Role | 'anyone';
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** The body is bytes of this type, not JSON. */
  readonly bytes?: string;
  /** The answer is bytes of this type, not JSON. */
  readonly image?: string;
  readonly response?: z.ZodType;
  /** Default: 200, or 204 without a response. */
  readonly status?: 200 | 201 | 202 | 204;
  /** The answer has an ETag; a change may be made to depend on it (If-Match). */
  readonly etag?: boolean;
}

const flag = z.enum(['true', 'false']);
const seconds = z.coerce.number().min(0).max(300);
const Pool = z.enum(['external', 'guest', 'auto']);

const job = { response: Job, status: 202 as const, role: 'operator' as const };
const change = { response: Job, status: 202 as const, role: 'administrator' as const };
const vmPost = { tag: 'Virtual machines' };
const part = { tag: 'Components' };
const checkpoints = { tag: 'Checkpoints' };
const guest = { tag: 'Guest' };

export const OPERATIONS = {
  getVersion: {
    tag: 'Host',
    summary: 'Version of the service and of its API',
    role: 'anyone',
    response: z
      .strictObject({ name: z.string(), version: z.string(), api: z.int(), pid: z.int() })
      .meta({ id: 'Version' }),
  },
  getHost: {
    tag: 'Host',
    summary: 'The host, its limits, and whether it meets the requirements',
    role: 'viewer',
    response: Host,
  },
  setHost: {
    tag: 'Host',
    summary: 'Change the settings of the host',
    role: 'administrator',
    body: HostChange,
    response: Host,
  },
  measure: {
    tag: 'Host',
    summary: 'What VMs have used',
    role: 'viewer',
    response: z.array(Usage),
  },
  stopService: {
    tag: 'Host',
    summary: 'End the service; VMs go on running unless they are to be stopped too',
    role: 'administrator',
    body: z.strictObject({ stopVms: z.boolean().optional() }),
    status: 202,
  },

  listVms: {
    tag: 'Virtual machines',
    summary: 'All virtual machines, by name',
    role: 'viewer',
    response: z.array(Vm),
  },
  createVm: {
    tag: 'Virtual machines',
    summary: 'Make a virtual machine; it is off',
    role: 'administrator',
    body: NewVm,
    response: Vm,
    status: 201,
    etag: true,
  },
  importVm: {
    ...vmPost,
    ...change,
    summary: 'Make a virtual machine of what an export wrote',
    body: z.strictObject({
      folder: HostPath,
      name: Name.optional(),
      mode: z
        .enum(['register', 'copy'])
        .optional()
        .describe(
          'register: use the files where they are, with the id it had. copy (the default): copy them, with a new id',
        ),
    }),
  },
  getVm: {
    tag: 'Virtual machines',
    summary: 'One virtual machine, by id or name',
    role: 'viewer',
    response: Vm,
    etag: true,
  },
  changeVm: {
    tag: 'Virtual machines',
    summary: 'Change settings; most need the VM to be off',
    role: 'administrator',
    body: VmChange,
    response: Vm,
    etag: true,
  },
  removeVm: {
    ...change,
    tag: 'Virtual machines',
    summary: 'Remove a VM that is off, with its checkpoints; disks of its own folder go with it, others stay',
    etag: true,
  },
  startVm: { ...vmPost, ...job, summary: 'Start, or go on from the saved state' },
  stopVm: {
    ...vmPost,
    ...job,
    summary: 'Have the guest shut down, or turn it off',
    body: z
      .strictObject({
        turnOff: z.boolean().optional().describe('pull the plug'),
        force: z.boolean().optional().describe('applications in the guest may not object'),
        timeout: z.number().min(1).max(3600).optional().describe('seconds to wait for the guest; default 120'),
      })
      .meta({ id: 'Stop' }),
  },
  pauseVm: { ...vmPost, ...job, summary: 'Have processors stand still' },
  resumeVm: { ...vmPost, ...job, summary: 'Go on after a pause' },
  saveVm: { ...vmPost, ...job, summary: 'Write memory and devices to a file and end the worker' },
  discardSavedState: {
    ...vmPost,
    ...job,
    summary: 'Forget the saved state: the next start boots',
  },
  restartVm: {
    ...vmPost,
    ...job,
    summary: 'Have the guest restart, or reset the machine',
    body: z.strictObject({ reset: z.boolean().optional(), force: z.boolean().optional() }).meta({ id: 'Restart' }),
  },
  injectNmi: { ...vmPost, ...job, summary: 'Non-maskable interrupt at the first processor' },
  exportVm: {
    ...vmPost,
    ...change,
    summary: 'Copy configuration, disks and saved state of a VM into a new folder',
    body: z.strictObject({ folder: HostPath }),
  },
  cloneVm: {
    ...vmPost,
    ...change,
    summary: 'A new VM with copies of the disks, or with differencing disks over them',
    body: z.strictObject({ name: Name, linked: z.boolean().optional() }).meta({ id: 'Clone' }),
  },
  getVmMetrics: {
    tag: 'Virtual machines',
    summary: 'Processor, memory, disk and network figures of a running VM',
    role: 'viewer',
    response: VmMetrics,
  },
  inspectVm: {
    tag: 'Virtual machines',
    summary: 'Registers, interrupt controllers, devices of a VM that has a worker, as a tree',
    role: 'operator',
    response: z.record(z.string(), z.unknown()),
  },

  addDisk: { ...part, ...change, summary: 'Attach a disk', body: Disk.partial({ slot: true }) },
  removeDisk: { ...part, ...change, summary: 'Detach a disk; its file stays' },
  addDvd: { ...part, ...change, summary: 'Add a DVD drive', body: Dvd.partial({ slot: true }) },
  setDvd: {
    ...part,
    ...job,
    summary: 'Insert a DVD image, or take it out',
    body: z.strictObject({ file: HostPath.nullable() }),
  },
  removeDvd: { ...part, ...change, summary: 'Remove a DVD drive' },
  addNic: { ...part, ...change, summary: 'Add a network adapter', body: Nic.partial({ id: true }) },
  changeNic: {
    ...part,
    ...change,
    summary: 'Change a network adapter, or connect it to another switch; what is left out stays',
    body: NicChange,
  },
  removeNic: { ...part, ...change, summary: 'Remove a network adapter' },

  listCheckpoints: {
    ...checkpoints,
    summary: 'Checkpoints of a VM, oldest first; `parent` makes them a tree',
    role: 'viewer',
    response: z.array(Checkpoint),
  },
  createCheckpoint: {
    ...checkpoints,
    ...change,
    role: 'operator',
    summary: 'Keep the state of a VM, running or not',
    body: z
      .strictObject({ name: z.string().min(1).max(100).optional(), kind: z.enum(CHECKPOINT_KINDS).optional() })
      .meta({ id: 'NewCheckpoint' }),
  },
  renameCheckpoint: {
    ...checkpoints,
    summary: 'Rename a checkpoint',
    role: 'operator',
    body: z.strictObject({ name: z.string().min(1).max(100) }),
    response: Checkpoint,
  },
  applyCheckpoint: {
    ...checkpoints,
    ...change,
    role: 'operator',
    summary: 'Put the VM back to a checkpoint; what it has done since is lost',
    body: z
      .strictObject({ start: z.boolean().optional().describe('default: when it was running') })
      .meta({ id: 'ApplyCheckpoint' }),
  },
  removeCheckpoint: {
    ...checkpoints,
    ...change,
    role: 'operator',
    summary: 'Remove a checkpoint; its disks are merged into what stands on them',
    query: z.strictObject({ subtree: flag.optional() }),
  },
  forkCheckpoint: {
    ...checkpoints,
    ...change,
    summary: 'A new VM that goes on where the checkpoint was, on disks of its own over the frozen ones',
    body: z.strictObject({ name: Name, start: z.boolean().optional() }).meta({ id: 'Fork' }),
  },
  exportCheckpoint: {
    ...checkpoints,
    ...change,
    summary: 'Write a VM as it was at a checkpoint into a new folder',
    body: z.strictObject({ folder: HostPath }),
  },

  getScreen: { ...guest, summary: "The guest's screen", role: 'operator', image: 'image/png' },
  sendKeys: {
    ...guest,
    summary: 'Type a text, or press keys by their W3C codes, in order, released in reverse',
    role: 'operator',
    body: z
      .strictObject({ text: z.string().max(10_000).optional(), keys: z.array(z.string().max(30)).max(20).optional() })
      .meta({ id: 'Keys' }),
    response: z.strictObject({ untyped: z.string().describe('what a US keyboard does not have') }),
  },
  getIntegration: {
    ...guest,
    summary: 'What integration components say of the guest',
    role: 'viewer',
    response: z
      .strictObject({
        heartbeat: z.enum(['OK', 'No Contact', 'Lost Communication']),
        keyboard: z.boolean(),
        mouse: z.boolean(),
        dynamicMemory: z.boolean(),
      })
      .meta({ id: 'Integration' }),
  },
  setTime: { ...guest, summary: 'Have the guest set its clock', role: 'operator' },
  setFrozen: {
    ...guest,
    summary: "Freeze the guest's file systems, or thaw them",
    role: 'operator',
    body: z.strictObject({ frozen: z.boolean() }),
  },
  listKvp: {
    ...guest,
    summary: 'Key-value pairs of a pool: external (from the host), guest, auto',
    role: 'viewer',
    response: z.record(z.string(), z.string()),
  },
  setKvp: {
    ...guest,
    summary: 'Set a value',
    role: 'operator',
    body: z.strictObject({ value: z.string().max(1024) }),
  },
  removeKvp: { ...guest, summary: 'Remove a key', role: 'operator' },
  copyFile: {
    ...guest,
    summary: 'Write a file into the guest; the body is its bytes',
    role: 'operator',
    query: z.strictObject({
      path: HostPath.describe('in the guest'),
      overwrite: flag.optional(),
      folders: flag.optional().describe('make folders that are not there'),
    }),
    bytes: 'application/octet-stream',
  },

  listJobs: { tag: 'Jobs', summary: 'Jobs, newest first', role: 'viewer', response: z.array(Job) },
  getJob: {
    tag: 'Jobs',
    summary: 'A job; with `wait`, when it has ended, has got on, or after so many seconds',
    role: 'viewer',
    query: z.strictObject({
      wait: seconds.optional(),
      after: z.coerce.number().optional().describe('progress that is known'),
    }),
    response: Job,
  },
  cancelJob: { tag: 'Jobs', summary: 'Ask a job to end', role: 'operator', response: Job },

  listEvents: {
    tag: 'Events',
    summary: 'The event log, oldest first',
    role: 'viewer',
    query: z.strictObject({
      after: z.coerce.number().int().min(0).optional().describe('events with a higher id'),
      last: z.coerce.number().int().min(1).max(10_000).optional().describe('only so many of the newest'),
      vm: z.string().max(100).optional(),
    }),
    response: z.array(Event),
  },

  listSwitches: { tag: 'Switches', summary: 'Virtual switches', role: 'viewer', response: z.array(Switch) },
  createSwitch: {
    tag: 'Switches',
    summary: 'Make a virtual switch',
    role: 'administrator',
    body: NewSwitch,
    response: Switch,
    status: 201,
  },
  getSwitch: {
    tag: 'Switches',
    summary: 'A switch with its ports, the addresses that it has given out, and its port forwards',
    role: 'viewer',
    response: SwitchDetail,
  },
  changeSwitch: {
    tag: 'Switches',
    summary: 'Change notes and access to the host; also while VMs are at it',
    role: 'administrator',
    body: SwitchChange,
    response: Switch,
  },
  removeLease: {
    tag: 'Switches',
    summary: "Give up the reservation of an address, by its owner: a VM's name, or name/adapter",
    role: 'administrator',
  },
  removeSwitch: {
    tag: 'Switches',
    summary: 'Remove a switch that no adapter is connected to',
    role: 'administrator',
  },

  listTokens: {
    tag: 'Access',
    summary: 'Who may use the API over TCP',
    role: 'administrator',
    response: z.array(Token),
  },
  createToken: {
    tag: 'Access',
    summary: 'Make a token; its secret is in this answer only',
    role: 'administrator',
    body: NewToken,
    response: MadeToken,
    status: 201,
  },
  removeToken: { tag: 'Access', summary: 'Revoke a token', role: 'administrator' },
  getSession: {
    tag: 'Access',
    summary: 'Who is asking',
    role: 'viewer',
    response: z
      .strictObject({
        name: z.string(),
        role: z.enum(['viewer', 'operator', 'administrator']),
        vms: z.array(Id).nullable(),
      })
      .meta({ id: 'Session' }),
  },
  openSession: {
    tag: 'Access',
    summary: 'Sign in with a token, or the code of a link: sets a cookie for web pages',
    role: 'anyone',
    body: z.strictObject({ token: z.string().max(200) }),
  },
  closeSession: { tag: 'Access', summary: 'Sign out', role: 'anyone' },
  createSignInLink: {
    tag: 'Access',
    summary: 'Make a link into the web console, good once and for a minute; opens a port on loopback if there is none',
    role: 'administrator',
    body: z.strictObject({ role: z.enum(ROLES).optional() }),
    response: SignInLink,
    status: 201,
  },
} as const satisfies Readonly<Record<OperationName, Operation>>;

/** What stands for `{...}` in paths. */
export const PATH_PARAMETERS: Readonly<Record<string, z.ZodType>> = {
  vm: z.string().min(1).max(100).describe('id or name'),
  checkpoint: z.string().min(1).max(100).describe('id or name'),
  job: Id,
  token: Id,
  slot: z.coerce.number().int().min(0).max(63),
  nic: z.string().min(1).max(31),
  switch: z.string().min(1).max(100),
  owner: z.string().min(1).max(140),
  pool: Pool,
  key: z.string().min(1).max(255),
};

type Rows = typeof OPERATIONS;
export type OperationBody<N extends OperationName> = Rows[N] extends { body: z.ZodType }
  ? z.output<Rows[N]['body']>
  : undefined;
export type OperationQuery<N extends OperationName> = Rows[N] extends { query: z.ZodType }
  ? z.output<Rows[N]['query']>
  : Record<string, never>;
export type OperationResult<N extends OperationName> = Rows[N] extends { response: z.ZodType }
  ? z.output<Rows[N]['response']>
  : Rows[N] extends { image: string }
    ? Uint8Array
    : undefined;

/** One line of the first thing that is wrong: "processors: must be at most 64". */
export function complaint(error: z.ZodError): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'it makes no sense';
  const where = issue.path.map(String).join('.');
  return where === '' ? lower(issue.message) : `${where}: ${lower(issue.message)}`;
}

function lower(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
