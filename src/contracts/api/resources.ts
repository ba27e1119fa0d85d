/** What else the API speaks of: jobs, events, checkpoints, switches, the host, tokens. */
import { z } from 'zod';
import { DISK_FORMATS } from '../block-device.ts';
import { ERROR_EXIT_CODES, type ErrorCode } from '../errors.ts';
import { SWITCH_KINDS } from '../switches.ts';
import { Forward, HostPath, Id, Name, type VmMetrics } from './vm.ts';

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
    text: z.string().describe('what it is doing; when it has ended, what was asked for'),
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
  readonly addresses: readonly string[];
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

const Notes = z.string().max(1000);
const HostAccess = z
  .array(z.strictObject({ protocol: z.enum(['tcp', 'udp']), port: z.int().min(1).max(65_535) }))
  .max(64)
  .describe("of kind NAT: ports of the host's loopback address that guests reach at the gateway's");
export const NewSwitch = z.strictObject({
  name: Name,
  kind: z
    .enum(SWITCH_KINDS)
    .describe(
      'Private: VMs only. Internal: and the host. NAT: and what the host reaches. External: and a network outside',
    ),
  notes: Notes.optional(),
  device: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$/,
      "must be a network device's name: letters, digits, '.', '_', '-', 15 at most",
    )
    .optional()
    .describe("the host's TAP device, of kind External and Internal; default of an Internal one: hv- and its name"),
  subnet: z.string().max(18).optional().describe('of kind NAT: as 172.30.0.0/24'),
  hostAccess: HostAccess.optional(),
});
export type NewSwitch = z.infer<typeof NewSwitch>;
export const SwitchChange = z
  .strictObject({ notes: Notes, hostAccess: HostAccess })
  .partial()
  .meta({ id: 'SwitchChange' });
export type SwitchChange = z.infer<typeof SwitchChange>;
export const Switch = z
  .strictObject({
    name: z.string(),
    kind: z.enum(SWITCH_KINDS),
    notes: Notes,
    device: z.string().nullable(),
    subnet: z.string().nullable(),
    hostAccess: HostAccess,
    vms: z.array(z.string()).describe('names of VMs with an adapter at it'),
  })
  .meta({ id: 'Switch' });
export type Switch = z.infer<typeof Switch>;

/** A port of a running VM's adapter. */
export const SwitchPort = z
  .strictObject({
    vm: z.string(),
    nic: z.string(),
    owner: z.string().describe('what its address is reserved under'),
    mac: z.string(),
    vlan: z.int(),
    link: z.boolean().describe('the adapter is connected'),
    address: z.string().nullable().describe('its IPv4 address, where that is known'),
    spoofingGuard: z.boolean(),
    sentFrames: z.number(),
    sentBytes: z.number(),
    receivedFrames: z.number(),
    receivedBytes: z.number(),
    dropped: z
      .record(z.string(), z.number())
      .describe('frames by why: mac, address, dhcp, router (the guard), noRoom, ...'),
  })
  .meta({ id: 'SwitchPort' });
export type SwitchPort = z.infer<typeof SwitchPort>;

export const SwitchDetail = Switch.extend({
  running: z.boolean().describe('the switch process runs'),
  gateway: z.string().nullable().describe('of kind NAT: gateway, DHCP and DNS server'),
  domain: z.string().nullable().describe('names of VMs are in it'),
  ports: z.array(SwitchPort),
  leases: z.array(
    z.strictObject({ owner: z.string(), address: z.string(), fixed: z.boolean().describe('by the configuration') }),
  ),
  forwards: z.array(Forward.required().extend({ vm: z.string(), nic: z.string() })),
}).meta({ id: 'SwitchDetail' });
export type SwitchDetail = z.infer<typeof SwitchDetail>;

const DISK_TYPES = ['fixed', 'dynamic', 'differencing'] as const;
export const DiskImage = z
  .strictObject({
    file: HostPath,
    format: z.enum(DISK_FORMATS as [string, ...string[]]).nullable(),
    type: z.enum(DISK_TYPES).nullable(),
    size: z.number().describe('of the disk, in bytes'),
    fileSize: z.number(),
    parent: z.string().nullable().describe('the file that it stands on'),
    vms: z.array(z.string()).describe('names of VMs that it is attached to'),
    own: z.boolean().describe("it lies in the service's folder for disks"),
    problem: z.string().nullable(),
  })
  .meta({ id: 'DiskImage' });
export type DiskImage = z.infer<typeof DiskImage>;

const newFile = {
  format: z.enum(['vhdx', 'vhd', 'raw']).optional().describe('default: as the name says'),
  type: z.enum(DISK_TYPES).optional(),
};
export const NewDiskImage = z
  .strictObject({
    ...newFile,
    file: HostPath,
    size: z
      .int()
      .min(512)
      .max(64 * 2 ** 40)
      .optional()
      .describe("bytes; of a differencing disk: its parent's"),
    parent: HostPath.optional(),
  })
  .meta({ id: 'NewDiskImage' });
export type NewDiskImage = z.infer<typeof NewDiskImage>;
export const DiskConversion = z
  .strictObject({
    ...newFile,
    type: z.enum(['fixed', 'dynamic']).optional(),
    from: HostPath,
    fromFormat: z
      .enum(DISK_FORMATS as [string, ...string[]])
      .optional()
      .describe('found where it is not given, and name and content agree'),
    to: HostPath,
  })
  .meta({ id: 'DiskConversion' });
export type DiskConversion = z.infer<typeof DiskConversion>;

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
    diskFolder: HostPath.describe('where disks are made when no other place is wanted'),
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
