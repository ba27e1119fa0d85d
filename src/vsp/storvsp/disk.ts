/**
 * A disk behind the synthetic controller: SCSI commands (SPC-4, SBC-3) as operations on a block device. Vendor and product
 * are those by which guests of Hyper-V know what such a disk can do.
 */
import type { BlockDevice } from '../../contracts/block-device.ts';
import type { InspectNode } from '../../vid/ports.ts';
import { READ_CAPACITY_16_ACTION, Scsi, Sense } from './protocol.ts';
import {
  ascii,
  type Command,
  DONE,
  type Handler as HandlerOf,
  type Handlers,
  identity,
  LogicalUnit,
  modeData,
  readSectors,
  requestSense,
  ScsiError,
  type ScsiResult,
  VENDOR,
  vitalPage,
  words,
} from './unit.ts';

const DISK = 0;
const PRODUCT = 'Virtual Disk    ';
const LONGEST_UNMAP = 2 ** 22;
const UNMAP_DESCRIPTORS = 256;
/** An UNMAP parameter list (SBC-3, section 5.28). */
const LONGEST_UNMAP_LIST = 8 + 16 * (UNMAP_DESCRIPTORS + 1);
/** Bytes that a pattern which is not zero is written in at a time. */
const PATTERN_PIECE = 2 ** 16;

type Handler = HandlerOf<ScsiDisk>;

export class ScsiDisk extends LogicalUnit {
  readonly device: BlockDevice;

  constructor(device: BlockDevice) {
    super();
    this.device = device;
  }

  protected run(operation: number, command: Command): Promise<ScsiResult> | ScsiResult | undefined {
    return HANDLERS.get(operation)?.(this, command);
  }

  get sectors(): number {
    return this.device.size / this.device.logicalSectorSize;
  }

  /** The guest asks for the capacity again. */
  resized(): void {
    this.attend(Sense.CAPACITY_CHANGED);
  }

  /** Bytes of a range of sectors. @throws ScsiError when it is not on the disk. */
  range(sector: number, count: number): { readonly offset: number; readonly length: number } {
    if (sector + count > this.sectors) throw new ScsiError(Sense.OUT_OF_RANGE);
    const { logicalSectorSize } = this.device;
    return { offset: sector * logicalSectorSize, length: count * logicalSectorSize };
  }

  demandWritable(): void {
    if (!this.device.writable) throw new ScsiError(Sense.WRITE_PROTECTED);
  }

  inspect(): InspectNode {
    return { kind: 'disk', size: this.device.size };
  }
}

/** A 64-bit sector number; beyond any disk when it is beyond 2^53. */
function sector64(cdb: DataView, at: number): number {
  return Number(cdb.getBigUint64(at));
}

const ADDRESS: Readonly<Record<number, (cdb: DataView) => { readonly sector: number; readonly count: number }>> = {
  6: (cdb) => ({ sector: cdb.getUint32(0) & 0x1f_ffff, count: cdb.getUint8(4) || 256 }),
  10: (cdb) => ({ sector: cdb.getUint32(2), count: cdb.getUint16(7) }),
  12: (cdb) => ({ sector: cdb.getUint32(2), count: cdb.getUint32(6) }),
  16: (cdb) => ({ sector: sector64(cdb, 2), count: cdb.getUint32(10) }),
};

function read(form: number): Handler {
  return (disk, { cdb, buffer }) => {
    const { sector, count } = ADDRESS[form]!(cdb);
    const { offset, length } = disk.range(sector, count);
    return readSectors(disk.device, offset, length, buffer);
  };
}

function write(form: number): Handler {
  return (disk, { cdb, buffer }) => {
    disk.demandWritable();
    const { device } = disk;
    const { sector, count } = ADDRESS[form]!(cdb);
    const { offset, length } = disk.range(sector, count);
    if (buffer.length < length) return { sense: Sense.INVALID_FIELD };
    const result: ScsiResult = { taken: length };
    const forced = form !== 6 && (cdb.getUint8(1) & 8) !== 0;
    const written =
      length === 0 || (device.writeNow && buffer.drainNow(length, (from) => device.writeNow!(offset, from)))
        ? undefined
        : device.write(offset, buffer.take(length));
    if (forced) return (written ?? Promise.resolve()).then(() => device.flush()).then(() => result);
    return written ? written.then(() => result) : result;
  };
}

function verify(form: number): Handler {
  return (disk, { cdb }) => {
    const { sector, count } = ADDRESS[form]!(cdb);
    disk.range(sector, count);
    return DONE;
  };
}

/** One sector, again and again; with UNMAP set, or of zeroes, as zeroes. */
function writeSame(form: number): Handler {
  return async (disk, { cdb, buffer }) => {
    disk.demandWritable();
    const { sector, count } = ADDRESS[form]!(cdb);
    const { offset, length } = disk.range(sector, count || disk.sectors - sector);
    const [unmapped, noData] = [(cdb.getUint8(1) & 8) !== 0, (cdb.getUint8(1) & 1) !== 0];
    const size = disk.device.logicalSectorSize;
    const pattern = noData ? new Uint8Array(size) : buffer.take(size);
    if (pattern.length < size) return { sense: Sense.INVALID_FIELD };
    const taken = noData ? 0 : size;
    if (!pattern.every((byte) => byte === 0)) {
      const piece = new Uint8Array(Math.min(length, PATTERN_PIECE - (PATTERN_PIECE % size)));
      for (let at = 0; at < piece.length; at += size) piece.set(pattern, at);
      for (let at = 0; at < length; at += piece.length)
        await disk.device.write(offset + at, piece.subarray(0, Math.min(piece.length, length - at)));
    } else if (length > 0) {
      if (unmapped) await disk.device.discard(offset, length);
      else await disk.device.writeZeroes(offset, length);
    }
    return { taken };
  };
}

const synchronize: Handler = async (disk) => {
  await disk.device.flush();
  return DONE;
};

const unmap: Handler = async (disk, { buffer }) => {
  disk.demandWritable();
  const data = buffer.take(LONGEST_UNMAP_LIST);
  if (data.length < 8) return DONE;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const end = Math.min(data.length, 8 + view.getUint16(2));
  const ranges: { readonly offset: number; readonly length: number }[] = [];
  for (let at = 8; at + 16 <= end; at += 16) ranges.push(disk.range(sector64(view, at), view.getUint32(at + 8)));
  if (ranges.length > UNMAP_DESCRIPTORS) return { sense: Sense.INVALID_FIELD };
  for (const { offset, length } of ranges) if (length > 0) await disk.device.discard(offset, length);
  return { taken: data.length };
};

const inquiry: Handler = (disk, { cdb }) => {
  if ((cdb.getUint8(1) & 1) === 0) {
    if (cdb.getUint8(2) !== 0) return { sense: Sense.INVALID_FIELD };
    return { data: identity([DISK, 0], PRODUCT) };
  }
  const page = VITAL.get(cdb.getUint8(2));
  return page ? { data: vitalPage(DISK, cdb.getUint8(2), page(disk)) } : { sense: Sense.INVALID_FIELD };
};

/** Vital product data by page. */
const VITAL: ReadonlyMap<number, (disk: ScsiDisk) => readonly number[]> = new Map([
  [0x00, () => [...VITAL.keys()]],
  [0x80, (disk: ScsiDisk) => [...ascii(hex(disk))]],
  // A T10 vendor designator, and one in the NAA's format, locally assigned.
  [
    0x83,
    (disk: ScsiDisk) => {
      const id = disk.device.identifier;
      const text = ascii(VENDOR + hex(disk));
      const t10 = [2, 1, 0, text.length, ...text];
      return id ? [...t10, 1, 3, 0, 8, 0x30 | ((id[0] as number) & 15), ...id.subarray(1, 8)] : t10;
    },
  ],
  [
    0xb0,
    (disk: ScsiDisk) => [
      0x01,
      0,
      ...words([2, disk.device.physicalSectorSize / disk.device.logicalSectorSize], [4, 0], [4, 0], [4, 0]),
      ...words([4, LONGEST_UNMAP], [4, UNMAP_DESCRIPTORS], [4, 1], [4, 0], [8, LONGEST_UNMAP]),
      ...new Array<number>(20).fill(0),
    ],
  ],
  // No rotation.
  [0xb1, () => [0, 1, ...new Array<number>(58).fill(0)]],
  // UNMAP and WRITE SAME with it, what was unmapped reads as zeroes, thin provisioning.
  [0xb2, () => [0, 0xe4, 2, 0]],
]);

const readCapacity10: Handler = (disk) => ({
  data: Uint8Array.from(words([4, Math.min(disk.sectors - 1, 0xffff_ffff)], [4, disk.device.logicalSectorSize])),
});

const serviceAction: Handler = (disk, { cdb }) => {
  if ((cdb.getUint8(1) & 0x1f) !== READ_CAPACITY_16_ACTION) return { sense: Sense.INVALID_FIELD };
  const { logicalSectorSize, physicalSectorSize } = disk.device;
  const exponent = Math.log2(physicalSectorSize / logicalSectorSize);
  return {
    data: Uint8Array.from([
      ...words([8, disk.sectors - 1], [4, logicalSectorSize], [1, 0], [1, exponent], [2, 0xc000]),
      ...new Array<number>(16).fill(0),
    ]),
  };
};

/** The caching page says that there is a write cache, so that guests flush it. */
function modePages(page: number): readonly number[] | undefined {
  if (page !== 0x08 && page !== 0x3f) return undefined;
  return [0x08, 18, 0x04, ...new Array<number>(17).fill(0)];
}

function modeSense(form: 6 | 10): Handler {
  return (disk, { cdb }) => {
    const pages = modePages(cdb.getUint8(2) & 0x3f);
    if (!pages) return { sense: Sense.INVALID_FIELD };
    // Write protection, and DPO and FUA.
    const parameter = (disk.device.writable ? 0 : 0x80) | 0x10;
    return modeData(form, parameter, pages);
  };
}

function hex(disk: ScsiDisk): string {
  const bytes = disk.device.identifier ?? new Uint8Array(16);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const nothing: Handler = () => DONE;

const HANDLERS: Handlers<ScsiDisk> = new Map<number, Handler>([
  [Scsi.TEST_UNIT_READY, nothing],
  [Scsi.START_STOP_UNIT, synchronize],
  [Scsi.PREVENT_ALLOW, nothing],
  [Scsi.REQUEST_SENSE, requestSense],
  [Scsi.INQUIRY, inquiry],
  [Scsi.MODE_SENSE_6, modeSense(6)],
  [Scsi.MODE_SENSE_10, modeSense(10)],
  [Scsi.READ_CAPACITY_10, readCapacity10],
  [Scsi.SERVICE_ACTION_IN_16, serviceAction],
  [Scsi.READ_6, read(6)],
  [Scsi.READ_10, read(10)],
  [Scsi.READ_12, read(12)],
  [Scsi.READ_16, read(16)],
  [Scsi.WRITE_6, write(6)],
  [Scsi.WRITE_10, write(10)],
  [Scsi.WRITE_12, write(12)],
  [Scsi.WRITE_16, write(16)],
  [Scsi.VERIFY_10, verify(10)],
  [Scsi.VERIFY_16, verify(16)],
  [Scsi.WRITE_SAME_10, writeSame(10)],
  [Scsi.WRITE_SAME_16, writeSame(16)],
  [Scsi.SYNCHRONIZE_CACHE_10, synchronize],
  [Scsi.SYNCHRONIZE_CACHE_16, synchronize],
  [Scsi.UNMAP, unmap],
]);
