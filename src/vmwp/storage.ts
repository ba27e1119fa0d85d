/** The library's face of disks and DVDs while a partition is there. Changes happen one after the other. */
import type { StoragePlace } from '../contracts/block-device.ts';
import { ViridianError } from '../contracts/errors.ts';
import type { PartitionStorage, StorageUnit } from '../contracts/partition.ts';
import { checkDiskFile, checkDvdDrive, checkPlace, isDiskFile } from '../contracts/partition-options.ts';
import type { PartitionDisks, Unit } from './disks.ts';
import { FileDisk } from './file-disk.ts';
import type { ScsiControllers } from './scsi-controllers.ts';

/** @param controllers undefined without VMBus. */
export function partitionStorage(
  disks: PartitionDisks,
  controllers: ScsiControllers | undefined,
  stopped: () => boolean,
): PartitionStorage {
  let last: Promise<unknown> = Promise.resolve();
  const change = <T>(body: (controllers: ScsiControllers) => Promise<T> | T): Promise<T> => {
    const turn = last.then(() => {
      if (!controllers) throw new ViridianError('wrongState', 'the partition has no VMBus, so no disks');
      if (stopped()) throw new ViridianError('wrongState', 'the partition has stopped');
      return body(controllers);
    });
    last = turn.catch(() => undefined);
    return turn;
  };
  const detach = (place: StoragePlace, kind: Unit['kind']): Promise<void> =>
    change(async (scsi) => {
      const unit = disks.unit(place, kind);
      disks.remove(unit);
      scsi.detach(unit);
      await disks.release(unit.device);
    });
  const setMedium = async (scsi: ScsiControllers, unit: Unit, device: FileDisk | undefined): Promise<void> => {
    const old = unit.device;
    unit.device = device;
    scsi.mediumChanged(unit);
    await disks.release(old);
  };
  return {
    list: () => disks.units.map(storageUnit),
    attachDisk: (disk, place = {}) =>
      change(async (scsi) => {
        checkPlace(place);
        if (isDiskFile(disk)) checkDiskFile(disk);
        const unit = await disks.addDisk(disk, place);
        scsi.attach(unit);
        return unit.place;
      }),
    detachDisk: (place) => detach(place, 'disk'),
    resizeDisk: (place, bytes) =>
      change(async (scsi) => {
        const unit = disks.unit(place, 'disk');
        const device = unit.device!;
        const name = `controller ${place.controller}, LUN ${place.lun}`;
        if (device instanceof FileDisk) {
          if (!(bytes >= device.size))
            throw new ViridianError(
              'invalid',
              `${device.file}: a disk in use can only grow: give ${device.size} or more`,
            );
          if (!device.writable) throw new ViridianError('denied', `${device.file}: it is read-only`);
          await device.resize(bytes);
        } else if (device.size !== bytes)
          // Its giver has it grow, and says so here.
          throw new ViridianError('invalid', `the block device at ${name} has ${device.size} bytes, not ${bytes}`);
        scsi.resized(unit);
      }),
    attachDvdDrive: (drive = {}) =>
      change(async (scsi) => {
        checkDvdDrive(drive);
        const unit = await disks.addDvd(drive);
        scsi.attach(unit);
        return unit.place;
      }),
    detachDvdDrive: (place) => detach(place, 'dvd'),
    insertDvd: (place, file) =>
      change(async (scsi) => {
        checkDvdDrive({ ...place, file });
        const unit = disks.unit(place, 'dvd');
        await setMedium(scsi, unit, await disks.openDvd(file));
      }),
    ejectDvd: (place) => change((scsi) => setMedium(scsi, disks.unit(place, 'dvd'), undefined)),
  };
}

function storageUnit({ place, kind, device }: Unit): StorageUnit {
  const { file, format } = device instanceof FileDisk ? device : { file: undefined, format: undefined };
  return { ...place, kind, file, format, size: device?.size ?? 0, writable: device?.writable ?? false };
}
