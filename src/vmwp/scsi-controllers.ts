/**
 * A partition's synthetic SCSI controllers. One is offered to the guest when it gets its first unit, and stays: a guest without
 * disks has none to look at.
 */
import type { DiskEvent } from '../contracts/partition.ts';
import { LIMITS } from '../contracts/partition-options.ts';
import type { VmBus } from '../vmbus/bus.ts';
import type { BufferMemory } from '../vsp/storvsp/buffer.ts';
import { Storvsp } from '../vsp/storvsp/device.ts';
import { ScsiDisk } from '../vsp/storvsp/disk.ts';
import { ScsiDvd } from '../vsp/storvsp/dvd.ts';
import type { LogicalUnit } from '../vsp/storvsp/unit.ts';
import type { PartitionDisks, Unit } from './disks.ts';
import { FileDisk } from './file-disk.ts';

/** As generation 2 machines have them. */
const INSTANCES = [
  'f8b3781a-1e82-4818-a1c3-63d806ec15bb',
  'f8b3781b-1e82-4818-a1c3-63d806ec15bb',
  'f8b3781c-1e82-4818-a1c3-63d806ec15bb',
  'f8b3781d-1e82-4818-a1c3-63d806ec15bb',
] as const;
/** Under which the first is saved, since before there were others. */
const NAMES = Array.from({ length: LIMITS.controllers }, (_, i) => (i === 0 ? 'scsi' : `scsi${i}`));

export interface ScsiControllersPorts {
  readonly memory: BufferMemory;
  readonly processors: number;
  tell(event: DiskEvent): void;
}

export class ScsiControllers {
  readonly #bus: VmBus;
  readonly #ports: ScsiControllersPorts;
  readonly #disks: PartitionDisks;
  readonly #controllers = new Map<number, Storvsp>();

  constructor(bus: VmBus, disks: PartitionDisks, ports: ScsiControllersPorts) {
    this.#bus = bus;
    this.#disks = disks;
    this.#ports = ports;
    for (const unit of disks.units) this.attach(unit);
  }

  attach(unit: Unit): void {
    const { controller, lun } = unit.place;
    const known = this.#controllers.get(controller);
    const storvsp = known ?? this.#make(controller);
    storvsp.attach(lun, this.#logicalUnit(unit));
    if (!known) this.#bus.offer(storvsp);
  }

  #make(controller: number): Storvsp {
    const { memory, processors } = this.#ports;
    const storvsp = new Storvsp(NAMES[controller]!, INSTANCES[controller]!, { memory, subChannels: processors - 1 });
    this.#controllers.set(controller, storvsp);
    return storvsp;
  }

  #logicalUnit(unit: Unit): LogicalUnit {
    if (unit.kind === 'disk') return new ScsiDisk(unit.device!);
    return new ScsiDvd(unit.device, () => {
      const { device } = unit;
      unit.device = undefined;
      void this.#disks.release(device);
      if (device instanceof FileDisk)
        this.#ports.tell({ kind: 'ejected', file: device.file, message: `${device.file}: the guest has ejected it` });
    });
  }

  detach({ place: { controller, lun } }: Unit): void {
    this.#controllers.get(controller)?.detach(lun);
  }

  /** The size of a disk has changed. */
  resized({ place: { controller, lun } }: Unit): void {
    const storvsp = this.#controllers.get(controller);
    const unit = storvsp?.unit(lun);
    if (!(unit instanceof ScsiDisk)) return;
    unit.resized();
    storvsp?.rescan();
  }

  /** What is in a drive has changed. */
  mediumChanged({ place: { controller, lun }, device }: Unit): void {
    const unit = this.#controllers.get(controller)?.unit(lun);
    if (unit instanceof ScsiDvd) unit.change(device);
  }

  /** Resolves when no request is being carried out. */
  async quiesce(): Promise<void> {
    await Promise.all([...this.#controllers.values()].map((each) => each.quiesce()));
  }

  /** Offers the controllers that a saved bus has, though they may be empty. */
  expect(names: readonly string[]): void {
    for (const [controller, name] of NAMES.entries())
      if (names.includes(name) && !this.#controllers.has(controller)) this.#bus.offer(this.#make(controller));
  }
}
