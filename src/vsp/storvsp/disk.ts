/**
 * A disk behind the synthetic controller: SCSI commands (SPC-4, SBC-3) as operations on a block device. Vendor and product
 * are those by which guests of Hyper-V know what such a disk can do.
 */
import type { BlockDevice } from '../../contracts/block-device.ts';
import { READ_CAPACITY_16_ACTION, Scsi, Sense, type SenseCode } from './protocol.ts';

/** What a command comes to: data for the guest, nothing, or a sense code. */
export type ScsiResult = { readonly data?: Uint8Array } | { readonly sense: SenseCode };

const DONE: ScsiResult = {};
const VENDOR = 'Msft    ';
const PRODUCT = 'Virtual Disk    ';
const REVISION = '1.0 ';
const LONGEST_UNMAP = 2 ** 22;
const UNMAP_DESCRIPTORS = 256;

class ScsiError extends Error {
  readonly sense: SenseCode;
  constructor(sense: SenseCode) {
    super('SCSI');
    this.sense = sense;
  }
}

interface Command {
  readonly cdb: DataView;
  /** Data from the guest. */
  readonly data: Uint8Array;
  /** Bytes that the guest has room for. */
  readonly room: number;
}

type Handler = (disk: ScsiDisk, command: Command) => Promise<ScsiResult> | ScsiResult;

export class ScsiDisk {
  readonly device: BlockDevice;

  constructor(device: BlockDevice) {
    this.device = device;
  }

  /** Whether the command takes data from the guest. */
  static takesData(operation: number): boolean {
    return TAKING.has(operation);
  }

  async execute(command: Command): Promise<ScsiResult> {
    const handler = HANDLERS.get(command.cdb.getUint8(0));
    if (!handler) return { sense: Sense.INVALID_COMMAND };
    try {
      return await handler(this, command);
    } catch (error) {
      if (error instanceof ScsiError) return { sense: error.sense };
      // Whatever it was, the guest learns that its data are not there. The disk keeps what it was.
      return { sense: TAKING.has(command.cdb.getUint8(0)) ? Sense.NOT_WRITABLE : Sense.NOT_READABLE };
    }
  }

  get sectors(): number {
    return this.device.size / this.device.logicalSectorSize;
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
  return async (disk, { cdb, room }) => {
    const { sector, count } = ADDRESS[form]!(cdb);
    const { offset, length } = disk.range(sector, count);
    // The guest's number sizes nothing: what it has no room for is not read.
    const data = new Uint8Array(Math.min(length, room) - (Math.min(length, room) % disk.device.logicalSectorSize));
    if (data.length > 0) await disk.device.read(offset, data);
    return { data };
  };
}

function write(form: number): Handler {
  return async (disk, { cdb, data }) => {
    disk.demandWritable();
    const { sector, count } = ADDRESS[form]!(cdb);
    const { offset, length } = disk.range(sector, count);
    if (data.length < length) return { sense: Sense.INVALID_FIELD };
    const forced = form !== 6 && (cdb.getUint8(1) & 8) !== 0;
    if (length > 0) await disk.device.write(offset, data.subarray(0, length));
    if (forced) await disk.device.flush();
    return DONE;
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
  return async (disk, { cdb, data }) => {
    disk.demandWritable();
    const { sector, count } = ADDRESS[form]!(cdb);
    const { offset, length } = disk.range(sector, count || disk.sectors - sector);
    const flags = cdb.getUint8(1);
    const pattern = data.subarray(0, disk.device.logicalSectorSize);
    const zero = pattern.every((byte) => byte === 0);
    if ((flags & 1) === 0 && pattern.length < disk.device.logicalSectorSize) return { sense: Sense.INVALID_FIELD };
    if ((flags & 8) !== 0 && zero) await disk.device.discard(offset, length);
    else if (zero) await disk.device.writeZeroes(offset, length);
    else for (let at = 0; at < length; at += pattern.length) await disk.device.write(offset + at, pattern);
    return DONE;
  };
}

const synchronize: Handler = async (disk) => {
  await disk.device.flush();
  return DONE;
};

const unmap: Handler = async (disk, { data }) => {
  disk.demandWritable();
  if (data.length < 8) return DONE;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const end = Math.min(data.length, 8 + view.getUint16(2));
  const ranges: { readonly offset: number; readonly length: number }[] = [];
  for (let at = 8; at + 16 <= end; at += 16) ranges.push(disk.range(sector64(view, at), view.getUint32(at + 8)));
  if (ranges.length > UNMAP_DESCRIPTORS) return { sense: Sense.INVALID_FIELD };
  for (const { offset, length } of ranges) if (length > 0) await disk.device.discard(offset, length);
  return DONE;
};

const inquiry: Handler = (disk, { cdb }) => {
  if ((cdb.getUint8(1) & 1) === 0) {
    if (cdb.getUint8(2) !== 0) return { sense: Sense.INVALID_FIELD };
    const bytes = new Uint8Array(36);
    // SPC-3, response format 2, command queueing.
    bytes.set([0, 0, 5, 2, bytes.length - 5, 0, 0, 2]);
    bytes.set(ascii(VENDOR + PRODUCT + REVISION), 8);
    return { data: bytes };
  }
  const page = VITAL.get(cdb.getUint8(2));
  if (!page) return { sense: Sense.INVALID_FIELD };
  const content = page(disk);
  return { data: Uint8Array.from([0, cdb.getUint8(2), content.length >> 8, content.length & 0xff, ...content]) };
};

function words(...fields: readonly (readonly [size: number, value: number])[]): number[] {
  return fields.flatMap(([size, value]) =>
    Array.from({ length: size }, (_, i) => Math.floor(value / 2 ** (8 * (size - 1 - i))) % 256),
  );
}

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
    const header =
      form === 6 ? [3 + pages.length, 0, parameter, 0] : [...words([2, 6 + pages.length]), 0, parameter, 0, 0, 0, 0];
    return { data: Uint8Array.from([...header, ...pages]) };
  };
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
function hex(disk: ScsiDisk): string {
  const bytes = disk.device.identifier ?? new Uint8Array(16);
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const nothing: Handler = () => DONE;

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [Scsi.TEST_UNIT_READY, nothing],
  [Scsi.START_STOP_UNIT, synchronize],
  [Scsi.PREVENT_ALLOW, nothing],
  [
    Scsi.REQUEST_SENSE,
    () => ({ data: Uint8Array.from([0x70, 0, 0, 0, 0, 0, 0, 10, ...new Array<number>(10).fill(0)]) }),
  ],
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

const TAKING: ReadonlySet<number> = new Set<number>([
  Scsi.WRITE_6,
  Scsi.WRITE_10,
  Scsi.WRITE_12,
  Scsi.WRITE_16,
  Scsi.WRITE_SAME_10,
  Scsi.WRITE_SAME_16,
  Scsi.UNMAP,
]);
