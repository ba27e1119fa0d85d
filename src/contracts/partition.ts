/**
 * The library's interface: what `createPartition` takes and gives. `hv run` uses it, and so does
 * `import { createPartition } from 'viridian'`. Shapes only; src/vmwp/ implements them.
 */

import type { BlockDevice, DiskFile, DiskFormat, DvdDrive, StoragePlace, WantedPlace } from './block-device.ts';
import type { NicOptions } from './network.ts';
import type { ConnectOptions, ExecOptions, ExecResult, GuestListener, GuestStream } from './sockets.ts';

/** A file by its path, or its bytes. */
export type FileSource = string | Uint8Array;

/**
 * `real`: the guest's clocks follow the host's. `instructions`: they follow the count of retired instructions, so that a
 * run is a pure function of its inputs.
 */
export type ClockMode = 'real' | 'instructions';

/**
 * What executes guest code. `translator`: an interpreter that has hot code translated to WebAssembly. `auto`: the fastest that
 * this host has.
 */
export type EngineChoice = 'auto' | 'interpreter' | 'translator';

/** A file handed to the kernel beside its initial RAM disk (multiboot 1, section 3.3, "mods_addr"). */
export interface BootModule {
  readonly source: FileSource;
  /** The module's string. Undefined: the path as it was given, or nothing for bytes. */
  readonly commandLine?: string | undefined;
}

/** How two engines are compared. */
export interface CheckOptions {
  /** Instructions between two comparisons of the registers. Default: 1,000,000. */
  readonly every?: bigint | undefined;
  /** Told what is found, a line at a time. */
  readonly say?: ((text: string) => void) | undefined;
}

/** Everything but `kernel`, `restore` or a disk to boot from has a default; see `resolvePartitionOptions`. */
export interface PartitionOptions {
  /**
   * bzImage, ELF with a PVH note, or multiboot 1 ELF32. Given neither `kernel` nor `restore`, the first of `disks` that has
   * one in an ext4 file system is booted with it, again at each restart.
   */
  readonly kernel?: FileSource | undefined;
  readonly initrd?: FileSource | undefined;
  /** The kernel's command line. Default: empty. Of a kernel that is found in a disk: what comes behind its own. */
  readonly append?: string | undefined;
  readonly modules?: readonly BootModule[] | undefined;
  /** Bytes of guest memory, a multiple of 4 KiB. Default: 512 MiB. */
  readonly memory?: number | undefined;
  /**
   * Dynamic memory: the guest gets more than `memory`, up to `memoryMaximum`, and gives back what it does not need, down to
   * `memoryMinimum`, by the pressure that its driver reports. Bytes, multiples of 4 KiB; each is `memory` when only the other
   * is given. Needs `vmbus`.
   */
  readonly memoryMinimum?: number | undefined;
  readonly memoryMaximum?: number | undefined;
  /** Virtual processors. Default: 1. */
  readonly processors?: number | undefined;
  /** Default: 'real'. */
  readonly clock?: ClockMode | undefined;
  /** Default: 'auto'. Not part of a saved state. */
  readonly engine?: EngineChoice | undefined;
  /** The debug devices bare-metal test kernels written for QEMU expect. Default: false. */
  readonly testDevice?: boolean | undefined;
  /**
   * The VMBus with its synthetic devices and integration components. Default: true; false with `clock: 'instructions'`,
   * which cannot have it yet.
   */
  readonly vmbus?: boolean | undefined;
  /**
   * Disks at the synthetic SCSI controllers: where they say, else at LUN 0 of the first one, and so on. They are the host's:
   * a restored partition is given them again, in the order of `PartitionStorage.list`, and what was a disk's place and
   * format stays it. Files are closed before `stopped` resolves; what else is given is its giver's. Needs `vmbus`.
   */
  readonly disks?: readonly (BlockDevice | DiskFile)[] | undefined;
  /** DVD drives, behind the disks where they do not say. For them holds what holds for disks. */
  readonly dvds?: readonly DvdDrive[] | undefined;
  /**
   * Synthetic network adapters. Like disks they are the host's: a restored partition is given them again, by the same names
   * and addresses. Needs `vmbus`.
   */
  readonly nics?: readonly NicOptions[] | undefined;
  /**
   * What a virtual processor may take of a host's, in percent. What it has not used is not kept for it. Not with `clock:
   * 'instructions'`. Default: 100.
   */
  readonly processorMaximum?: number | undefined;
  /** Bytes a second that all disks read and write together, short bursts aside. Default: as fast as it goes. */
  readonly storageMaximum?: number | undefined;
  /** Told of what a disk's file does to the partition. */
  readonly onDisk?: ((event: DiskEvent) => void) | undefined;
  /** Told what was found in a disk to boot, before it runs, and again at each restart. */
  readonly onBoot?: ((boot: DiskBoot) => void) | undefined;
  /** What a restart asked for by the guest does. Default: 'restart'. */
  readonly onReboot?: 'restart' | 'stop' | undefined;
  /** Stops the partition (reason `instructionLimit`) once this many instructions have retired in total. */
  readonly instructionLimit?: bigint | undefined;
  /** Runs the partition twice, interpreted and translated, and compares them. Needs one processor; time is instructions. */
  readonly check?: CheckOptions | undefined;
  /** Called for each intercept, MSR access and hypercall, in order per processor. Slows the guest. */
  readonly trace?: ((event: TraceEvent) => void) | undefined;
  /** What `save` gave: the partition continues from there, with the options it was created with. */
  readonly restore?: FileSource | undefined;
  /**
   * The file of `restore` is known to be as it was written: its memory is not read and compared first, but when the guest
   * touches it.
   */
  readonly restoreUnread?: boolean | undefined;
}

/**
 * `full`: the host has no room for what the guest writes. The partition stands still (Hyper-V's Paused-Critical) and tries
 * again every few seconds, or at once when `resume` is called. `room`: there was, and the partition goes on. `lost`: closing
 * the file failed, so what the guest wrote without having it flushed may not be there. `ejected`: the guest has opened the drive.
 */
export interface DiskEvent {
  readonly kind: 'full' | 'room' | 'lost' | 'ejected';
  /** The disk's file. */
  readonly file: string;
  /** What the host says. */
  readonly message: string;
}

/** What a partition without a `kernel` of its own boots. */
export interface DiskBoot {
  /** The disk's file, or its number. */
  readonly disk: string;
  /** Where the root file system is: 1 is the first partition, 0 the whole disk. */
  readonly partition: number;
  /** Paths in the disk's file system. */
  readonly kernel: string;
  readonly initrd: string | undefined;
  readonly commandLine: string;
  /** The file system was not unmounted. What its journal holds was taken into account. */
  readonly unclean: boolean;
}

export interface TraceEvent {
  readonly processor: number;
  /** Instructions this processor has retired. */
  readonly instructions: bigint;
  /** `msr`, `hypercall`, `port`, `mmio`, `cpuid`, `interrupt`, `boot`... */
  readonly kind: string;
  /** One line for people, names as the specification spells them: `wrmsr HV_X64_MSR_GUEST_OS_ID 0x8100...`. */
  readonly text: string;
}

/** Why a partition stopped. */
export type StopReason =
  | { readonly kind: 'powerOff' }
  /** The guest asked for a restart, with `onReboot: 'stop'`. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'tripleFault'; readonly processor: number; readonly state?: InspectNode | undefined }
  /** The guest reported a crash through the crash MSRs (TLFS, "Partition crash enlightenment"). */
  | { readonly kind: 'crash'; readonly parameters: readonly bigint[]; readonly message: string }
  /** The test device ended the run. */
  | { readonly kind: 'exit'; readonly code: number }
  /** `turnOff` was called. */
  | { readonly kind: 'turnedOff' }
  | { readonly kind: 'instructionLimit' }
  /** With `check`: the engines differ after so many instructions. The report is lines for people. */
  | { readonly kind: 'divergence'; readonly instructions: bigint; readonly report: string }
  /** A defect of ours, or the host's: the message says which. */
  | { readonly kind: 'error'; readonly message: string; readonly cause?: unknown };

export interface PartitionStats {
  /** Retired by all processors, since the partition was created. */
  readonly instructions: bigint;
  /** Processor time spent running guest instructions, all processors together, in seconds; idle time not counted. */
  readonly busySeconds: number;
  /** Further counters, by name: exits, interrupts, translation and cache figures. */
  readonly counters: Readonly<Record<string, number | bigint>>;
}

/**
 * SHA-256 of a partition's state, in hexadecimal. With `clock: 'instructions'` equal inputs give equal digests at equal
 * instruction counts, saved and restored in between or not.
 */
export interface PartitionDigest {
  readonly instructions: bigint;
  /** Every register of every processor. */
  readonly registers: string;
  /** All of RAM. */
  readonly memory: string;
  /** Interrupt controllers, timers, Hyper-V's interface, devices. */
  readonly devices: string;
}

/** Live state as a tree. Numbers are shown as given; bigints in hexadecimal. */
export type InspectNode = { readonly [key: string]: string | number | bigint | boolean | InspectNode };

/** COM1, byte for byte. */
export interface PartitionConsole {
  /** Hands bytes to the guest, or text as UTF-8. Resolves when there is room for more: await it to respect the guest's speed. */
  write(data: Uint8Array | string): Promise<void>;
  /** The callback owns the bytes it is given. Set it before `start`, or lose what came before. */
  onData(callback: (bytes: Uint8Array) => void): void;
}

export interface ShutdownOptions {
  /** Restarts the guest instead of powering it off. */
  readonly restart?: boolean | undefined;
  /** Applications in the guest may not object. */
  readonly force?: boolean | undefined;
}

/**
 * Key-value pairs go both ways: `external` are the host's for the guest, `guest` the guest's for the host, `auto` what the
 * guest says of itself (its name, version, addresses).
 */
export type KeyValuePool = 'external' | 'guest' | 'auto';

export interface CopyFileOptions {
  readonly overwrite?: boolean | undefined;
  readonly createFolders?: boolean | undefined;
}

/**
 * The guest's integration components. Everything rejects with a ViridianError: `wrongState` when the guest has no such
 * component (its driver is not loaded, or a daemon of Debian's `hyperv-daemons` does not run), `timeout` when it does not
 * answer.
 */
export interface IntegrationServices {
  /** Whether the guest's kernel answers, asked every two seconds. */
  heartbeat(): 'OK' | 'No Contact' | 'Lost Communication';
  getValue(pool: KeyValuePool, key: string): Promise<string | undefined>;
  setValue(pool: KeyValuePool, key: string, value: string): Promise<void>;
  /** False when there was no such key. */
  deleteValue(pool: KeyValuePool, key: string): Promise<boolean>;
  values(pool: KeyValuePool): Promise<ReadonlyMap<string, string>>;
  /** The guest's own IP addresses, of version 4 and then 6, as its daemon for data exchange says. */
  addresses(): Promise<readonly string[]>;
  /** Writes a file into the guest. `path` is absolute. */
  copyFile(path: string, bytes: Uint8Array, options?: CopyFileOptions): Promise<void>;
  /** The guest's file systems stand still, until `thaw`, or until the guest has enough of it. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /** Has the guest set its clock. It happens by itself when the partition resumes or is restored. */
  synchronizeTime(): void;
}

/** The synthetic keyboard. */
export interface PartitionKeyboard {
  /** The guest's driver takes keys. */
  readonly ready: boolean;
  /** A key by its W3C code (`KeyA`, `ArrowUp`); false when there is no such key, or the guest takes none. */
  key(code: string, down: boolean): boolean;
  /** Types a text as on a US keyboard; what could not be typed. */
  type(text: string): string;
}

/** The synthetic mouse, whose positions are absolute. */
export interface PartitionMouse {
  readonly ready: boolean;
  /**
   * x and y from 0 (left, top) to 1; buttons: bit 0 left, 1 right, 2 middle; wheel: notches away from the user. False when
   * the guest takes no reports.
   */
  move(state: {
    readonly x: number;
    readonly y: number;
    readonly buttons?: number | undefined;
    readonly wheel?: number | undefined;
  }): boolean;
}

/** Memory that comes and goes while the guest runs, in bytes. */
export interface PartitionMemory {
  /** The guest's driver takes requests. */
  readonly ready: boolean;
  /**
   * The guest is to have this much, from `minimum` to `maximum`; it gives back what it can spare. Undefined: what it needs,
   * which is so from the start in a partition with dynamic memory.
   */
  setTarget(bytes: number | undefined): void;
  status(): PartitionMemoryStatus;
}

/** Bytes. */
export interface PartitionMemoryStatus {
  /** What the guest has. */
  readonly assigned: number;
  /** What it needs by its own account, which it gives once a second; 0 before. */
  readonly demand: number;
  /** What of `assigned` is free, by the same account. */
  readonly available: number;
  /** What it is to have. */
  readonly target: number;
  /** 0 without dynamic memory. */
  readonly minimum: number;
  /** What it had at the start, without dynamic memory. */
  readonly maximum: number;
  /** What the guest has given back, and this process to the host. 0 on hosts where that is not possible. */
  readonly returned: number;
}

/** A disk or a DVD drive of a partition. */
export interface StorageUnit extends StoragePlace {
  readonly kind: 'disk' | 'dvd';
  /** Undefined: a block device of the caller's, or an empty drive. */
  readonly file: string | undefined;
  readonly format: DiskFormat | undefined;
  /** Bytes; 0 for an empty drive. */
  readonly size: number;
  readonly writable: boolean;
}

/**
 * Disks and DVD drives, in any state of the partition before it has stopped. The guest is told of each change and finds it
 * in its own time. Everything rejects with a ViridianError: `invalid` for a place that cannot be, `wrongState` for one that
 * is taken, without VMBus, and after the partition has stopped, `notFound` where nothing of the kind is; and with what is
 * wrong with a file.
 */
export interface PartitionStorage {
  /** By controller and LUN. */
  list(): readonly StorageUnit[];
  /** A file's own place comes before `place`. Resolves with where it is. */
  attachDisk(disk: BlockDevice | DiskFile, place?: WantedPlace): Promise<StoragePlace>;
  /** Takes a disk away. What the guest had not written yet is lost to it; the file is flushed and closed. */
  detachDisk(place: StoragePlace): Promise<void>;
  /** Lets the file of a disk grow to so many bytes, which the guest sees at once. A disk in use does not shrink. */
  resizeDisk(place: StoragePlace, bytes: number): Promise<void>;
  attachDvdDrive(drive?: DvdDrive): Promise<StoragePlace>;
  detachDvdDrive(place: StoragePlace): Promise<void>;
  /** Puts an image into a drive, in the place of the one that is there. */
  insertDvd(place: StoragePlace, file: string): Promise<void>;
  /** Empties a drive, whether or not the guest has locked it. */
  ejectDvd(place: StoragePlace): Promise<void>;
  /**
   * Of a paused partition: the files of disks that can be written are flushed and closed, for others to work on. The partition
   * must not run until `reopenFiles`.
   */
  releaseFiles(): Promise<void>;
  /** Goes on with the same content in these files, by their places: a differencing disk over the one of before, say. */
  reopenFiles(disks: readonly (DiskFile & StoragePlace)[]): Promise<void>;
}

/** A rectangle of the screen, in pixels from the left and the top. */
export interface ScreenChanges {
  /** What to ask with next time. */
  readonly change: number;
  readonly x: number;
  readonly y: number;
  /** Of the whole screen. */
  readonly screenWidth: number;
  readonly screenHeight: number;
  /** A PNG file's bytes. */
  readonly png: Uint8Array;
}

/** Created stopped: call `start`. `await using` turns it off and frees its threads and memory. */
export interface Partition extends AsyncDisposable {
  readonly console: PartitionConsole;
  start(): void;
  /** Resolves once, when the partition has stopped for good; never rejects. All console output has been delivered then. */
  readonly stopped: Promise<StopReason>;
  /** Pulls the plug; `stopped` resolves with `turnedOff`. Nothing happens when it has stopped. */
  turnOff(): void;
  /**
   * Asks the guest to power off, or to restart, through its integration component. Resolves when it has agreed; `stopped`
   * tells when it is done. Rejects with a ViridianError: `wrongState` without that component, `timeout`, `denied`.
   */
  shutdown(options?: ShutdownOptions): Promise<void>;
  readonly integration: IntegrationServices;
  readonly storage: PartitionStorage;
  /** Undefined without VMBus. */
  readonly keyboard: PartitionKeyboard | undefined;
  readonly mouse: PartitionMouse | undefined;
  readonly memory: PartitionMemory | undefined;
  /** Plugs in a network adapter, also while the guest runs; its name. Rejects with a ViridianError. */
  attachNic(nic: NicOptions): Promise<string>;
  /** @throws ViridianError `notFound` */
  detachNic(name: string): void;
  /** Pulls an adapter's cable, or puts it back. @throws ViridianError `notFound` */
  setLink(name: string, up: boolean): void;
  /**
   * Connects to a port that a program in the guest listens at (AF_VSOCK, hv_sock). Rejects with a ViridianError: `timeout`
   * where nobody does. Connections do not outlive a save.
   */
  connect(port: number, options?: ConnectOptions): Promise<GuestStream>;
  /** Takes the guest's connections to a port of the host (CID 2). @throws ViridianError `wrongState` when it is taken. */
  listen(port: number, accept: (stream: GuestStream) => void): GuestListener;
  /** Runs a program in a guest that has our agent (images made with `hv image` do); needs no network. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** What is on the synthetic screen, as a PNG file's bytes; undefined when the guest shows nothing there. */
  screenshot(): Promise<Uint8Array | undefined>;
  /**
   * What has changed on the screen after a change that the caller has seen; 0: it has seen nothing. Undefined when the guest
   * shows nothing, null when nothing has changed. For those who look again and again.
   */
  screenChanges(after: number): Promise<ScreenChanges | null | undefined>;
  /** Resolves when every processor stands still between two instructions. */
  pause(): Promise<void>;
  resume(): void;
  /** The reset button: the machine starts anew, whatever the guest makes of it. */
  reset(): Promise<void>;
  /** A non-maskable interrupt at the first processor, as a debugger or an operator sends it. */
  injectNmi(): void;
  /** The whole state, versioned, as bytes. Of a paused partition, or of one stopped by `instructionLimit`. */
  save(): Promise<Uint8Array>;
  /** The same into a file, memory being copied while the guest runs. One at a time. */
  saveTo(file: string, options?: StateSavingOptions): StateSaving;
  /** Digests of the whole state, to compare runs by. Of a partition that could be saved. */
  digest(): Promise<PartitionDigest>;
  /** Registers, page walk of the instruction pointer, interrupt controllers, devices, VMBus. In any state. */
  inspect(): Promise<InspectNode>;
  stats(): PartitionStats;
}

export interface StateSavingOptions {
  /** 0 to 1. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

/**
 * A saved state in the making. `ready`, pause, `take`, resume, `finish`: the guest stands still for `take` alone. Where one of them
 * rejects, with a ViridianError, nothing of the file is left.
 */
export interface StateSaving {
  /** Resolves when so much of memory is in the file that a pause is short. */
  readonly ready: Promise<void>;
  /** Puts aside what is not in the file, of a partition that stands still: it may run on, and the state is that of now. */
  take(): Promise<void>;
  /** Resolves when the file is whole, on the storage medium, and has its name. */
  finish(): Promise<StateSavingResult>;
  cancel(): Promise<void>;
}

export interface StateSavingResult {
  /** Bytes in the file that are not a hole. */
  readonly bytes: number;
  /** How often memory was gone through while the guest ran. */
  readonly rounds: number;
  /** Bytes written, those that were overwritten again included. */
  readonly written: number;
  /** Bytes of memory that were copied while the guest stood still. */
  readonly putAside: number;
}

export type CreatePartition = (options: PartitionOptions) => Promise<Partition>;
