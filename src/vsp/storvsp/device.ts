/**
 * The synthetic SCSI controller: up to 64 disks at target 0, many requests in flight. A request is answered when its data
 * are where they belong; answers that come after the channel was closed are nobody's.
 */
import type { BlockDevice } from '../../contracts/block-device.ts';
import { asBoolean, asRecord } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import { type GpaPiece, gpaPieces } from '../../vmbus/gpa-direct.ts';
import type { Channel, ChannelDevice, ChannelOffer, VmbusMemory } from '../../vmbus/ports.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import { ScsiDisk } from './disk.ts';
import {
  CDB_SIZE,
  DataIn,
  Field,
  MAXIMUM_TRANSFER,
  Operation,
  PACKET_SIZE,
  PacketStatus,
  SCSI_TYPE,
  Scsi,
  ScsiStatus,
  SENSE_SIZE,
  type SenseCode,
  SrbStatus,
  VERSIONS,
} from './protocol.ts';

const LUNS = 64;
/** Requests that are being carried out; more wait in the guest's ring. */
const IN_FLIGHT = 128;
/** What INQUIRY says of a LUN that is not there: guests take the answer as it is. */
const NO_DEVICE = 0x7f;

export interface StorvspPorts {
  readonly memory: Pick<VmbusMemory, 'read' | 'write' | 'isRam'>;
}

export class Storvsp implements ChannelDevice {
  readonly name: string;
  readonly offer: ChannelOffer;
  readonly #ports: StorvspPorts;
  readonly #disks = new Map<number, ScsiDisk>();
  #channel: Channel | undefined;
  #ready = false;
  /** Counts the closes: a request of before is nobody's, also when the channel is open again. */
  #session = 0;
  #inFlight = 0;
  #idle: (() => void)[] = [];
  readonly #counters = { requests: 0, errors: 0, malformed: 0, readBytes: 0, writtenBytes: 0 };

  /** @param disks by LUN. */
  constructor(name: string, instance: string, disks: ReadonlyMap<number, BlockDevice>, ports: StorvspPorts) {
    this.name = name;
    this.offer = { type: SCSI_TYPE, instance };
    this.#ports = ports;
    for (const [lun, disk] of disks) this.attach(lun, disk);
  }

  /** @throws RangeError when the LUN is taken, or there is no such. */
  attach(lun: number, disk: BlockDevice): void {
    if (!(lun >= 0 && lun < LUNS) || this.#disks.has(lun)) throw new RangeError(`${this.name} has no LUN ${lun} free`);
    this.#disks.set(lun, new ScsiDisk(disk));
    this.#rescan();
  }

  detach(lun: number): void {
    this.#disks.delete(lun);
    this.#rescan();
  }

  /** A packet that answers nothing has the guest look for disks again. */
  #rescan(): void {
    const payload = new Uint8Array(PACKET_SIZE);
    viewOf(payload).setUint32(Field.OPERATION, Operation.ENUMERATE_BUS, true);
    if (this.#ready) this.#channel?.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload });
  }

  /** Resolves when no request is being carried out. */
  quiesce(): Promise<void> {
    return this.#inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  opened(channel: Channel): void {
    if (channel.subIndex === 0) this.#channel = channel;
  }

  received(packet: Packet, channel: Channel): void {
    const { payload, transactionId } = packet;
    if (
      payload.length < PACKET_SIZE ||
      (packet.type !== PacketType.DATA_IN_BAND && packet.type !== PacketType.DATA_GPA_DIRECT)
    ) {
      this.#counters.malformed++;
      channel.complete(transactionId, answer(new Uint8Array(PACKET_SIZE), PacketStatus.INVALID_PARAMETER));
      return;
    }
    const request = payload.slice(0, PACKET_SIZE);
    if (viewOf(request).getUint32(Field.OPERATION, true) === Operation.EXECUTE_SRB)
      this.#execute(packet, request, channel);
    else channel.complete(transactionId, this.#control(request));
  }

  #control(request: Uint8Array): Uint8Array {
    const view = viewOf(request);
    switch (view.getUint32(Field.OPERATION, true)) {
      case Operation.BEGIN_INITIALIZATION:
      case Operation.RESET_BUS:
      case Operation.RESET_LUN:
      case Operation.RESET_ADAPTER:
        return answer(request, PacketStatus.SUCCESS);
      case Operation.END_INITIALIZATION:
        this.#ready = true;
        return answer(request, PacketStatus.SUCCESS);
      case Operation.QUERY_PROTOCOL_VERSION: {
        const known = VERSIONS.includes(view.getUint16(Field.VERSION, true));
        return answer(request, known ? PacketStatus.SUCCESS : PacketStatus.REVISION_MISMATCH);
      }
      case Operation.QUERY_PROPERTIES:
        request.fill(0, Field.BODY);
        view.setUint32(Field.MAXIMUM_TRANSFER, MAXIMUM_TRANSFER, true);
        return answer(request, PacketStatus.SUCCESS);
      default:
        this.#counters.malformed++;
        return answer(request, PacketStatus.INVALID_PARAMETER);
    }
  }

  #execute(packet: Packet, request: Uint8Array, channel: Channel): void {
    this.#counters.requests++;
    const buffer = packet.type === PacketType.DATA_GPA_DIRECT ? gpaPieces(packet, MAXIMUM_TRANSFER) : NO_BUFFER;
    const finish = (bytes: Uint8Array): void => {
      channel.complete(packet.transactionId, bytes);
    };
    if (!buffer?.pieces.every(({ gpa, length }) => this.#ports.memory.isRam(gpa, length))) {
      this.#counters.malformed++;
      finish(srb(request, SrbStatus.INVALID_REQUEST, 0));
      return;
    }
    const view = viewOf(request);
    const length = Math.min(view.getUint32(Field.TRANSFER_LENGTH, true), buffer.length);
    const addressed = view.getUint8(Field.PATH) === 0 && view.getUint8(Field.TARGET) === 0;
    const lun = view.getUint8(Field.LUN);
    const disk = addressed ? this.#disks.get(lun) : undefined;
    const cdb = new DataView(request.slice(Field.CDB, Field.CDB + CDB_SIZE).buffer);
    const operation = cdb.getUint8(0);
    if (operation === Scsi.REPORT_LUNS)
      finish(this.#deliver(request, this.#reportLuns(addressed), buffer.pieces, length));
    else if (!disk && operation === Scsi.INQUIRY) finish(this.#deliver(request, noDevice(), buffer.pieces, length));
    else if (!disk) finish(srb(request, SrbStatus.INVALID_LUN, 0));
    else {
      const takes = view.getUint8(Field.DATA_IN) === DataIn.WRITE && ScsiDisk.takesData(operation);
      const data = takes ? this.#gather(buffer.pieces, length) : new Uint8Array();
      if (takes) this.#counters.writtenBytes += data.length;
      this.#begin(channel);
      const session = this.#session;
      disk
        .execute({ cdb, data, room: length })
        .then((result) => {
          // After a close, the memory is no longer lent to us.
          if (session !== this.#session) return;
          if ('sense' in result) {
            this.#counters.errors++;
            finish(checkCondition(request, result.sense));
          } else if (result.data) {
            this.#counters.readBytes += Math.min(result.data.length, length);
            finish(this.#deliver(request, result.data, buffer.pieces, length));
          } else finish(srb(request, SrbStatus.SUCCESS, data.length));
        })
        .finally(() => {
          this.#end(channel);
        })
        .catch(() => {
          this.#counters.errors++;
        });
    }
  }

  #begin(channel: Channel): void {
    this.#inFlight++;
    if (this.#inFlight >= IN_FLIGHT) channel.hold();
  }

  #end(channel: Channel): void {
    this.#inFlight--;
    channel.release();
    if (this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #gather(pieces: readonly GpaPiece[], length: number): Uint8Array {
    const data = new Uint8Array(length);
    let at = 0;
    for (const piece of pieces) {
      const count = Math.min(piece.length, length - at);
      if (count <= 0) break;
      data.set(this.#ports.memory.read(piece.gpa, count), at);
      at += count;
    }
    return data;
  }

  /** Puts data into the guest's pages; the answer says how much of it had room. */
  #deliver(request: Uint8Array, data: Uint8Array, pieces: readonly GpaPiece[], room: number): Uint8Array {
    const length = Math.min(data.length, room);
    let at = 0;
    for (const piece of pieces) {
      const count = Math.min(piece.length, length - at);
      if (count <= 0) break;
      this.#ports.memory.write(piece.gpa, data.subarray(at, at + count));
      at += count;
    }
    return srb(request, SrbStatus.SUCCESS, length);
  }

  /** Other targets have none; asking them is no mistake. */
  #reportLuns(addressed: boolean): Uint8Array {
    const luns = addressed ? [...this.#disks.keys()].sort((a, b) => a - b) : [];
    const data = new Uint8Array(8 + luns.length * 8);
    viewOf(data).setUint32(0, luns.length * 8);
    luns.forEach((lun, i) => {
      data[8 + i * 8 + 1] = lun;
    });
    return data;
  }

  closed(channel: Channel): void {
    this.#session++;
    if (this.#channel !== channel) return;
    this.#channel = undefined;
    this.#ready = false;
  }

  inspect(): InspectNode {
    const disks = Object.fromEntries([...this.#disks].map(([lun, { device }]) => [lun, { size: device.size }]));
    return { ready: this.#ready, inFlight: this.#inFlight, ...this.#counters, disks };
  }

  /** Nothing is in flight when a partition is saved. The disks are the host's to give again. */
  save(): unknown {
    return { version: 1, ready: this.#ready };
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const { version, ready } = asRecord(saved, this.name);
    if (version !== 1) throw new RangeError(`${this.name} has another version`);
    this.#channel = channels[0];
    this.#ready = asBoolean(ready, this.name) && this.#channel !== undefined;
  }
}

const NO_BUFFER = { pieces: [], length: 0 } as const;

function answer(request: Uint8Array, status: number): Uint8Array {
  const view = viewOf(request);
  view.setUint32(Field.OPERATION, Operation.COMPLETE_IO, true);
  view.setUint32(Field.FLAGS, 0, true);
  view.setUint32(Field.STATUS, status, true);
  return request;
}

function srb(request: Uint8Array, status: number, length: number): Uint8Array {
  const view = viewOf(request);
  view.setUint8(Field.SRB_STATUS, status);
  view.setUint8(Field.SCSI_STATUS, ScsiStatus.GOOD);
  view.setUint8(Field.SENSE_LENGTH, 0);
  view.setUint32(Field.TRANSFER_LENGTH, length, true);
  return answer(request, PacketStatus.SUCCESS);
}

/** Fixed-format sense data (SPC-4, section 4.5.3) in the place of the command. */
function checkCondition(request: Uint8Array, [key, code, qualifier]: SenseCode): Uint8Array {
  srb(request, SrbStatus.ERROR | SrbStatus.AUTOSENSE_VALID, 0);
  const view = viewOf(request);
  view.setUint8(Field.SCSI_STATUS, ScsiStatus.CHECK_CONDITION);
  view.setUint8(Field.SENSE_LENGTH, SENSE_SIZE);
  request.fill(0, Field.CDB, Field.CDB + SENSE_SIZE);
  request[Field.CDB] = 0x70;
  request[Field.CDB + 2] = key;
  request[Field.CDB + 7] = SENSE_SIZE - 8;
  request[Field.CDB + 12] = code;
  request[Field.CDB + 13] = qualifier;
  return request;
}

function noDevice(): Uint8Array {
  const bytes = new Uint8Array(36);
  bytes.set([NO_DEVICE, 0, 5, 2, 31]);
  return bytes;
}
