/** The synthetic keyboard: agrees on the version, then hands over key strokes. */
import { asBoolean, asRecord, asWhole } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import type { Channel, ChannelDevice, ChannelOffer } from '../../vmbus/ports.ts';
import { PacketFlag, PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import { ACCEPTED, KEYBOARD_INSTANCE, KEYBOARD_TYPE, KEYBOARD_VERSION, KeyboardMessage, KeyInfo } from './protocol.ts';
import { SCAN_CODES, STROKES } from './scan-codes.ts';

/** Strokes that wait for a guest that does not take them. */
const QUEUE = 4096;
const PREFIX = 0xe000;

export class Keyboard implements ChannelDevice {
  readonly name = 'keyboard';
  readonly offer: ChannelOffer = { type: KEYBOARD_TYPE, instance: KEYBOARD_INSTANCE };
  #channel: Channel | undefined;
  #ready = false;
  #lights = 0;
  #queue: Uint8Array[] = [];
  readonly #counters = { strokes: 0, dropped: 0, malformed: 0 };

  /** The guest's driver takes keys. */
  get ready(): boolean {
    return this.#ready;
  }

  /** A key by its W3C code; false when there is no such key, or the guest takes none. */
  key(code: string, down: boolean): boolean {
    const scanCode = SCAN_CODES.get(code);
    if (scanCode === undefined || !this.#ready) return false;
    if (this.#queue.length >= QUEUE) {
      this.#counters.dropped++;
      return false;
    }
    const info = (down ? 0 : KeyInfo.BREAK) | (scanCode >= PREFIX ? KeyInfo.E0 : 0);
    this.#queue.push(message(KeyboardMessage.EVENT, scanCode & 0xff, info));
    this.#counters.strokes++;
    this.#flush();
    return true;
  }

  /** Types a text as on a US keyboard; the characters that it does not have, or that found no room. */
  type(text: string): string {
    let left = '';
    for (const character of text) {
      const stroke = STROKES.get(character);
      if (!stroke || this.#queue.length + 4 > QUEUE || !this.#ready) {
        left += character;
        continue;
      }
      if (stroke.shift) this.key('ShiftLeft', true);
      this.key(stroke.code, true);
      this.key(stroke.code, false);
      if (stroke.shift) this.key('ShiftLeft', false);
    }
    return left;
  }

  #flush(): void {
    while (this.#queue.length > 0 && this.#send(this.#queue[0] as Uint8Array)) this.#queue.shift();
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
    const type = packet.type === PacketType.DATA_IN_BAND && view.byteLength >= 8 ? view.getUint32(0, true) : 0;
    if (type === KeyboardMessage.PROTOCOL_REQUEST) {
      this.#ready = view.getUint32(4, true) === KEYBOARD_VERSION;
      // It is the first thing in the ring, so there is room.
      this.#send(message(KeyboardMessage.PROTOCOL_RESPONSE, this.#ready ? ACCEPTED : 0));
    } else if (type === KeyboardMessage.LED_INDICATORS) this.#lights = view.getUint16(4, true);
    else this.#counters.malformed++;
  }

  writable(): void {
    this.#flush();
  }

  closed(): void {
    this.#channel = undefined;
    this.#ready = false;
    this.#queue = [];
  }

  inspect(): InspectNode {
    return { ready: this.#ready, lights: this.#lights, waiting: this.#queue.length, ...this.#counters };
  }

  /** Strokes that wait are somebody's fingers, and no part of the machine. */
  save(): unknown {
    return { version: 1, ready: this.#ready, lights: this.#lights };
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const { version, ready, lights } = asRecord(saved, 'the keyboard');
    if (version !== 1) throw new RangeError('the keyboard has another version');
    this.#channel = channels[0];
    this.#ready = asBoolean(ready, 'the keyboard') && this.#channel !== undefined;
    this.#lights = asWhole(lights, 'the keyboard', 0xffff);
  }
}

function message(type: number, ...body: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 + body.length * 4));
  [type, ...body].forEach((word, i) => {
    view.setUint32(i * 4, word, true);
  });
  return new Uint8Array(view.buffer);
}
