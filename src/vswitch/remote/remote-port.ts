/**
 * A port of a switch in another process, as an adapter of this one sees it: it connects, says which port it is, and connects again when
 * the switch process is lost. The guest's cable stays plugged in meanwhile, for a few seconds.
 */
import type { NetworkTime } from '../../host/network.ts';
import { FrameQueue } from '../frame-queue.ts';
import type { Frame, SwitchPort } from '../port.ts';
import { Kind, type Message, MessageReader, MessageWriter, WIRE_VERSION, type Wire, type WireEvents } from './wire.ts';

/** Bytes on their way to the switch; what the guest sends beyond that is dropped, as on a wire that is too slow. */
const MOST_UNSENT = 4 * 2 ** 20;
/** Milliseconds between attempts. */
const RETRY_FIRST = 50;
const RETRY_LAST = 1000;
/** Milliseconds for which the guest does not notice. */
const GRACE = 4000;

export interface RemotePortOptions {
  /** What the switch process knows the port by; undefined: the adapter is connected to nothing. */
  readonly id: string | undefined;
  /** Opens a wire. What becomes of it, it tells later. */
  open(events: WireEvents): Wire;
  readonly time: NetworkTime;
}

export class RemotePort implements SwitchPort {
  readonly #options: RemotePortOptions;
  #id: string | undefined;
  #wire: Wire | undefined;
  #writer: MessageWriter | undefined;
  /** What the switch says of the cable; undefined: it has said nothing yet. */
  #plugged: boolean | undefined;
  /** What the adapter was told. */
  #up = false;
  #lostSince: number | undefined;
  #retry = RETRY_FIRST;
  #receive: ((frame: Frame) => boolean) | undefined;
  #linkChanged: ((up: boolean) => void) | undefined;
  readonly #waiting = new FrameQueue();
  #stopped = false;
  #closed = false;
  readonly #timers = new Set<() => void>();
  #refusal = '';
  readonly counters = { droppedFrames: 0, connections: 0 };

  constructor(options: RemotePortOptions) {
    this.#options = options;
    this.#id = options.id;
    // A switch that is there answers before a guest has looked.
    this.#up = options.id !== undefined;
    if (options.id !== undefined) this.#connect();
  }

  /** Whether it is to be connected at all. */
  get target(): string | undefined {
    return this.#id;
  }

  /** Why the switch process has refused it last; empty: it has not. */
  get refusal(): string {
    return this.#refusal;
  }

  /** Plugs the cable in elsewhere, or, with undefined, nowhere. */
  retarget(id: string | undefined): void {
    if (id === this.#id || this.#closed) return;
    this.#id = id;
    this.#drop();
    this.#cancelTimers();
    this.#tell(false);
    this.#lostSince = undefined;
    this.#retry = RETRY_FIRST;
    if (id !== undefined) this.#connect();
  }

  // ---------------------------------------------------------------------------------------------------- the connection

  #connect(): void {
    const reader = new MessageReader((message) => {
      if (this.#wire === wire) this.#message(message);
    });
    const wire = this.#options.open({
      received: (chunk) => {
        if (this.#wire !== wire || reader.push(chunk)) return;
        wire.destroy();
        this.#lost();
      },
      drained: () => {},
      closed: () => {
        if (this.#wire === wire) this.#lost();
      },
    });
    this.#wire = wire;
    this.#writer = new MessageWriter(wire);
    this.#plugged = undefined;
    this.#stopped = false;
    this.#waiting.clear();
    this.#writer.text(Kind.HELLO, JSON.stringify({ version: WIRE_VERSION, port: this.#id }));
  }

  #drop(): void {
    const wire = this.#wire;
    this.#wire = undefined;
    this.#writer = undefined;
    this.#plugged = undefined;
    wire?.destroy();
  }

  #lost(): void {
    this.#drop();
    if (this.#closed || this.#id === undefined) return;
    if (this.#lostSince === undefined) {
      this.#lostSince = this.#options.time.now();
      this.#after(GRACE, () => {
        if (this.#lostSince !== undefined) this.#tell(false);
      });
    }
    this.#after(this.#retry, () => {
      if (this.#wire === undefined && this.#id !== undefined) this.#connect();
    });
    this.#retry = Math.min(RETRY_LAST, this.#retry * 2);
  }

  #message(message: Message): void {
    switch (message.kind) {
      case Kind.FRAME:
        return this.#frame(message.frame);
      case Kind.LINK:
        if (this.#plugged === undefined) {
          this.counters.connections++;
          this.#lostSince = undefined;
          this.#retry = RETRY_FIRST;
          this.#refusal = '';
          this.#cancelTimers();
        }
        this.#plugged = message.bytes[0] === 1;
        return this.#tell(this.#plugged);
      case Kind.REFUSED:
        this.#refusal = new TextDecoder().decode(message.bytes);
        return;
      default:
        // A worker's own words.
        return;
    }
  }

  #tell(up: boolean): void {
    if (this.#up === up) return;
    this.#up = up;
    this.#linkChanged?.(up);
  }

  // ------------------------------------------------------------------------------------------------------------- frames

  send(frame: Frame): void {
    const writer = this.#writer;
    if (writer === undefined || this.#plugged !== true || writer.unsent > MOST_UNSENT) {
      this.counters.droppedFrames++;
      return;
    }
    writer.frame(frame);
  }

  #frame(frame: Frame): void {
    if (this.#waiting.length === 0 && this.#receive?.(frame) === true) return;
    this.#waiting.push(frame);
    if (this.#stopped) return;
    // The switch is told, so that it knows who takes nothing; what is on its way waits in the host's buffers.
    this.#stopped = true;
    this.#writer?.signal(Kind.STOP);
    this.#wire?.pause();
  }

  resume(): void {
    for (let frame = this.#waiting.head; frame !== undefined; frame = this.#waiting.head) {
      if (this.#receive?.(frame) !== true) return;
      this.#waiting.shift();
    }
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#writer?.signal(Kind.GO);
    this.#wire?.resume();
  }

  onFrame(receive: (frame: Frame) => boolean): void {
    this.#receive = receive;
    this.resume();
  }

  onLink(changed: (up: boolean) => void): void {
    this.#linkChanged = changed;
    changed(this.#up);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#receive = undefined;
    this.#linkChanged = undefined;
    this.#cancelTimers();
    this.#waiting.clear();
    this.#drop();
  }

  #after(milliseconds: number, callback: () => void): void {
    const cancel = this.#options.time.after(milliseconds, () => {
      this.#timers.delete(cancel);
      callback();
    });
    this.#timers.add(cancel);
  }

  #cancelTimers(): void {
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
  }
}
