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

export const Nic = z
  .strictObject({
    id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}$/, 'must be lower-case letters, digits and "-"'),
    switch: Name.nullable().describe('null: not connected'),
    macAddress: z
      .string()
      .regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/, 'must be six pairs of hexadecimal digits, as 00:15:5d:00:00:01')
      .optional()
      .describe('given by the host where it is not set'),
  })
  .meta({ id: 'Nic' });
export type Nic = z.infer<typeof Nic>;

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

export const IsolationRung = z
  .strictObject({
    name: z.enum(['no-new-privileges', 'landlock', 'seccomp']),
    active: z.boolean(),
    detail: z.string().describe('what it does, or why it is missing'),
  })
  .meta({ id: 'IsolationRung' });
export type IsolationRung = z.infer<typeof IsolationRung>;

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
    worker: z
      .strictObject({
        pid: z.int(),
        isolation: z.array(IsolationRung).describe('what holds the worker process back, set before it was executed'),
      })
      .nullable(),
    currentCheckpoint: Id.nullable().describe('the one that the VM goes on from'),
    lastExit: LastExit.nullable(),
    job: z.string().nullable().describe('the job that is under way'),
    revision: z.int().describe('of the configuration; its ETag'),
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
