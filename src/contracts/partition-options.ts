/**
 * Checks what `createPartition` is given and fills in the defaults. By hand rather than by a schema library: the engine
 * has no runtime dependencies, and each message says what to do.
 */
import { type BlockDevice, DISK_FORMATS, type DiskFile, type DvdDrive, type WantedPlace } from './block-device.ts';
import { ViridianError } from './errors.ts';
import type { NicOptions, PortForward } from './network.ts';
import type {
  BootModule,
  ClockMode,
  DiskBoot,
  DiskEvent,
  EngineChoice,
  FileSource,
  PartitionOptions,
  TraceEvent,
} from './partition.ts';

export const MIB = 2 ** 20;
export const GIB = 2 ** 30;

const DEFAULT_MEMORY = 512 * MIB;
export const LIMITS = {
  /** Bytes a second: one request of any size in a second or two. */
  leastStorage: 2 ** 20,
  /** Bits a second. */
  leastNetwork: 10_000,
  /** The smallest multiboot kernel needs the first mebibyte's tables and itself above it. */
  minimumMemory: 2 * MIB,
  /** Guest memory lies in a 32-bit WebAssembly memory, beside the engine's own state. */
  maximumMemory: 3 * GIB,
  maximumProcessors: 64,
  controllers: 4,
  /** Of one controller. */
  luns: 64,
  maximumNics: 16,
  pageSize: 4096,
} as const;

export interface ResolvedCheck {
  readonly every: bigint;
  readonly say: (text: string) => void;
}

export interface ResolvedPartitionOptions {
  readonly kernel: FileSource | undefined;
  readonly initrd: FileSource | undefined;
  readonly append: string;
  readonly modules: readonly BootModule[];
  readonly memory: number;
  readonly dynamicMemory: { readonly minimum: number; readonly maximum: number } | undefined;
  readonly processors: number;
  readonly clock: ClockMode;
  readonly engine: EngineChoice;
  readonly testDevice: boolean;
  readonly vmbus: boolean;
  readonly disks: readonly (BlockDevice | DiskFile)[];
  readonly dvds: readonly DvdDrive[];
  readonly nics: readonly NicOptions[];
  readonly processorMaximum: number;
  readonly storageMaximum: number | undefined;
  readonly onDisk: ((event: DiskEvent) => void) | undefined;
  readonly onBoot: ((boot: DiskBoot) => void) | undefined;
  readonly onReboot: 'restart' | 'stop';
  readonly instructionLimit: bigint | undefined;
  readonly check: ResolvedCheck | undefined;
  readonly trace: ((event: TraceEvent) => void) | undefined;
  readonly restore: FileSource | undefined;
  readonly restoreUnread: boolean;
}

/** These are part of a saved state, so nobody may give others when restoring it. */
const FIXED_BY_SAVED_STATE = [
  'kernel',
  'initrd',
  'append',
  'modules',
  'memory',
  'memoryMinimum',
  'memoryMaximum',
  'processors',
  'clock',
  'testDevice',
  'vmbus',
] as const satisfies readonly (keyof PartitionOptions)[];

const GOES_WITH_KERNEL = ['initrd', 'modules'] as const satisfies readonly (keyof PartitionOptions)[];

/** A checked partition has two engines, one processor, and a time of its own. */
const NOT_CHECKED = ['restore', 'trace', 'engine'] as const satisfies readonly (keyof PartitionOptions)[];
const CHECK_EVERY = 1_000_000n;

function checkOptions(options: PartitionOptions): ResolvedCheck | undefined {
  const { check } = options;
  if (check === undefined) return undefined;
  const extra = NOT_CHECKED.find((name) => options[name] !== undefined);
  if (extra !== undefined) throw invalid(`${extra} cannot be given with check`);
  if ((options.processors ?? 1) !== 1) throw invalid('check needs one processor');
  if (options.clock === 'real') throw invalid('clock: real cannot be given with check: its time is instructions');
  const every = check.every ?? CHECK_EVERY;
  if (typeof every !== 'bigint' || every < 1n)
    throw invalid(`check.every must be a bigint of at least 1, not ${every}`);
  return { every, say: check.say ?? (() => undefined) };
}

/** @throws ViridianError `invalid`, naming the option. */
export function resolvePartitionOptions(given: PartitionOptions): ResolvedPartitionOptions {
  const check = checkOptions(given);
  const options: PartitionOptions = check ? { ...given, clock: 'instructions' } : given;
  if (options.restore !== undefined) {
    const extra = FIXED_BY_SAVED_STATE.find((name) => options[name] !== undefined);
    if (extra !== undefined) throw invalid(`${extra} cannot be given with restore: it is part of the saved state`);
  } else if (options.kernel === undefined) {
    if ((options.disks ?? []).length === 0)
      throw invalid('kernel is missing: give a kernel to boot, a disk that has one, or a saved state to restore');
    const extra = GOES_WITH_KERNEL.find((name) => options[name] !== undefined);
    if (extra !== undefined) throw invalid(`${extra} cannot be given without kernel: the disk's own are booted`);
  }
  return {
    kernel: fileSource('kernel', options.kernel),
    initrd: fileSource('initrd', options.initrd),
    append: commandLine('append', options.append ?? ''),
    modules: (options.modules ?? []).map((module) => ({
      source: fileSource('modules', module.source)!,
      commandLine: module.commandLine === undefined ? undefined : commandLine('modules', module.commandLine),
    })),
    memory: memory(options.memory ?? DEFAULT_MEMORY),
    dynamicMemory: dynamicMemory(options),
    processors: integer('processors', options.processors ?? 1, 1, LIMITS.maximumProcessors),
    clock: oneOf('clock', options.clock ?? 'real', ['real', 'instructions']),
    engine: oneOf('engine', options.engine ?? 'auto', ['auto', 'interpreter', 'translator']),
    testDevice: options.testDevice ?? false,
    vmbus: vmbus(options),
    ...storage(options),
    nics: nics(options),
    processorMaximum: processorMaximum(options),
    storageMaximum:
      options.storageMaximum === undefined
        ? undefined
        : integer('storageMaximum', options.storageMaximum, LIMITS.leastStorage, Number.MAX_SAFE_INTEGER),
    onDisk: options.onDisk,
    onBoot: options.onBoot,
    onReboot: oneOf('onReboot', options.onReboot ?? 'restart', ['restart', 'stop']),
    instructionLimit: instructionLimit(options.instructionLimit),
    check,
    trace: options.trace,
    restore: fileSource('restore', options.restore),
    restoreUnread: options.restoreUnread === true,
  };
}

function processorMaximum({ processorMaximum: percent = 100, clock }: PartitionOptions): number {
  if (percent !== 100 && clock === 'instructions')
    throw invalid('processorMaximum is about real time, and clock is instructions');
  return integer('processorMaximum', percent, 1, 100);
}

function invalid(message: string): ViridianError {
  return new ViridianError('invalid', message);
}

function fileSource(name: string, value: FileSource | undefined): FileSource | undefined {
  if (value === undefined || value instanceof Uint8Array) return value;
  if (typeof value !== 'string' || value === '') throw invalid(`${name} must be a path or bytes`);
  return value;
}

function commandLine(name: string, value: string): string {
  if (typeof value !== 'string') throw invalid(`${name} must be text`);
  if (value.includes('\0')) throw invalid(`${name} must not contain a NUL character`);
  return value;
}

function integer(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw invalid(`${name} must be a whole number from ${least} to ${most}, not ${value}`);
  }
  return value;
}

function memory(bytes: number): number {
  if (!Number.isInteger(bytes) || bytes < 0) throw invalid(`memory must be a number of bytes, not ${bytes}`);
  if (bytes < LIMITS.minimumMemory) {
    throw invalid(`memory of ${sizeText(bytes)} is too little: give at least ${sizeText(LIMITS.minimumMemory)}`);
  }
  if (bytes > LIMITS.maximumMemory) {
    throw invalid(`memory of ${sizeText(bytes)} is more than a partition can have: give at most 3 GiB`);
  }
  if (bytes % LIMITS.pageSize !== 0) throw invalid(`memory must be a multiple of 4096 bytes, not ${bytes}`);
  return bytes;
}

function dynamicMemory(options: PartitionOptions): ResolvedPartitionOptions['dynamicMemory'] {
  const { memory: start = DEFAULT_MEMORY, memoryMinimum, memoryMaximum } = options;
  if (memoryMinimum === undefined && memoryMaximum === undefined) return undefined;
  if (!vmbus(options)) throw invalid('dynamic memory needs the VMBus');
  const [minimum, maximum] = [memory(memoryMinimum ?? start), memory(memoryMaximum ?? start)];
  if (minimum > start)
    throw invalid(`the minimum of memory, ${sizeText(minimum)}, is more than the ${sizeText(start)} at the start`);
  if (maximum < start)
    throw invalid(`the maximum of memory, ${sizeText(maximum)}, is less than the ${sizeText(start)} at the start`);
  return { minimum, maximum };
}

function instructionLimit(value: bigint | undefined): bigint | undefined {
  if (value !== undefined && (typeof value !== 'bigint' || value < 1n || value >= 1n << 63n)) {
    throw invalid(`instructionLimit must be a bigint of at least 1, not ${value}`);
  }
  return value;
}

/**
 * What the parent does reaches the guest when the host gets to it, so a run with a VMBus is no function of its inputs; and
 * a guest whose idle time is skipped gives up waiting before the host can answer.
 */
function vmbus({ vmbus, clock }: PartitionOptions): boolean {
  if (vmbus && clock === 'instructions') throw invalid('vmbus needs clock: real');
  return vmbus ?? clock !== 'instructions';
}

function storage(o: PartitionOptions): Pick<ResolvedPartitionOptions, 'disks' | 'dvds'> {
  const { disks = [], dvds = [] } = o;
  const count = disks.length + dvds.length;
  const most = LIMITS.controllers * LIMITS.luns;
  if (count > most) throw invalid(`${count} disks are more than a partition can have: give at most ${most}`);
  if (count > 0 && o.restore === undefined && !(o.vmbus ?? o.clock !== 'instructions'))
    throw invalid('disks need the VMBus');
  for (const disk of disks) if (isDiskFile(disk)) checkDiskFile(disk);
  for (const dvd of dvds) checkDvdDrive(dvd);
  return { disks, dvds };
}

function nics({ nics = [], vmbus, clock, restore }: PartitionOptions): readonly NicOptions[] {
  if (nics.length > LIMITS.maximumNics)
    throw invalid(
      `${nics.length} network adapters are more than a partition can have: give at most ${LIMITS.maximumNics}`,
    );
  if (nics.length > 0 && restore === undefined && !(vmbus ?? clock !== 'instructions'))
    throw invalid('network adapters need the VMBus');
  for (const nic of nics) checkNic(nic);
  return nics;
}

/** Six bytes in hexadecimal, alike separated; no group, and not nothing. */
const MAC = /^(?!0{2}([-:]?)(?:0{2}\1){4}0{2}$)[0-9a-f][02468ace]([-:]?)(?:[0-9a-f]{2}\2){4}[0-9a-f]{2}$/i;

/** @throws ViridianError `invalid` */
export function checkNic({ network, name, mac, vlan, mtu, maximum, forwards, hostAccess, capture }: NicOptions): void {
  const own = typeof network !== 'string';
  if (!own && network !== 'nat' && network !== 'private')
    throw invalid(`a network adapter's network must be nat or private, not ${String(network)}`);
  if (name !== undefined && !/^[\w.-]{1,64}$/.test(name))
    throw invalid(`a network adapter's name must be letters, digits, '.', '_' and '-', not '${name}'`);
  if (mac !== undefined && !MAC.test(mac))
    throw invalid(`a network adapter's address must be like 00-15-5D-01-02-03 (no group address), not '${mac}'`);
  if (vlan !== undefined) integer("a network adapter's vlan", vlan, 1, 4094);
  if (mtu !== undefined) integer("a network adapter's mtu", mtu, 576, 9000);
  if (maximum !== undefined)
    integer("a network adapter's maximum", maximum, LIMITS.leastNetwork, Number.MAX_SAFE_INTEGER);
  if (own && (vlan !== undefined || capture !== undefined || maximum !== undefined))
    throw invalid("a network adapter's vlan, maximum and capture are the switch's: set them at the port that is given");
  if (forwards !== undefined && network !== 'nat') throw invalid('port forwards need a network adapter on nat');
  if (hostAccess !== undefined && network !== 'nat') throw invalid('access to the host needs a network adapter on nat');
  for (const forward of forwards ?? []) checkForward(forward);
  for (const { protocol, port } of hostAccess ?? []) {
    oneOf("the protocol of a host's port", protocol, ['tcp', 'udp']);
    integer("a host's port", port, 1, 65535);
  }
}

function checkForward({ protocol, hostPort, guestPort }: PortForward): void {
  oneOf('the protocol of a port forward', protocol, ['tcp', 'udp']);
  integer('the host port of a port forward', hostPort, 1, 65535);
  integer('the guest port of a port forward', guestPort, 1, 65535);
}

export function isDiskFile(disk: BlockDevice | DiskFile): disk is DiskFile {
  return 'file' in disk;
}

/** @throws ViridianError `invalid` */
export function checkPlace({ controller = 0, lun = 0 }: WantedPlace): void {
  integer('controller', controller, 0, LIMITS.controllers - 1);
  integer('lun', lun, 0, LIMITS.luns - 1);
}

function isPath(path: string): boolean {
  return typeof path === 'string' && path !== '' && !path.includes('\0');
}

/** @throws ViridianError `invalid` */
export function checkDvdDrive(drive: DvdDrive): void {
  checkPlace(drive);
  if (drive.file !== undefined && !isPath(drive.file)) throw invalid("a DVD's file must be a path");
}

/** @throws ViridianError `invalid` */
export function checkDiskFile(disk: DiskFile): void {
  const { file, format, allowParent = [] } = disk;
  checkPlace(disk);
  if (![file, ...allowParent].every(isPath)) throw invalid("a disk's file and those in allowParent must be paths");
  if (format !== undefined && !DISK_FORMATS.includes(format))
    throw invalid(`a disk's format must be ${DISK_FORMATS.join(', ')}, not ${format}`);
}

function oneOf<T extends string>(name: string, value: T, choices: readonly T[]): T {
  if (!choices.includes(value)) throw invalid(`${name} must be ${choices.join(' or ')}, not ${value}`);
  return value;
}

/** 536870912 -> '512 MiB'. */
export function sizeText(bytes: number): string {
  for (const [unit, size] of [
    ['GiB', GIB],
    ['MiB', MIB],
    ['KiB', 1024],
  ] as const) {
    if (bytes >= size && (bytes % size === 0 || bytes >= 10 * size))
      return `${Math.round((bytes / size) * 10) / 10} ${unit}`;
  }
  return `${bytes} bytes`;
}
