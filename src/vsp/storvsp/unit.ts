/**
 * What is behind a LUN: SCSI commands by a table of handlers, and what the guest has to be told before its next command
 * (unit attention, SAM-5, section 5.14).
 */
import type { BlockDevice } from '../../contracts/block-device.ts';
import { asRecord, asWhole } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import type { GuestBuffer } from './buffer.ts';
import { Scsi, Sense, type SenseCode } from './protocol.ts';

export interface Command {
  /** 16 bytes. */
  readonly cdb: DataView;
  /** The guest's pages. */
  readonly buffer: GuestBuffer;
}

/** What a command comes to: data for the guest, so many bytes that it has already or has given, nothing, or a sense code. */
export type ScsiResult =
  | { readonly data: Uint8Array }
  | { readonly given: number }
  | { readonly taken: number }
  | { readonly done: true }
  | { readonly sense: SenseCode };

export const DONE: ScsiResult = { done: true };

export type Handler<U> = (unit: U, command: Command) => Promise<ScsiResult> | ScsiResult;
export type Handlers<U> = ReadonlyMap<number, Handler<U>>;

/** Ends a command with a sense code. */
export class ScsiError extends Error {
  readonly sense: SenseCode;
  constructor(sense: SenseCode) {
    super('SCSI');
    this.sense = sense;
  }
}

/** These are answered whatever else the guest has to hear (SPC-4, section 5.14.5). */
const UNDISTURBED: ReadonlySet<number> = new Set<number>([Scsi.INQUIRY, Scsi.REPORT_LUNS, Scsi.REQUEST_SENSE]);

/** Commands whose data come from the guest. */
const TAKING: ReadonlySet<number> = new Set<number>([
  Scsi.WRITE_6,
  Scsi.WRITE_10,
  Scsi.WRITE_12,
  Scsi.WRITE_16,
  Scsi.WRITE_SAME_10,
  Scsi.WRITE_SAME_16,
  Scsi.UNMAP,
]);

export abstract class LogicalUnit {
  /** What the guest hears instead of an answer to its next command. */
  #attention: SenseCode | undefined;

  abstract readonly device: BlockDevice | undefined;
  protected abstract run(operation: number, command: Command): Promise<ScsiResult> | ScsiResult | undefined;

  /** Tells the guest that something has changed. */
  attend(sense: SenseCode): void {
    this.#attention = sense;
  }

  /** The sense code that REQUEST SENSE gives; it is gone then. */
  takeAttention(): SenseCode {
    const sense = this.#attention ?? Sense.NONE;
    this.#attention = undefined;
    return sense;
  }

  /** At once where nothing has to be waited for. Never throws, never rejects. */
  execute(command: Command): Promise<ScsiResult> | ScsiResult {
    const operation = command.cdb.getUint8(0);
    if (this.#attention && !UNDISTURBED.has(operation)) return { sense: this.takeAttention() };
    try {
      const result = this.run(operation, command) ?? { sense: Sense.INVALID_COMMAND };
      return result instanceof Promise ? result.catch((error: unknown) => failed(operation, error)) : result;
    } catch (error) {
      return failed(operation, error);
    }
  }

  abstract inspect(): InspectNode;

  /** What the guest has not heard yet, as plain data. */
  save(): Record<string, unknown> {
    return { attention: this.#attention ? [...this.#attention] : null };
  }

  /** @throws RangeError */
  restore(saved: unknown): void {
    const { attention } = asRecord(saved, 'a logical unit');
    if (attention === null) return;
    if (!Array.isArray(attention) || attention.length !== 3) throw new RangeError('a unit attention makes no sense');
    const [key, code, qualifier] = attention.map((byte) => asWhole(byte, 'a unit attention', 255));
    this.#attention = [key as number, code as number, qualifier as number];
  }
}

/** Whatever it was, the guest learns that its data are not there. The disk keeps what it was. */
function failed(operation: number, error: unknown): ScsiResult {
  if (error instanceof ScsiError) return { sense: error.sense };
  return { sense: TAKING.has(operation) ? Sense.NOT_WRITABLE : Sense.NOT_READABLE };
}

/** Sectors for the guest: at once, straight into its memory, where they are at hand. The guest's number sizes nothing. */
export function readSectors(
  device: BlockDevice,
  offset: number,
  length: number,
  buffer: GuestBuffer,
): Promise<ScsiResult> | ScsiResult {
  const room = Math.min(length, buffer.length);
  const count = room - (room % device.logicalSectorSize);
  if (count === 0) return { given: 0 };
  if (device.readNow && buffer.fillNow(count, (into) => device.readNow!(offset, into))) return { given: count };
  const data = new Uint8Array(count);
  return device.read(offset, data).then(() => ({ data }));
}

/** [bytes, value] as big-endian bytes. */
export function words(...fields: readonly (readonly [size: number, value: number])[]): number[] {
  return fields.flatMap(([size, value]) =>
    Array.from({ length: size }, (_, i) => Math.floor(value / 2 ** (8 * (size - 1 - i))) % 256),
  );
}

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** By which guests of Hyper-V know what a unit can do. */
export const VENDOR = 'Msft    ';
const REVISION = '1.0 ';

/** Standard INQUIRY data (SPC-4, section 6.4.2). @param kind type and removability, bytes 0 and 1. */
export function identity(kind: readonly [type: number, removable: number], product: string): Uint8Array {
  const bytes = new Uint8Array(36);
  // SPC-3, response format 2, command queueing.
  bytes.set([...kind, 5, 2, bytes.length - 5, 0, 0, 2]);
  bytes.set(ascii(VENDOR + product + REVISION), 8);
  return bytes;
}

/** A page of vital product data (SPC-4, section 7.8). */
export function vitalPage(type: number, page: number, content: readonly number[]): Uint8Array {
  return Uint8Array.from([type, page, content.length >> 8, content.length & 0xff, ...content]);
}

/** Mode pages behind their header (SPC-4, section 7.5). */
export function modeData(form: 6 | 10, parameter: number, pages: readonly number[]): ScsiResult {
  const header =
    form === 6 ? [3 + pages.length, 0, parameter, 0] : [...words([2, 6 + pages.length]), 0, parameter, 0, 0, 0, 0];
  return { data: Uint8Array.from([...header, ...pages]) };
}

/** Fixed-format sense data (SPC-4, section 4.5.3). */
export function senseData([key, code, qualifier]: SenseCode): Uint8Array {
  return Uint8Array.from([0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0]);
}

export function requestSense(unit: LogicalUnit): ScsiResult {
  return { data: senseData(unit.takeAttention()) };
}
