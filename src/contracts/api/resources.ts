/** What else the API speaks of: jobs, events, checkpoints, switches, the host, tokens. */
import { z } from 'zod';
import { ERROR_EXIT_CODES, type ErrorCode } from '../errors.ts';
import { HostPath, Id, Name, type VmMetrics } from './vm.ts';

export const ApiError = z
  .strictObject({
    error: z.strictObject({
      code: z.enum(Object.keys(ERROR_EXIT_CODES) as [ErrorCode, ...ErrorCode[]]),
      message: z.string().describe('one line that says what is wrong'),
    }),
  })
  .meta({ id: 'Error' });
export type ApiError = z.infer<typeof ApiError>;

export const JOB_STATES = ['running', 'done', 'failed', 'cancelled'] as const;
export const Job = z
  .strictObject({
    id: Id,
    kind: z.string().describe('start, save, checkpoint.create, ...'),
    vm: Id.nullable(),
    vmName: z.string().nullable(),
    state: z.enum(JOB_STATES),
    progress: z.number().min(0).max(1),
    text: z.string().describe('what it is doing'),
    cancellable: z.boolean(),
    error: ApiError.shape.error.nullable(),
    result: z.string().nullable().describe('the id of what it made'),
    createdAt: z.iso.datetime(),
    finishedAt: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Job' });
export type Job = z.infer<typeof Job>;

export const SEVERITIES = ['info', 'warning', 'error'] as const;
export const Event = z
  .strictObject({
    id: z.int().describe('ascending; where to go on from'),
    time: z.iso.datetime(),
    kind: z.string().describe('vm.created, vm.changed, vm.state, vm.stopped, vm.crashed, checkpoint.created, ...'),
    severity: z.enum(SEVERITIES),
    vm: Id.nullable(),
    vmName: z.string().nullable(),
    text: z.string(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'Event' });
export type Event = z.infer<typeof Event>;

/** What followers of events are told of a running VM, when they ask for it. */
export interface VmGauges {
  readonly vm: string;
  readonly heartbeat: 'OK' | 'No Contact' | 'Lost Communication';
  readonly metrics: VmMetrics;
}

export const CHECKPOINT_KINDS = ['Standard', 'Production'] as const;
export const Checkpoint = z
  .strictObject({
    id: Id,
    vm: Id,
    name: z.string(),
    kind: z.enum(CHECKPOINT_KINDS),
    parent: Id.nullable(),
    createdAt: z.iso.datetime(),
    memory: z.boolean().describe('memory and processors are in it: the guest goes on where it was'),
    current: z.boolean().describe('the VM goes on from this one'),
    size: z.number().describe('bytes of its files on the host'),
    pause: z.number().nullable().describe('milliseconds for which the guest stood still'),
    background: z
      .number()
      .nullable()
      .describe('milliseconds for which its memory was copied and written while the guest ran'),
  })
  .meta({ id: 'Checkpoint' });
export type Checkpoint = z.infer<typeof Checkpoint>;

export const SWITCH_KINDS = ['Private', 'Internal', 'NAT', 'External'] as const;
export const NewSwitch = z.strictObject({
  name: Name,
  kind: z.enum(SWITCH_KINDS),
  notes: z.string().max(1000).optional(),
});
export const Switch = z
  .strictObject({
    name: z.string(),
    kind: z.enum(SWITCH_KINDS),
    notes: z.string(),
    vms: z.array(z.string()).describe('names of VMs with an adapter at it'),
  })
  .meta({ id: 'Switch' });
export type Switch = z.infer<typeof Switch>;

export const EDITIONS = [
  'Unlimited',
  '2008 Standard',
  '2008 R2 Standard',
  '2008 R2 Enterprise',
  '2008 R2 Datacenter',
] as const;
export type Edition = (typeof EDITIONS)[number];

export const Requirement = z.strictObject({
  name: z.string(),
  met: z.boolean(),
  required: z.boolean(),
  text: z.string(),
});
export type Requirement = z.infer<typeof Requirement>;

export const Host = z
  .strictObject({
    name: z.string(),
    version: z.string(),
    edition: z.enum(EDITIONS),
    memoryLimit: z.number().nullable().describe('bytes that all running VMs may have together'),
    memory: z.number().describe("the host's, in bytes"),
    memoryAvailable: z.number(),
    memoryAssigned: z.number().describe('to VMs that run'),
    processors: z.int(),
    processorModel: z.string(),
    virtualMachines: z.int(),
    running: z.int(),
    dataFolder: HostPath,
    startedAt: z.iso.datetime(),
    requirements: z.array(Requirement),
  })
  .meta({ id: 'Host' });
export type Host = z.infer<typeof Host>;

export const HostChange = z
  .strictObject({ edition: z.enum(EDITIONS) })
  .partial()
  .meta({ id: 'HostChange' });

/** `viewer` looks, `operator` also starts, stops and uses VMs, `administrator` also changes and makes them. */
export const ROLES = ['viewer', 'operator', 'administrator'] as const;
export type Role = (typeof ROLES)[number];

export const NewToken = z.strictObject({
  name: Name,
  role: z.enum(ROLES),
  vms: z.array(Id).nullable().optional().describe('only these VMs, their consoles included; null: all'),
});
export const Token = z
  .strictObject({
    id: Id,
    name: z.string(),
    role: z.enum(ROLES),
    vms: z.array(Id).nullable(),
    createdAt: z.iso.datetime(),
  })
  .meta({ id: 'Token' });
export type Token = z.infer<typeof Token>;
export const MadeToken = Token.extend({ secret: z.string().describe('shown this once') }).meta({ id: 'MadeToken' });

export const SignInLink = z
  .strictObject({
    url: z.string().describe('of the web console, with a code that is good once'),
    expiresAt: z.iso.datetime(),
  })
  .meta({ id: 'SignInLink' });
export type SignInLink = z.infer<typeof SignInLink>;

export const Usage = z
  .strictObject({
    vm: Id,
    name: z.string(),
    seconds: z.number().describe('that it has run, all runs together'),
    processorSeconds: z.number(),
    memorySeconds: z.number().describe('byte-seconds of memory assigned'),
    diskReadBytes: z.number(),
    diskWrittenBytes: z.number(),
    networkBytes: z.number(),
  })
  .meta({ id: 'Usage' });
export type Usage = z.infer<typeof Usage>;
