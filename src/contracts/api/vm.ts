/**
 * A virtual machine's configuration, versioned, and what the API says of a machine. The schemas are what requests are
 * checked with, what the OpenAPI document is made of, and where the types come from.
 */
import { z } from 'zod';
import { DISK_FORMATS } from '../block-device.ts';
import { LIMITS } from '../partition-options.ts';
import { VM_STATES } from '../vm-state.ts';

/** Raised whenever an older build could misread a configuration. */
export const CONFIGURATION_VERSION = 1;

const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Names are for people; what would pass for an id, or would confuse a shell, is none. */
export const Name = z
  .string()
  .regex(/^[\p{L}\p{N}][\p{L}\p{N} ._-]*$/u, 'must start with a letter or digit and have letters, digits, " ._-" only')
  .max(100)
  .refine((text) => !GUID.test(text), 'must not look like an id');

export const Id = z.string().regex(GUID, 'must be an id');

/** A file of the host's, by its absolute path. */
export const HostPath = z
  .string()
  .max(4096)
  .regex(/^\/[^\0]*$/, 'must be an absolute path');

export const Disk = z
  .strictObject({
    slot: z
      .int()
      .min(0)
      .max(LIMITS.luns - 1)
      .describe('its place (LUN) at the SCSI controller'),
    file: HostPath,
    format: z
      .enum(DISK_FORMATS as [string, ...string[]])
      .optional()
      .describe('found once where it is not given'),
    readOnly: z.boolean().optional(),
    discard: z.boolean().optional().describe('what the guest writes is thrown away when the VM is off'),
    allowParent: z.array(HostPath).optional().describe("files outside the disk's folder that may be its parents"),
  })
  .meta({ id: 'Disk' });
export type Disk = z.infer<typeof Disk>;

export const Dvd = z
  .strictObject({
    slot: z
      .int()
      .min(0)
      .max(LIMITS.luns - 1),
    file: HostPath.nullable().describe('null: the drive is empty'),
  })
  .meta({ id: 'Dvd' });
export type Dvd = z.infer<typeof Dvd>;

export const Forward = z
  .strictObject({
    protocol: z.enum(['tcp', 'udp']),
    hostAddress: z
      .string()
      .regex(/^[0-9A-Fa-f.:]{2,45}$/, 'must be an IP address')
      .optional()
      .describe('where the host listens; default: 127.0.0.1'),
    hostPort: z.int().min(1).max(65_535),
    guestPort: z.int().min(1).max(65_535),
  })
  .meta({ id: 'PortForward' });
export type Forward = z.infer<typeof Forward>;

const Bandwidth = z.int().min(1000).max(1e12);

export const Nic = z
  .strictObject({
    id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}$/, 'must be lower-case letters, digits and "-"'),
    switch: Name.nullable().describe('null: not connected'),
    macAddress: z
      .string()
      .regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/, 'must be six pairs of hexadecimal digits, as 00:15:5d:00:00:01')
      .optional()
      .describe('given by the host where it is not set'),
    vlan: z.int().min(1).max(4094).optional().describe('access VLAN; NAT is in none'),
    macSpoofing: z.boolean().optional().describe('the guest may send from any MAC and IP address'),
    address: z
      .string()
      .regex(/^\d{1,3}(\.\d{1,3}){3}$/, 'must be an IPv4 address')
      .optional()
      .describe('the IPv4 address that DHCP gives it; on other switches the only one it may have'),
    sendLimit: Bandwidth.optional().describe('bits per second'),
    receiveLimit: Bandwidth.optional().describe('bits per second'),
    egress: z
      .array(z.string().min(1).max(300))
      .max(100)
      .optional()
      .describe('with NAT: where it may go, as tcp:192.0.2.7:443 or *.debian.org:80-443; default: anywhere'),
    forwards: z.array(Forward).max(64).optional().describe('with NAT: ports of the host that lead to the guest'),
  })
  .meta({ id: 'Nic' });
export type Nic = z.infer<typeof Nic>;
/** What may change while the VM runs. Null: back to the default. */
export const NicChange = z
  .strictObject({
    switch: Nic.shape.switch,
    vlan: Nic.shape.vlan.unwrap().nullable(),
    macSpoofing: z.boolean(),
    address: Nic.shape.address.unwrap().nullable(),
    sendLimit: Bandwidth.nullable(),
    receiveLimit: Bandwidth.nullable(),
    egress: Nic.shape.egress.unwrap().nullable(),
    forwards: Nic.shape.forwards.unwrap(),
  })
  .partial()
  .meta({ id: 'NicChange' });
export type NicChange = z.infer<typeof NicChange>;

/** A network adapter as it is. */
export const Adapter = z
  .strictObject({
    id: z.string(),
    switch: z.string().nullable(),
    macAddress: z.string().nullable().describe('null: it gets one with the first start'),
    address: z.string().nullable().describe('its IPv4 address, where that is known'),
    connected: z.boolean().describe('the VM runs, and the adapter is at a switch'),
  })
  .meta({ id: 'Adapter' });
export type Adapter = z.infer<typeof Adapter>;

export const Boot = z
  .strictObject({
    kernel: HostPath.nullable().describe('bzImage, ELF with a PVH note, or multiboot ELF32'),
    initrd: HostPath.nullable(),
    append: z.string().max(4095).describe("the kernel's command line"),
  })
  .meta({ id: 'Boot' });
export type Boot = z.infer<typeof Boot>;

const fields = {
  name: Name,
  notes: z.string().max(10_000),
  tags: z.array(z.string().regex(/^[\p{L}\p{N}._:-]{1,50}$/u)).max(50),
  memory: z
    .int()
    .min(LIMITS.minimumMemory, `must be ${LIMITS.minimumMemory / 2 ** 20} MiB at least`)
    .max(LIMITS.maximumMemory, `must be ${LIMITS.maximumMemory / 2 ** 30} GiB at most`)
    .multipleOf(LIMITS.pageSize)
    .describe('bytes, whole pages of 4 KiB'),
  processors: z
    .int()
    .min(1, 'must be 1 at least')
    .max(LIMITS.maximumProcessors, `must be ${LIMITS.maximumProcessors} at most`),
  processorWeight: z.int().min(1).max(10_000).describe('share of the host under load, against 100 of the others'),
  engine: z.enum(['auto', 'interpreter', 'translator']),
  boot: Boot,
  disks: z.array(Disk).max(LIMITS.luns),
  dvds: z.array(Dvd).max(LIMITS.luns),
  nics: z.array(Nic).max(8),
  checkpointType: z.enum(['Standard', 'Production', 'Disabled']),
  automaticStartAction: z.enum(['Nothing', 'StartIfRunning', 'Start']).describe('when the service starts'),
  automaticStartDelay: z.int().min(0).max(86_400).describe('seconds'),
  automaticStartOrder: z.int().min(0).max(10_000).describe('lower ones first'),
  automaticStopAction: z.enum(['Save', 'TurnOff', 'ShutDown']).describe('when the host is shut down'),
  crashPolicy: z.enum(['StayOff', 'Restart']).describe('when the worker process ends by itself'),
  guestReset: z.enum(['Restart', 'Stop']).describe('when the guest asks for a restart'),
};

/** Every setting but the version. */
export const VmSettings = z.strictObject(fields);
export const VmConfiguration = z
  .strictObject({ version: z.literal(CONFIGURATION_VERSION), ...fields })
  .meta({ id: 'VmConfiguration' });
export type VmConfiguration = z.infer<typeof VmConfiguration>;

const partialBoot = { boot: Boot.partial().meta({ id: 'BootChange' }) };
/** What a change may say: anything left out stays. */
export const VmChange = VmSettings.extend(partialBoot).partial().meta({ id: 'VmChange' });
export type VmChange = z.infer<typeof VmChange>;

export const NewVm = VmSettings.extend(partialBoot)
  .partial()
  .extend({
    version: z.literal(CONFIGURATION_VERSION).optional(),
    name: Name,
  })
  .meta({ id: 'NewVm', description: 'What is left out has its default.' });
export type NewVm = z.infer<typeof NewVm>;

const MIB = 2 ** 20;
export const VM_DEFAULTS: Omit<VmConfiguration, 'name'> = {
  version: CONFIGURATION_VERSION,
  notes: '',
  tags: [],
  memory: 512 * MIB,
  processors: 1,
  processorWeight: 100,
  engine: 'auto',
  boot: { kernel: null, initrd: null, append: '' },
  disks: [],
  dvds: [],
  nics: [],
  checkpointType: 'Standard',
  automaticStartAction: 'StartIfRunning',
  automaticStartDelay: 0,
  automaticStartOrder: 100,
  automaticStopAction: 'Save',
  crashPolicy: 'StayOff',
  guestReset: 'Restart',
};

/** How the VM's last run ended. */
export const LastExit = z
  .strictObject({
    kind: z
      .string()
      .describe('powerOff, reset, tripleFault, crash, exit, turnedOff, error (of the worker), killed (the worker)'),
    message: z.string(),
    time: z.iso.datetime(),
  })
  .meta({ id: 'LastExit' });
export type LastExit = z.infer<typeof LastExit>;

export const Vm = z
  .strictObject({
    id: Id,
    name: z.string(),
    state: z.enum(VM_STATES),
    status: z.string().describe('one line for people, beside the state: a job and its progress, what is wrong'),
    critical: z.string().nullable().describe('why the state is a critical one'),
    createdAt: z.iso.datetime(),
    startedAt: z.iso.datetime().nullable(),
    uptime: z.number().describe('seconds since the guest was started; 0 when it does not run'),
    memoryAssigned: z.number().describe('bytes that count against the host now'),
    heartbeat: z.enum(['OK', 'No Contact', 'Lost Communication']).nullable(),
    worker: z.strictObject({ pid: z.int() }).nullable(),
    currentCheckpoint: Id.nullable().describe('the one that the VM goes on from'),
    lastExit: LastExit.nullable(),
    job: z.string().nullable().describe('the job that is under way'),
    revision: z.int().describe('of the configuration; its ETag'),
    adapters: z.array(Adapter).describe('network adapters, with the addresses that they have'),
    configuration: VmConfiguration,
  })
  .meta({ id: 'Vm' });
export type Vm = z.infer<typeof Vm>;

export const VmMetrics = z
  .strictObject({
    time: z.iso.datetime(),
    processorPercent: z.number().describe('of one host processor, over the last seconds'),
    processorSeconds: z.number().describe('of guest instructions, since the start'),
    instructions: z.number(),
    memoryAssigned: z.number(),
    memoryDemand: z.number().describe('by the guest: 0 when it says nothing'),
    residentMemory: z.number().describe('of the worker process'),
    disk: z.strictObject({ readBytes: z.number(), writtenBytes: z.number() }),
    network: z.strictObject({ receivedBytes: z.number(), sentBytes: z.number() }),
  })
  .meta({ id: 'VmMetrics' });
export type VmMetrics = z.infer<typeof VmMetrics>;
