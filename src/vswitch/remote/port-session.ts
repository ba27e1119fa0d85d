/**
 * A worker's connection for one adapter, as the switch process serves it. What comes in is a worker's, and behind it a guest's: it is
 * believed as far as its port allows, and whatever breaks the protocol ends this connection alone.
 */
import type { Frame, SwitchPort } from '../port.ts';
import { Kind, type Message, MessageReader, MessageWriter, WIRE_VERSION, type Wire } from './wire.ts';

/** Bytes on their way to a worker; what comes then waits at the port, where it is counted. */
const MOST_UNSENT = 2 ** 20;

export interface SessionOwner {
  /** The port of this id, which the session has from now on. A text: why not. */
  claim(id: string, session: PortSession): string | undefined;
  /** The session is over. */
  released(session: PortSession): void;
}

export class PortSession {
  readonly #wire: Wire;
  readonly #owner: SessionOwner;
  readonly #reader: MessageReader;
  readonly #writer: MessageWriter;
  #port: SwitchPort | undefined;
  #claimed = false;
  #stopped = false;
  #blocked = false;
  #closed = false;

  constructor(wire: Wire, owner: SessionOwner) {
    this.#wire = wire;
    this.#owner = owner;
    this.#reader = new MessageReader((message) => this.#message(message));
    this.#writer = new MessageWriter(wire);
  }

  /** It has said which port it is for. */
  get claimed(): boolean {
    return this.#claimed;
  }

  // ---------------------------------------------------------------------------------------------------- from the worker

  received(chunk: Uint8Array): void {
    if (!this.#closed && !this.#reader.push(chunk)) this.close();
  }

  #message(message: Message): void {
    if (this.#closed) return;
    if (!this.#claimed) return this.#hello(message);
    switch (message.kind) {
      case Kind.FRAME:
        this.#port?.send(message.frame);
        return;
      case Kind.STOP:
        this.#stopped = true;
        return;
      case Kind.GO:
        this.#stopped = false;
        return this.#goOn();
      default:
        return this.close();
    }
  }

  #hello(message: Message): void {
    const id = message.kind === Kind.HELLO ? portIn(message.bytes) : undefined;
    if (id === undefined) return this.refuse('this is no adapter');
    this.#claimed = true;
    const refusal = this.#owner.claim(id, this);
    if (refusal !== undefined) this.refuse(refusal);
  }

  /** The wire has taken what was written. */
  drained(): void {
    this.#goOn();
  }

  #goOn(): void {
    if (!this.#blocked || this.#stopped) return;
    this.#blocked = false;
    this.#port?.resume();
  }

  // ------------------------------------------------------------------------------------------------------ to the worker

  /** Plugs the session into a port, or, with undefined, out. */
  plug(port: SwitchPort | undefined): void {
    if (port === undefined && this.#port !== undefined) this.#writer.link(false);
    this.#port = port;
    this.#blocked = false;
    port?.onFrame((frame) => this.#deliver(port, frame));
    port?.onLink((up) => {
      if (!this.#closed && this.#port === port) this.#writer.link(up);
    });
  }

  #deliver(port: SwitchPort, frame: Frame): boolean {
    if (this.#closed || this.#port !== port) return true;
    if (this.#stopped || this.#writer.unsent > MOST_UNSENT) {
      this.#blocked = true;
      return false;
    }
    this.#writer.frame(frame);
    return true;
  }

  /** Says why, and closes. */
  refuse(reason: string): void {
    if (this.#closed) return;
    this.#writer.text(Kind.REFUSED, reason);
    this.#writer.flush();
    this.#wire.end();
    this.#over();
  }

  close(): void {
    if (this.#closed) return;
    this.#wire.destroy();
    this.#over();
  }

  /** The worker has closed its end. */
  closed(): void {
    if (!this.#closed) this.#over();
  }

  #over(): void {
    this.#closed = true;
    this.#port = undefined;
    this.#owner.released(this);
  }
}

/** What a HELLO asks for; undefined: it is none. */
function portIn(bytes: Uint8Array): string | undefined {
  try {
    const hello: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (typeof hello !== 'object' || hello === null) return undefined;
    const { version, port } = hello as { version?: unknown; port?: unknown };
    return version === WIRE_VERSION && typeof port === 'string' ? port : undefined;
  } catch {
    return undefined;
  }
}
