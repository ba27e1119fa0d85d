/**
 * The synthetic video device: agrees on the version, offers resolutions, has the memory for the frame buffer put where the
 * guest wants it, and gives what is in it as an image.
 */
import { asBoolean, asRecord, asWhole } from '../../support/plain.ts';
import type { InspectNode } from '../../vid/ports.ts';
import type { Channel, ChannelDevice, ChannelOffer } from '../../vmbus/ports.ts';
import { PacketFlag, PacketType } from '../../vmbus/protocol.ts';
import { type Packet, viewOf } from '../../vmbus/ring.ts';
import { Dirt, type Rectangle } from './dirt.ts';
import {
  BODY,
  DIRT_RECTANGLE,
  EDID_SIZE,
  MESSAGE_HEADER,
  OUTPUTS,
  PIPE_DATA,
  PIPE_HEADER,
  RESOLUTIONS,
  Situation,
  VIDEO_INSTANCE,
  VIDEO_TYPE,
  VIDEO_VERSIONS,
  VideoMessage,
  VRAM_MEGABYTES,
  VramLocation,
} from './protocol.ts';

/** The frame buffer's memory. */
export interface Vram {
  readonly bytes: Uint8Array;
  /** Lets the guest see it at this address; false when it may not be there. */
  place(gpa: bigint): boolean;
}

/** Pixels from left to right and top to bottom; red, green, blue. */
export interface Image {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array<ArrayBuffer>;
}

/** A part of the screen that has changed. */
export interface ScreenPart extends Rectangle {
  /** Up to which change it shows the screen; the next question is for what comes after. */
  readonly change: number;
  /** Of the whole screen. */
  readonly screenWidth: number;
  readonly screenHeight: number;
  readonly image: Image;
}

interface Mode {
  readonly offset: number;
  readonly depth: number;
  readonly width: number;
  readonly height: number;
  readonly pitch: number;
}

export class SyntheticVideo implements ChannelDevice {
  readonly name = 'video';
  readonly offer: ChannelOffer = { type: VIDEO_TYPE, instance: VIDEO_INSTANCE, mmioMegabytes: VRAM_MEGABYTES };
  readonly #vram: Vram;
  #channel: Channel | undefined;
  #placed = false;
  #mode: Mode | undefined;
  /** Of the mode; known only while there is one. */
  #dirt: Dirt | undefined;
  /** Whether the guest says what it draws; one that does not may have drawn anywhere. */
  #tells = false;
  readonly #counters = { dirt: 0, malformed: 0, lost: 0 };

  constructor(vram: Vram) {
    this.#vram = vram;
  }

  /** What is on the screen; undefined when the guest shows nothing. */
  image(): Image | undefined {
    if (!this.#mode || !this.#placed) return undefined;
    const { width, height } = this.#mode;
    return this.#pixels(this.#mode, { x: 0, y: 0, width, height });
  }

  /**
   * What has changed after a change whose number a watcher knows; 0: nothing is known. Undefined when the guest shows
   * nothing, null when nothing has changed.
   */
  changed(after: number): ScreenPart | null | undefined {
    if (!this.#mode || !this.#placed || !this.#dirt) return undefined;
    if (!this.#tells) this.#dirt.markAll();
    const { change } = this.#dirt;
    const part = this.#dirt.since(after);
    if (part === undefined) return null;
    const { width: screenWidth, height: screenHeight } = this.#mode;
    return { ...part, change, screenWidth, screenHeight, image: this.#pixels(this.#mode, part) };
  }

  #pixels({ offset, depth, pitch }: Mode, { x: left, y: top, width, height }: Rectangle): Image {
    const rgb = new Uint8Array(width * height * 3);
    const { bytes } = this.#vram;
    for (let y = 0, to = 0; y < height; y++) {
      let from = offset + (top + y) * pitch + (left * depth) / 8;
      for (let x = 0; x < width; x++, to += 3) {
        if (depth === 32) {
          rgb[to] = bytes[from + 2] as number;
          rgb[to + 1] = bytes[from + 1] as number;
          rgb[to + 2] = bytes[from] as number;
          from += 4;
        } else {
          const pixel = (bytes[from] as number) | ((bytes[from + 1] as number) << 8);
          rgb[to] = ((pixel >> 11) * 255) / 31;
          rgb[to + 1] = (((pixel >> 5) & 63) * 255) / 63;
          rgb[to + 2] = ((pixel & 31) * 255) / 31;
          from += 2;
        }
      }
    }
    return { width, height, rgb };
  }

  opened(channel: Channel): void {
    this.#channel = channel;
  }

  received(packet: Packet, channel: Channel): void {
    if ((packet.flags & PacketFlag.COMPLETION_REQUESTED) !== 0)
      channel.complete(packet.transactionId, new Uint8Array());
    const view = viewOf(packet.payload);
    const whole = packet.type === PacketType.DATA_IN_BAND && view.byteLength >= BODY;
    const handler = whole && view.getUint32(0, true) === PIPE_DATA ? HANDLERS.get(view.getUint32(8, true)) : undefined;
    if (handler && view.byteLength >= handler.size) handler.run(this, view);
    else this.#counters.malformed++;
  }

  versionRequest(view: DataView): void {
    const version = view.getUint32(BODY, true);
    const body = viewOf(new Uint8Array(6));
    body.setUint32(0, version, true);
    body.setUint8(4, VIDEO_VERSIONS.includes(version) ? 1 : 0);
    body.setUint8(5, OUTPUTS);
    this.#send(VideoMessage.VERSION_RESPONSE, body);
  }

  resolutionRequest(view: DataView): void {
    const count = Math.min(RESOLUTIONS.length, view.getUint8(BODY));
    const body = viewOf(new Uint8Array(EDID_SIZE + 3 + count * 4));
    body.setUint8(EDID_SIZE, count);
    RESOLUTIONS.slice(0, count).forEach(([width, height], i) => {
      body.setUint16(EDID_SIZE + 3 + i * 4, width, true);
      body.setUint16(EDID_SIZE + 5 + i * 4, height, true);
    });
    this.#send(VideoMessage.RESOLUTION_RESPONSE, body);
  }

  vramLocation(view: DataView): void {
    const given = view.getUint8(VramLocation.GIVEN) !== 0;
    this.#placed = given && this.#vram.place(view.getBigUint64(VramLocation.ADDRESS, true));
    if (!this.#placed) this.#counters.malformed++;
    // Whatever it was: guests wait for this.
    const body = viewOf(new Uint8Array(8));
    body.setBigUint64(0, view.getBigUint64(VramLocation.CONTEXT, true), true);
    this.#send(VideoMessage.VRAM_LOCATION_ACK, body);
  }

  situationUpdate(view: DataView): void {
    const word = (at: number): number => view.getUint32(at, true);
    const mode: Mode = {
      offset: word(Situation.OFFSET),
      depth: view.getUint8(Situation.DEPTH),
      width: word(Situation.WIDTH),
      height: word(Situation.HEIGHT),
      pitch: word(Situation.PITCH),
    };
    const active = view.getUint8(Situation.OUTPUTS) > 0 && view.getUint8(Situation.ACTIVE) !== 0;
    const shown = active && this.#fits(mode);
    if (active && !shown) this.#counters.malformed++;
    this.#show(shown ? mode : undefined);
    const body = viewOf(new Uint8Array(8));
    body.setBigUint64(0, view.getBigUint64(Situation.CONTEXT, true), true);
    this.#send(VideoMessage.SITUATION_UPDATE_ACK, body);
    // A guest draws where it is told that somebody looks.
    this.#send(VideoMessage.FEATURE_CHANGE, viewOf(Uint8Array.of(1, 0, 0, 0)));
  }

  /** Whether the whole picture lies in the frame buffer. */
  #fits({ offset, depth, width, height, pitch }: Mode): boolean {
    if ((depth !== 32 && depth !== 16) || width === 0 || height === 0) return false;
    const row = (width * depth) / 8;
    return row <= pitch && offset + (height - 1) * pitch + row <= this.#vram.bytes.length;
  }

  #show(mode: Mode | undefined): void {
    // Numbers go on: a watcher of the mode before has seen nothing of this one.
    const next = (this.#dirt?.change ?? 0) + 1;
    this.#mode = mode;
    this.#tells = false;
    if (mode) this.#dirt = new Dirt(mode.width, mode.height, next);
  }

  dirt(view: DataView): void {
    const count = view.getUint8(BODY + 1);
    const first = BODY + 2;
    if (view.byteLength < first + count * DIRT_RECTANGLE) {
      this.#counters.malformed++;
      return;
    }
    this.#counters.dirt++;
    this.#tells = true;
    for (let i = 0, at = first; i < count; i++, at += DIRT_RECTANGLE) {
      const edge = (n: number): number => view.getInt32(at + n * 4, true);
      this.#dirt?.mark(edge(0), edge(1), edge(2), edge(3));
    }
  }

  #send(type: number, body: DataView): void {
    const payload = new Uint8Array(BODY + body.byteLength);
    const view = viewOf(payload);
    view.setUint32(0, PIPE_DATA, true);
    view.setUint32(4, payload.length - PIPE_HEADER, true);
    view.setUint32(8, type, true);
    view.setUint32(12, body.byteLength + MESSAGE_HEADER, true);
    payload.set(new Uint8Array(body.buffer, body.byteOffset, body.byteLength), BODY);
    // The ring has room for hundreds; a guest that takes none gets none.
    if (!this.#channel?.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload })) this.#counters.lost++;
  }

  closed(): void {
    this.#channel = undefined;
    this.#show(undefined);
    this.#placed = false;
  }

  inspect(): InspectNode {
    const mode = this.#mode ? { width: this.#mode.width, height: this.#mode.height, depth: this.#mode.depth } : {};
    return { placed: this.#placed, ...mode, ...this.#counters };
  }

  save(): unknown {
    return { version: 1, placed: this.#placed, mode: this.#mode ?? null };
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const { version, placed, mode } = asRecord(saved, 'the video device');
    if (version !== 1) throw new RangeError('the video device has another version');
    this.#channel = channels[0];
    this.#placed = asBoolean(placed, 'the video device');
    const shown = mode === null ? undefined : parseMode(mode);
    if (shown && !this.#fits(shown)) throw new RangeError('the video mode makes no sense');
    // What watchers have seen is not saved: all of it has changed for them.
    this.#show(shown);
  }
}

function parseMode(plain: unknown): Mode {
  const mode = asRecord(plain, 'the video mode');
  const word = (name: keyof Mode): number => asWhole(mode[name], 'the video mode', 0xffff_ffff);
  return {
    offset: word('offset'),
    depth: word('depth'),
    width: word('width'),
    height: word('height'),
    pitch: word('pitch'),
  };
}

const ignore = (): void => undefined;

interface Handler {
  readonly size: number;
  readonly run: (video: SyntheticVideo, view: DataView) => void;
}

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [VideoMessage.VERSION_REQUEST, { size: BODY + 4, run: (video, view) => video.versionRequest(view) }],
  [VideoMessage.RESOLUTION_REQUEST, { size: BODY + 1, run: (video, view) => video.resolutionRequest(view) }],
  [VideoMessage.VRAM_LOCATION, { size: VramLocation.SIZE, run: (video, view) => video.vramLocation(view) }],
  [VideoMessage.SITUATION_UPDATE, { size: Situation.SIZE, run: (video, view) => video.situationUpdate(view) }],
  [VideoMessage.DIRT, { size: BODY + 2, run: (video, view) => video.dirt(view) }],
  // The pointer is drawn by whoever shows the picture.
  [VideoMessage.POINTER_POSITION, { size: BODY, run: ignore }],
  [VideoMessage.POINTER_SHAPE, { size: BODY, run: ignore }],
]);
