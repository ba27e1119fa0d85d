/**
 * The synthetic SCSI controller: up to 64 logical units at target 0, many requests in flight, through one channel or several. A
 * request is answered when its data are where they belong; answers that come after the channel was closed are nobody's.
 */
import { asBoolean, asRecord, asWhole } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import type { Channel, ChannelDevice, ChannelOffer } from '../../vmbus/ports.ts';
import { PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import { answer, checkCondition, lunList, noDevice, srb } from './answers.ts';
import { type BufferMemory, GuestBuffer } from './buffer.ts';
import {
  CDB_SIZE,
  Field,
  MAXIMUM_TRANSFER,
  MULTI_CHANNEL,
  Operation,
  PACKET_SIZE,
  PacketStatus,
  SCSI_TYPE,
  Scsi,
  SrbStatus,
  VERSIONS,
} from './protocol.ts';
import type { LogicalUnit, ScsiResult } from './unit.ts';

export const LUNS = 64;
/** Requests of one channel that are being carried out; more wait in the guest's ring. */
const IN_FLIGHT = 128;

export interface StorvspPorts {
  readonly memory: BufferMemory;
  /** Channels that the guest may have beside the first one. Default: none. */
  readonly subChannels?: number | undefined;
}

/** A channel from its opening to its close: what is in flight at the close is nobody's, also when it is open again. */
interface Session {
  inFlight: number;
}

export class Storvsp implements ChannelDevice {
  readonly name: string;
  readonly offer: ChannelOffer;
  readonly bulk = true;
  readonly #ports: StorvspPorts;
  readonly #units = new Map<number, LogicalUnit>();
  readonly #sessions = new Map<Channel, Session>();
  #primary: Channel | undefined;
  #ready = false;
  /** Channels that the guest has asked for. */
  #subChannels = 0;
  /** The guest has not been told yet to look for disks again. */
  #rescanOwed = false;
  #inFlight = 0;
  #idle: (() => void)[] = [];
  readonly #counters = { requests: 0, errors: 0, malformed: 0, readBytes: 0, writtenBytes: 0 };

  constructor(name: string, instance: string, ports: StorvspPorts) {
    this.name = name;
    this.offer = { type: SCSI_TYPE, instance };
    this.#ports = ports;
  }

  /** @throws RangeError when the LUN is taken, or there is no such. */
  attach(lun: number, unit: LogicalUnit): void {
    if (!(lun >= 0 && lun < LUNS) || this.#units.has(lun)) throw new RangeError(`${this.name} has no LUN ${lun} free`);
    this.#units.set(lun, unit);
    this.rescan();
  }

  /** Requests that have begun are finished. */
  detach(lun: number): void {
    this.#units.delete(lun);
    this.rescan();
  }

  unit(lun: number): LogicalUnit | undefined {
    return this.#units.get(lun);
  }

  /** Has the guest look at all units again: whether they are there, and what they have to tell. */
  rescan(): void {
    this.#rescanOwed = this.#ready;
    this.#tellRescan();
  }

  /** A packet that answers nothing. */
  #tellRescan(): void {
    if (!this.#rescanOwed || !this.#primary) return;
    const payload = new Uint8Array(PACKET_SIZE);
    viewOf(payload).setUint32(Field.OPERATION, Operation.ENUMERATE_BUS, true);
    this.#rescanOwed = !this.#primary.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload });
  }

  /** Resolves when no request is being carried out. */
  quiesce(): Promise<void> {
    return this.#inFlight === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  opened(channel: Channel): void {
    this.#sessions.set(channel, { inFlight: 0 });
    if (channel.subIndex === 0) this.#primary = channel;
  }

  writable(channel: Channel): void {
    if (channel === this.#primary) this.#tellRescan();
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
    switch (viewOf(request).getUint32(Field.OPERATION, true)) {
      case Operation.EXECUTE_SRB:
        this.#execute(packet, request, channel);
        break;
      case Operation.CREATE_SUB_CHANNELS:
        this.#createSubChannels(transactionId, request, channel);
        break;
      default:
        channel.complete(transactionId, this.#control(request));
    }
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
      case Operation.QUERY_PROPERTIES: {
        const subChannels = this.#mostSubChannels;
        request.fill(0, Field.BODY);
        view.setUint16(Field.SUB_CHANNELS, subChannels, true);
        view.setUint32(Field.CHANNEL_FLAGS, subChannels > 0 ? MULTI_CHANNEL : 0, true);
        view.setUint32(Field.MAXIMUM_TRANSFER, MAXIMUM_TRANSFER, true);
        return answer(request, PacketStatus.SUCCESS);
      }
      default:
        this.#counters.malformed++;
        return answer(request, PacketStatus.INVALID_PARAMETER);
    }
  }

  get #mostSubChannels(): number {
    return this.#ports.subChannels ?? 0;
  }

  /** The offers come behind the answer. */
  #createSubChannels(transactionId: bigint, request: Uint8Array, channel: Channel): void {
    const count = viewOf(request).getUint16(Field.SUB_CHANNEL_COUNT, true);
    const granted = channel.subIndex === 0 && this.#subChannels + count <= this.#mostSubChannels;
    if (!granted) this.#counters.malformed++;
    channel.complete(transactionId, answer(request, granted ? PacketStatus.SUCCESS : PacketStatus.INVALID_PARAMETER));
    if (granted) this.#subChannels += channel.offerSubChannels(count);
  }

  #execute(packet: Packet, request: Uint8Array, channel: Channel): void {
    this.#counters.requests++;
    const finish = (bytes: Uint8Array): void => {
      channel.complete(packet.transactionId, bytes);
    };
    const view = viewOf(request);
    const buffer = GuestBuffer.of(packet, view.getUint32(Field.TRANSFER_LENGTH, true), this.#ports.memory);
    if (!buffer) {
      this.#counters.malformed++;
      finish(srb(request, SrbStatus.INVALID_REQUEST, 0));
      return;
    }
    const addressed = view.getUint8(Field.PATH) === 0 && view.getUint8(Field.TARGET) === 0;
    const unit = addressed ? this.#units.get(view.getUint8(Field.LUN)) : undefined;
    const cdb = new DataView(request.slice(Field.CDB, Field.CDB + CDB_SIZE).buffer);
    const operation = cdb.getUint8(0);
    if (operation === Scsi.REPORT_LUNS) {
      // Other targets have none; asking them is no mistake.
      const luns = addressed ? [...this.#units.keys()].sort((a, b) => a - b) : [];
      finish(this.#answer(request, { data: lunList(luns) }, buffer));
    } else if (!unit && operation === Scsi.INQUIRY) finish(this.#answer(request, { data: noDevice() }, buffer));
    else if (!unit) finish(srb(request, SrbStatus.INVALID_LUN, 0));
    else {
      const result = unit.execute({ cdb, buffer });
      if (result instanceof Promise) void this.#await(result, buffer, request, channel, finish);
      else finish(this.#answer(request, result, buffer));
    }
  }

  async #await(
    pending: Promise<ScsiResult>,
    buffer: GuestBuffer,
    request: Uint8Array,
    channel: Channel,
    finish: (bytes: Uint8Array) => void,
  ): Promise<void> {
    const session = this.#sessions.get(channel);
    if (session && ++session.inFlight >= IN_FLIGHT) channel.hold();
    this.#inFlight++;
    const result = await pending;
    this.#inFlight--;
    // After a close, the memory is no longer lent to us.
    if (session && session === this.#sessions.get(channel)) {
      session.inFlight--;
      finish(this.#answer(request, result, buffer));
      channel.release();
    }
    if (this.#inFlight === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #answer(request: Uint8Array, result: ScsiResult, buffer: GuestBuffer): Uint8Array {
    if ('sense' in result) {
      this.#counters.errors++;
      return checkCondition(request, result.sense);
    }
    if ('data' in result) {
      const moved = buffer.put(result.data);
      if (moved === undefined) {
        this.#counters.malformed++;
        return srb(request, SrbStatus.INVALID_REQUEST, 0);
      }
      this.#counters.readBytes += moved;
      return srb(request, SrbStatus.SUCCESS, moved);
    }
    const [given, taken] = ['given' in result ? result.given : 0, 'taken' in result ? result.taken : 0];
    this.#counters.readBytes += given;
    this.#counters.writtenBytes += taken;
    return srb(request, SrbStatus.SUCCESS, given + taken);
  }

  closed(channel: Channel): void {
    this.#sessions.delete(channel);
    if (this.#primary !== channel) return;
    this.#primary = undefined;
    this.#ready = false;
    this.#rescanOwed = false;
    this.#subChannels = 0;
  }

  inspect(): InspectNode {
    const units = Object.fromEntries([...this.#units].map(([lun, unit]) => [lun, unit.inspect()]));
    const channels = this.#sessions.size;
    return { ready: this.#ready, channels, inFlight: this.#inFlight, ...this.#counters, units };
  }

  /** Nothing is in flight when a partition is saved. What units are of is the host's to give again. */
  save(): unknown {
    const units = Object.fromEntries([...this.#units].map(([lun, unit]) => [lun, unit.save()]));
    return { version: 2, ready: this.#ready, rescanOwed: this.#rescanOwed, subChannels: this.#subChannels, units };
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const { version, ready, rescanOwed = false, subChannels = 0, units = {} } = asRecord(saved, this.name);
    // Version 1 had disks only, through one channel.
    if (version !== 1 && version !== 2) throw new RangeError(`${this.name} has another version`);
    for (const channel of channels) this.opened(channel);
    this.#ready = asBoolean(ready, this.name) && this.#primary !== undefined;
    this.#rescanOwed = asBoolean(rescanOwed, this.name) && this.#ready;
    this.#subChannels = asWhole(subChannels, this.name, 0xffff);
    for (const [lun, unit] of Object.entries(asRecord(units, this.name))) this.#units.get(Number(lun))?.restore(unit);
  }
}
