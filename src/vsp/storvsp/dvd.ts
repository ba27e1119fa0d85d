/**
 * A DVD drive behind the synthetic controller: a read-only unit of sectors of 2048 bytes whose medium comes and goes (MMC-6).
 * One data track in one session, as every image of a file system is.
 */
import type { BlockDevice } from '../../contracts/block-device.ts';
import { asBoolean, asRecord, asWhole } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import { Scsi, Sense } from './protocol.ts';
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

const DVD = 5;
const REMOVABLE = 0x80;
const PRODUCT = 'Virtual DVD-ROM ';
const SECTOR = 2048;
const LEAD_OUT = 0xaa;
/** ADR 1 (position), a data track that may not be copied. */
const DATA_TRACK = 0x14;
/** Sectors of the pause before the first one, in minutes, seconds and frames. */
const PREGAP = 150;
const Profile = { NONE: 0, CD_ROM: 0x0008, DVD_ROM: 0x0010 } as const;
/** More than a CD holds. */
const CD_SECTORS = 360_000;
/** What GET EVENT STATUS says of the medium (MMC-6, section 6.6.2.6). */
const MediaEvent = { NONE: 0, NEW: 2, REMOVED: 3 } as const;
const MEDIA_CLASS = 4;

type Handler = HandlerOf<ScsiDvd>;

export class ScsiDvd extends LogicalUnit {
  #medium: BlockDevice | undefined;
  /** The guest has asked for the drive not to be opened by hand. */
  locked = false;
  #event: number = MediaEvent.NONE;
  readonly #ejected: () => void;

  /** @param ejected the guest has opened the drive: its medium is not used any more. */
  constructor(medium: BlockDevice | undefined, ejected: () => void) {
    super();
    this.#medium = medium;
    this.#ejected = ejected;
  }

  get device(): BlockDevice | undefined {
    return this.#medium;
  }

  /** Changes the medium, or takes it out. */
  change(medium: BlockDevice | undefined): void {
    this.#medium = medium;
    this.locked = false;
    this.#event = medium ? MediaEvent.NEW : MediaEvent.REMOVED;
    if (medium) this.attend(Sense.MEDIUM_CHANGED);
  }

  /** As the guest wishes. */
  eject(): void {
    if (this.locked) throw new ScsiError(Sense.REMOVAL_PREVENTED);
    if (!this.#medium) return;
    this.change(undefined);
    this.#ejected();
  }

  takeEvent(): number {
    const event = this.#event;
    this.#event = MediaEvent.NONE;
    return event;
  }

  /** @throws ScsiError when there is none. */
  medium(): BlockDevice {
    if (!this.#medium) throw new ScsiError(Sense.NO_MEDIUM);
    return this.#medium;
  }

  get sectors(): number {
    return this.medium().size / SECTOR;
  }

  get profile(): number {
    if (!this.#medium) return Profile.NONE;
    return this.sectors > CD_SECTORS ? Profile.DVD_ROM : Profile.CD_ROM;
  }

  protected run(operation: number, command: Command): Promise<ScsiResult> | ScsiResult | undefined {
    return HANDLERS.get(operation)?.(this, command);
  }

  inspect(): InspectNode {
    return { kind: 'dvd', size: this.#medium?.size ?? 0, locked: this.locked };
  }

  override save(): Record<string, unknown> {
    return { ...super.save(), locked: this.locked, event: this.#event };
  }

  override restore(saved: unknown): void {
    super.restore(saved);
    const { locked, event } = asRecord(saved, 'a DVD drive');
    this.locked = asBoolean(locked, 'a DVD drive');
    this.#event = asWhole(event, 'a DVD drive', MediaEvent.REMOVED);
  }
}

const testUnitReady: Handler = (dvd) => {
  dvd.medium();
  return DONE;
};

const inquiry: Handler = (_dvd, { cdb }) => {
  const page = cdb.getUint8(2);
  if ((cdb.getUint8(1) & 1) === 0)
    return page === 0 ? { data: identity([DVD, REMOVABLE], PRODUCT) } : { sense: Sense.INVALID_FIELD };
  const content = VITAL.get(page);
  return content ? { data: vitalPage(DVD, page, content) } : { sense: Sense.INVALID_FIELD };
};

const VITAL: ReadonlyMap<number, readonly number[]> = new Map([
  [0x00, [0x00, 0x83]],
  // A T10 vendor designator.
  [0x83, [2, 1, 0, 8, ...ascii(VENDOR)]],
]);

/** LoEj with Start clear opens the drive; closing it brings nothing back. */
const startStop: Handler = (dvd, { cdb }) => {
  if ((cdb.getUint8(4) & 3) === 2) dvd.eject();
  return DONE;
};

const preventAllow: Handler = (dvd, { cdb }) => {
  dvd.locked = (cdb.getUint8(4) & 1) !== 0;
  return DONE;
};

const readCapacity: Handler = (dvd) => ({ data: Uint8Array.from(words([4, dvd.sectors - 1], [4, SECTOR])) });

function read(form: 10 | 12): Handler {
  return (dvd, { cdb, buffer }) => {
    const count = form === 10 ? cdb.getUint16(7) : cdb.getUint32(6);
    const sector = cdb.getUint32(2);
    if (sector + count > dvd.sectors) return { sense: Sense.OUT_OF_RANGE };
    return readSectors(dvd.medium(), sector * SECTOR, count * SECTOR, buffer);
  };
}

/** A sector's address, in minutes, seconds and frames where the guest wants that. */
function address(sector: number, inTime: boolean): number[] {
  const frame = sector + PREGAP;
  return inTime ? [0, Math.floor(frame / 4500) & 0xff, Math.floor(frame / 75) % 60, frame % 75] : words([4, sector]);
}

/** MMC-6, section 6.25: formats 0 (tracks) and 1 (the last session). Older drives take the format from byte 9. */
const readToc: Handler = (dvd, { cdb }) => {
  const inTime = (cdb.getUint8(1) & 2) !== 0;
  const format = cdb.getUint8(2) & 15 || cdb.getUint8(9) >> 6;
  const first = cdb.getUint8(6);
  const track = [0, DATA_TRACK, 1, 0, ...address(0, inTime)];
  const leadOut = [0, DATA_TRACK, LEAD_OUT, 0, ...address(dvd.sectors, inTime)];
  let entries: number[];
  if (format === 1) entries = track;
  else if (format !== 0 || (first > 1 && first !== LEAD_OUT)) return { sense: Sense.INVALID_FIELD };
  else entries = first === LEAD_OUT ? leadOut : [...track, ...leadOut];
  return limited(cdb.getUint16(7), [...words([2, entries.length + 2]), 1, 1, ...entries]);
};

/** No more than the command allows. */
function limited(allowed: number, bytes: readonly number[]): ScsiResult {
  return { data: Uint8Array.from(bytes.slice(0, allowed)) };
}

/** Features (MMC-6, section 5.3): code, version, persistent and current; content. */
function features(profile: number): readonly (readonly [code: number, flags: number, content: readonly number[]])[] {
  const profiles = [Profile.DVD_ROM, Profile.CD_ROM].flatMap((each) => [
    ...words([2, each]),
    each === profile ? 1 : 0,
    0,
  ]);
  return [
    [0x0000, 3, profiles],
    // Core, of SCSI; with DBE.
    [0x0001, 11, [0, 0, 0, 1, 1, 0, 0, 0]],
    // Removable medium: a tray, ejected and locked by command.
    [0x0003, 3, [0x29, 0, 0, 0]],
    [0x0010, profile === Profile.NONE ? 0 : 1, [0, 0, 8, 0, 0, 1, 0, 0]],
  ];
}

const getConfiguration: Handler = (dvd, { cdb }) => {
  const [kind, from] = [cdb.getUint8(1) & 3, cdb.getUint16(2)];
  const { profile } = dvd;
  const wanted = features(profile).filter(([code, flags]) => {
    if (kind === 2) return code === from;
    return code >= from && (kind === 0 || (flags & 1) !== 0);
  });
  const body = wanted.flatMap(([code, flags, content]) => [...words([2, code]), flags, content.length, ...content]);
  return limited(cdb.getUint16(7), [...words([4, body.length + 4], [2, 0], [2, profile]), ...body]);
};

/** Only asked, never waited for. */
const getEventStatus: Handler = (dvd, { cdb }) => {
  if ((cdb.getUint8(1) & 1) === 0) return { sense: Sense.INVALID_FIELD };
  const wanted = (cdb.getUint8(4) & (1 << MEDIA_CLASS)) !== 0;
  const present = dvd.device ? 2 : 0;
  const descriptor = wanted ? [dvd.takeEvent(), present, 0, 0] : [];
  const header = [...words([2, 2 + descriptor.length]), wanted ? MEDIA_CLASS : 0x80, 1 << MEDIA_CLASS];
  return limited(cdb.getUint16(7), [...header, ...descriptor]);
};

/** A finished disc of one session with one track. */
const readDiscInformation: Handler = (dvd, { cdb }) => {
  dvd.medium();
  return limited(cdb.getUint16(7), [...words([2, 32]), 0x0e, 1, 1, 1, 1, 0x20, ...new Array<number>(26).fill(0)]);
};

/** Capabilities (MMC-3, section 5.5.10): reads CD and DVD, writes nothing; a tray that opens and locks. */
const CAPABILITIES: readonly number[] = [
  0x2a,
  20,
  ...[0x3b, 0, 0x70, 0, 0x29, 0],
  // Speed in kB/s, volume levels, buffer in KiB, speed.
  ...words([2, 5540], [2, 0], [2, 512], [2, 5540]),
  ...[0, 0, 0, 0, 0, 0],
];

function modeSense(form: 6 | 10): Handler {
  return (_dvd, { cdb }) => {
    const page = cdb.getUint8(2) & 0x3f;
    if (page !== 0x2a && page !== 0x3f) return { sense: Sense.INVALID_FIELD };
    return modeData(form, 0, CAPABILITIES);
  };
}

const HANDLERS: Handlers<ScsiDvd> = new Map<number, Handler>([
  [Scsi.TEST_UNIT_READY, testUnitReady],
  [Scsi.REQUEST_SENSE, requestSense],
  [Scsi.INQUIRY, inquiry],
  [Scsi.MODE_SENSE_6, modeSense(6)],
  [Scsi.MODE_SENSE_10, modeSense(10)],
  [Scsi.START_STOP_UNIT, startStop],
  [Scsi.PREVENT_ALLOW, preventAllow],
  [Scsi.READ_CAPACITY_10, readCapacity],
  [Scsi.READ_10, read(10)],
  [Scsi.READ_12, read(12)],
  [Scsi.SYNCHRONIZE_CACHE_10, testUnitReady],
  [Scsi.READ_TOC, readToc],
  [Scsi.GET_CONFIGURATION, getConfiguration],
  [Scsi.GET_EVENT_STATUS, getEventStatus],
  [Scsi.READ_DISC_INFORMATION, readDiscInformation],
]);
