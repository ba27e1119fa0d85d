/**
 * The parent's end of a partition's VMBus: the bus over this partition's memory and SynIC, and the devices on it. On the
 * parent's thread; virtual processors reach it through the mailbox only.
 */
import type { DiskEvent } from '../contracts/partition.ts';
import type { HostServices } from '../host/services.ts';
import { IntegrationComponents } from '../ic/components.ts';
import { asRecord } from '../support/plain.ts';
import type { InspectNode } from '../vid/ports.ts';
import { VmBus } from '../vmbus/bus.ts';
import type { VmbusMailbox } from '../vmbus/mailbox.ts';
import type { VmbusPorts } from '../vmbus/ports.ts';
import type { DynamicMemory } from '../vsp/dynamic-memory/device.ts';
import { HvSocket } from '../vsp/hvsocket/device.ts';
import { Keyboard } from '../vsp/keyboard/device.ts';
import { Mouse } from '../vsp/mouse/device.ts';
import { SyntheticVideo } from '../vsp/video/device.ts';
import type { PartitionDisks } from './disks.ts';
import type { Machine } from './machine.ts';
import type { PartitionNics } from './nics.ts';
import { dynamicMemory } from './partition-memory.ts';
import { PartitionTimers } from './partition-timers.ts';
import { ScsiControllers } from './scsi-controllers.ts';

/** Milliseconds that the parent looks for what its guest has to say before it sleeps, where all threads can run at the same time. */
const PATIENCE = 0.5;

export interface SyntheticDevicesPorts {
  readonly host: HostServices;
  readonly disks: PartitionDisks;
  readonly nics?: PartitionNics | undefined;
  /** Runs something with the platform lock held. The parent must not simply wait for it. */
  withLock<T>(body: () => T): T;
  defect(error: unknown): void;
  tellDisk(event: DiskEvent): void;
  trace?: ((text: string) => void) | undefined;
}

export class SyntheticDevices {
  readonly bus: VmBus;
  readonly integration: IntegrationComponents;
  readonly keyboard = new Keyboard();
  readonly mouse = new Mouse();
  readonly video: SyntheticVideo;
  readonly memory: DynamicMemory;
  readonly scsi: ScsiControllers;
  readonly sockets: HvSocket;
  readonly #mailbox: VmbusMailbox;
  readonly #timers: PartitionTimers;
  readonly #ports: SyntheticDevicesPorts;
  readonly #processors: number;
  #stopListening: (() => void) | undefined;

  constructor(machine: Machine, mailbox: VmbusMailbox, ports: SyntheticDevicesPorts) {
    this.#mailbox = mailbox;
    this.#ports = ports;
    this.#timers = new PartitionTimers(() => Number(ports.host.monotonicNow()) / 1e6);
    const { hyperv, memory, config } = machine;
    this.#processors = config.processors;
    const below: VmbusPorts = {
      memory,
      timers: this.#timers,
      processors: config.processors,
      ramSize: config.dynamicMemory?.maximum ?? config.memory,
      postMessage: (vp, sint, type, payload) => ports.withLock(() => hyperv.postMessage(vp, sint, type, 0n, payload)),
      setEventFlag: (vp, sint, flag) => {
        ports.withLock(() => hyperv.setEventFlag(vp, sint, flag));
      },
      defer: (callback) => {
        ports.host.defer(callback);
      },
      defect: ports.defect,
      trace: ports.trace,
    };
    this.bus = new VmBus(below, mailbox);
    this.integration = new IntegrationComponents(this.#timers, {
      calendar: () => machine.clock.calendar(),
      referenceTime: () => hyperv.time.now(),
    });
    this.video = new SyntheticVideo({ bytes: machine.vram, place: (gpa) => machine.placeVram(gpa) });
    this.memory = dynamicMemory(machine, ports.host);
    const { keyboard, mouse, video } = this;
    this.scsi = new ScsiControllers(this.bus, ports.disks, {
      memory,
      processors: config.processors,
      tell: ports.tellDisk,
    });
    this.sockets = new HvSocket(this.bus, this.#timers);
    this.bus.onConnectRequest = (endpoint, service) => {
      this.sockets.requested(endpoint, service);
    };
    ports.nics?.offerTo(this.bus, memory, config.processors);
    for (const device of [...this.integration.devices(), keyboard, mouse, video, this.memory]) this.bus.offer(device);
  }

  /** The partition runs from here on. */
  start(): void {
    this.#timers.start();
    this.bus.resume();
    // Time went on while the partition did not.
    this.integration.timesync.synchronize();
    const { parallelism, currentCore } = this.#ports.host;
    const spare = this.#processors < parallelism;
    this.#stopListening ??= this.#mailbox.listen(
      () => {
        this.bus.service();
      },
      (callback) => {
        this.#ports.host.defer(callback);
      },
      spare ? PATIENCE : 0,
      spare ? currentCore : undefined,
    );
  }

  /** The partition stands still: nothing new begins until `start`. */
  pause(): void {
    this.#timers.stop();
    this.bus.pause();
  }

  /** Resolves when what disks are busy with is finished, and its answers are in the guest's ring. */
  async quiesce(): Promise<void> {
    await this.scsi.quiesce();
    this.bus.settle();
  }

  /** The partition was reset, and no processor runs. */
  reset(): void {
    this.sockets.reset();
    this.bus.reset();
  }

  /** As plain data, while paused. */
  save(): unknown {
    return this.bus.save();
  }

  /** Before anything runs. @throws RangeError when the data make no sense. */
  restore(saved: unknown): void {
    const { devices } = asRecord(saved, 'the VMBus');
    this.scsi.expect(Object.keys(asRecord(devices, 'the VMBus devices')));
    this.bus.restore(saved);
    this.#ports.nics?.renew();
  }

  /** For good. */
  stop(): void {
    this.pause();
    this.sockets.reset();
    this.#timers.clear();
    this.#stopListening?.();
    this.#stopListening = undefined;
  }

  inspect(): InspectNode {
    return this.bus.inspect();
  }
}
