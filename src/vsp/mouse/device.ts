/** The synthetic mouse: agrees on the version, describes itself, reports where it is. */
import { asBoolean, asRecord } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import type { Channel, ChannelDevice, ChannelOffer } from '../../vmbus/ports.ts';
import { PacketFlag, PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import {
  BUTTONS,
  DEVICE_INFO,
  HID,
  HID_DESCRIPTOR_SIZE,
  LARGEST_POSITION,
  MESSAGE_HEADER,
  MOUSE_INSTANCE,
  MOUSE_TYPE,
  MOUSE_VERSION,
  MouseMessage,
  PIPE_DATA,
  PIPE_HEADER,
  REPORT_DESCRIPTOR,
  REPORT_SIZE,
  RESPONSE_SIZE,
} from './protocol.ts';

export interface MouseState {
  /** From 0 (left, top) to 1. */
  readonly x: number;
  readonly y: number;
  /** Bit 0: left, 1: right, 2: middle, 3 and 4: side. */
  readonly buttons?: number | undefined;
  /** Notches, away from the user; -127 to 127. */
  readonly wheel?: number | undefined;
}

export class Mouse implements ChannelDevice {
  readonly name = 'mouse';
  readonly offer: ChannelOffer = { type: MOUSE_TYPE, instance: MOUSE_INSTANCE };
  #channel: Channel | undefined;
  #ready = false;
  /** The newest report that found no room: older ones say where the mouse was. */
  #waiting: Uint8Array | undefined;
  readonly #counters = { reports: 0, malformed: 0 };

  get ready(): boolean {
    return this.#ready;
  }

  /** False when the guest takes no reports. */
  move({ x, y, buttons = 0, wheel = 0 }: MouseState): boolean {
    if (!this.#ready) return false;
    const view = new DataView(new ArrayBuffer(REPORT_SIZE));
    view.setUint8(0, buttons & (2 ** BUTTONS - 1));
    view.setUint16(1, position(x), true);
    view.setUint16(3, position(y), true);
    view.setInt8(5, Math.max(-127, Math.min(127, Math.trunc(wheel) || 0)));
    this.#counters.reports++;
    const bytes = message(MouseMessage.INPUT_REPORT, new Uint8Array(view.buffer));
    this.#waiting = this.#send(bytes) ? undefined : bytes;
    return true;
  }

  #send(payload: Uint8Array): boolean {
    return this.#channel?.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload }) ?? false;
  }

  opened(channel: Channel): void {
    this.#channel = channel;
  }

  received(packet: Packet, channel: Channel): void {
    if ((packet.flags & PacketFlag.COMPLETION_REQUESTED) !== 0)
      channel.complete(packet.transactionId, new Uint8Array());
    const view = viewOf(packet.payload);
    const whole = packet.type === PacketType.DATA_IN_BAND && view.byteLength >= PIPE_HEADER + MESSAGE_HEADER;
    const type = whole && view.getUint32(0, true) === PIPE_DATA ? view.getUint32(PIPE_HEADER, true) : -1;
    if (type === MouseMessage.PROTOCOL_REQUEST && view.byteLength >= PIPE_HEADER + MESSAGE_HEADER + 4)
      this.#negotiate(view.getUint32(PIPE_HEADER + MESSAGE_HEADER, true));
    else if (type === MouseMessage.INITIAL_DEVICE_INFO_ACK) this.#ready = true;
    else this.#counters.malformed++;
  }

  #negotiate(version: number): void {
    const approved = version === MOUSE_VERSION;
    // Not a byte more: guests measure it.
    const response = new DataView(new ArrayBuffer(RESPONSE_SIZE));
    response.setUint32(0, version, true);
    response.setUint8(4, approved ? 1 : 0);
    this.#send(message(MouseMessage.PROTOCOL_RESPONSE, new Uint8Array(response.buffer)));
    if (approved) this.#send(message(MouseMessage.INITIAL_DEVICE_INFO, deviceInfo()));
  }

  writable(): void {
    if (this.#waiting && this.#send(this.#waiting)) this.#waiting = undefined;
  }

  closed(): void {
    this.#channel = undefined;
    this.#ready = false;
    this.#waiting = undefined;
  }

  inspect(): InspectNode {
    return { ready: this.#ready, ...this.#counters };
  }

  save(): unknown {
    return { version: 1, ready: this.#ready };
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const { version, ready } = asRecord(saved, 'the mouse');
    if (version !== 1) throw new RangeError('the mouse has another version');
    this.#channel = channels[0];
    this.#ready = asBoolean(ready, 'the mouse') && this.#channel !== undefined;
  }
}

function position(value: number): number {
  return Math.round(Math.max(0, Math.min(1, value || 0)) * LARGEST_POSITION);
}

function deviceInfo(): Uint8Array {
  const bytes = new Uint8Array(DEVICE_INFO.SIZE + HID_DESCRIPTOR_SIZE + REPORT_DESCRIPTOR.length);
  const view = viewOf(bytes);
  view.setUint32(0, DEVICE_INFO.SIZE, true);
  view.setUint16(4, DEVICE_INFO.VENDOR, true);
  view.setUint16(6, DEVICE_INFO.PRODUCT, true);
  view.setUint16(8, DEVICE_INFO.VERSION, true);
  const hid = DEVICE_INFO.SIZE;
  view.setUint8(hid, HID_DESCRIPTOR_SIZE);
  view.setUint8(hid + 1, HID.DESCRIPTOR);
  view.setUint16(hid + 2, HID.VERSION, true);
  view.setUint8(hid + 5, 1);
  view.setUint8(hid + 6, HID.REPORT);
  view.setUint16(hid + 7, REPORT_DESCRIPTOR.length, true);
  bytes.set(REPORT_DESCRIPTOR, hid + HID_DESCRIPTOR_SIZE);
  return bytes;
}

function message(type: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(PIPE_HEADER + MESSAGE_HEADER + body.length);
  const view = viewOf(bytes);
  view.setUint32(0, PIPE_DATA, true);
  view.setUint32(4, MESSAGE_HEADER + body.length, true);
  view.setUint32(PIPE_HEADER, type, true);
  view.setUint32(PIPE_HEADER + 4, body.length, true);
  bytes.set(body, PIPE_HEADER + MESSAGE_HEADER);
  return bytes;
}
