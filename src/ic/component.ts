/**
 * What every integration component does: negotiates versions when the guest opens its channel, sends requests one at a
 * time, matches answers, and gives up waiting in time. A guest that never answers costs nothing but the wait: nothing of
 * the partition depends on it.
 */
import { asRecord } from '../support/plain.ts';
import type { InspectNode } from '../vid/ports.ts';
import type { Channel, ChannelDevice, ChannelOffer, Timers } from '../vmbus/ports.ts';
import { PacketType } from '../vmbus/protocol.ts';
import type { Packet } from '../vmbus/ring.ts';
import {
  decodeFrame,
  decodeNegotiation,
  encodeFrame,
  encodeNegotiation,
  FRAMEWORK_VERSIONS,
  IcFlag,
  IcType,
  type IcVersion,
  sameVersion,
} from './frame.ts';

export interface IcDescription {
  readonly name: string;
  /** GUIDs. */
  readonly type: string;
  readonly instance: string;
  /** The type of its messages. */
  readonly messageType: number;
  /** Message versions it speaks, best first. */
  readonly versions: readonly IcVersion[];
  /** A daemon in the guest may have to start first. Milliseconds. */
  readonly negotiationTimeout: number;
}

export interface IcAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

/** Why a request got no answer. */
export class IcFailure extends Error {
  readonly reason: 'absent' | 'timeout' | 'busy' | 'closed';
  constructor(reason: IcFailure['reason'], message: string) {
    super(message);
    this.name = 'IcFailure';
    this.reason = reason;
  }
}

/** `closed`: no guest driver. `refused`: it speaks none of our versions. `silent`: it has not answered the negotiation. */
export type IcPhase = 'closed' | 'negotiating' | 'silent' | 'refused' | 'ready';
const PHASES: readonly IcPhase[] = ['closed', 'negotiating', 'silent', 'refused', 'ready'];

export interface IcHandlers {
  /** Versions are agreed on. */
  ready?(): void;
  /** No longer ready. */
  lost?(): void;
  /** What is to be shown beside the component's own state. */
  inspect?(): InspectNode;
}

interface Pending {
  readonly transaction: number;
  readonly resolve: (answer: IcAnswer) => void;
  readonly reject: (failure: IcFailure) => void;
  readonly cancel: () => void;
}

interface Waiting {
  readonly body: Uint8Array;
  readonly timeout: number;
  readonly resolve: (answer: IcAnswer) => void;
  readonly reject: (failure: IcFailure) => void;
}

/** Requests that wait for one another. */
const QUEUE = 64;
const TRANSACTIONS = 256;

interface SavedComponent {
  readonly version: 1;
  readonly phase: IcPhase;
  readonly framework: IcVersion;
  readonly message: IcVersion;
  readonly transaction: number;
}

export class IntegrationComponent implements ChannelDevice {
  readonly name: string;
  readonly offer: ChannelOffer;
  readonly #description: IcDescription;
  readonly #timers: Timers;
  readonly #handlers: IcHandlers;
  #channel: Channel | undefined;
  #phase: IcPhase = 'closed';
  #framework: IcVersion = [0, 0];
  #message: IcVersion = [0, 0];
  #transaction = 0;
  #negotiation: (() => void) | undefined;
  #pending: Pending | undefined;
  #queue: Waiting[] = [];
  readonly counters = { requests: 0, answers: 0, timeouts: 0, unexpected: 0 };

  constructor(description: IcDescription, timers: Timers, handlers: IcHandlers = {}) {
    this.name = description.name;
    this.offer = { type: description.type, instance: description.instance };
    this.#description = description;
    this.#timers = timers;
    this.#handlers = handlers;
  }

  get ready(): boolean {
    return this.#phase === 'ready';
  }
  get phase(): IcPhase {
    return this.#phase;
  }
  /** The message version agreed on. */
  get version(): IcVersion {
    return this.#message;
  }

  /**
   * Asks the guest; one request after the other. Rejects with an IcFailure when there is no answer in `timeout`
   * milliseconds of the guest's time, or nobody to ask.
   */
  request(body: Uint8Array, timeout: number): Promise<IcAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#phase !== 'ready') {
        reject(
          new IcFailure(
            'absent',
            `the guest's ${this.name} component is not there (${this.#phase}): its driver or its daemon does not run`,
          ),
        );
      } else if (this.#queue.length >= QUEUE) {
        reject(new IcFailure('busy', `too many requests wait for the guest's ${this.name} component`));
      } else {
        this.#queue.push({ body, timeout, resolve, reject });
        this.#next();
      }
    });
  }

  /** Requests that were made and have no answer. */
  get outstanding(): number {
    return this.#queue.length + (this.#pending ? 1 : 0);
  }

  #next(): void {
    if (this.#pending || this.#phase !== 'ready') return;
    const first = this.#queue[0];
    if (!first || !this.#send(this.#description.messageType, first.body)) return;
    this.#queue.shift();
    this.counters.requests++;
    const transaction = this.#transaction;
    this.#pending = {
      transaction,
      resolve: first.resolve,
      reject: first.reject,
      cancel: this.#timers.after(first.timeout, () => {
        this.counters.timeouts++;
        this.#pending = undefined;
        first.reject(new IcFailure('timeout', `the guest's ${this.name} component does not answer`));
        this.#next();
      }),
    };
  }

  /** False when the ring has no room: `writable` comes back to it. */
  #send(type: number, body: Uint8Array): boolean {
    this.#transaction = (this.#transaction + 1) % TRANSACTIONS;
    const payload = encodeFrame({
      type,
      framework: this.#framework,
      message: this.#message,
      status: 0,
      transaction: this.#transaction,
      flags: IcFlag.TRANSACTION | IcFlag.REQUEST,
      body,
    });
    return this.#channel?.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload }) ?? false;
  }

  // ---- the channel ----------------------------------------------------------------------------------------------------

  opened(channel: Channel): void {
    this.#channel = channel;
    this.#phase = 'negotiating';
    this.#framework = FRAMEWORK_VERSIONS[0] as IcVersion;
    this.#message = this.#description.versions[0] as IcVersion;
    this.#negotiate();
  }

  #negotiate(): void {
    this.#send(IcType.NEGOTIATE, encodeNegotiation(this.#description.versions));
    this.#awaitNegotiation();
  }

  #awaitNegotiation(): void {
    this.#negotiation = this.#timers.after(this.#description.negotiationTimeout, () => {
      this.#negotiation = undefined;
      // A late answer still counts.
      this.#phase = 'silent';
    });
  }

  received(packet: Packet, channel: Channel): void {
    const frame = packet.type === PacketType.DATA_IN_BAND ? decodeFrame(packet.payload) : undefined;
    // The guest's drivers ask for no completion; whoever does has one.
    if ((packet.flags & 1) !== 0) channel.complete(packet.transactionId, new Uint8Array());
    if (!frame || (frame.flags & IcFlag.RESPONSE) === 0) this.counters.unexpected++;
    else if (frame.type === IcType.NEGOTIATE) this.#negotiated(frame.body);
    else if (this.#pending?.transaction === frame.transaction && frame.type === this.#description.messageType) {
      const { resolve, cancel } = this.#pending;
      cancel();
      this.#pending = undefined;
      this.counters.answers++;
      resolve({ status: frame.status, body: frame.body });
      this.#next();
    } else this.counters.unexpected++;
  }

  #negotiated(body: Uint8Array): void {
    if (this.#phase !== 'negotiating' && this.#phase !== 'silent') {
      this.counters.unexpected++;
      return;
    }
    this.#negotiation?.();
    this.#negotiation = undefined;
    const picked = decodeNegotiation(body);
    const known =
      picked &&
      FRAMEWORK_VERSIONS.some((version) => sameVersion(version, picked.framework)) &&
      this.#description.versions.some((version) => sameVersion(version, picked.message));
    if (!known) {
      this.#phase = 'refused';
      return;
    }
    this.#framework = picked.framework;
    this.#message = picked.message;
    this.#phase = 'ready';
    this.#handlers.ready?.();
    this.#next();
  }

  writable(): void {
    this.#next();
  }

  closed(): void {
    const wasReady = this.ready;
    this.#channel = undefined;
    this.#phase = 'closed';
    this.#negotiation?.();
    this.#negotiation = undefined;
    const failure = new IcFailure('closed', `the guest has let go of its ${this.name} component`);
    this.#pending?.cancel();
    this.#pending?.reject(failure);
    this.#pending = undefined;
    for (const { reject } of this.#queue.splice(0)) reject(failure);
    if (wasReady) this.#handlers.lost?.();
  }

  // ---- state ----------------------------------------------------------------------------------------------------------

  inspect(): InspectNode {
    const versions = this.ready
      ? { framework: this.#framework.join('.'), version: this.#message.join('.'), outstanding: this.outstanding }
      : {};
    return { state: this.#phase, ...versions, ...this.counters, ...this.#handlers.inspect?.() };
  }

  /** A request that has no answer is not part of it: whoever asked is another process then. */
  save(): SavedComponent {
    return {
      version: 1,
      phase: this.#phase,
      framework: this.#framework,
      message: this.#message,
      transaction: this.#transaction,
    };
  }

  restore(saved: unknown, channels: readonly Channel[]): void {
    const { version, phase, framework, message, transaction } = asRecord(saved, this.name) as Partial<SavedComponent>;
    if (
      version !== 1 ||
      phase === undefined ||
      !PHASES.includes(phase) ||
      !isVersion(framework) ||
      !isVersion(message) ||
      !isByte(transaction)
    )
      throw new RangeError(`the saved state of ${this.name} makes no sense`);
    this.#channel = channels[0];
    this.#framework = framework;
    this.#message = message;
    this.#transaction = transaction;
    this.#phase = this.#channel ? phase : 'closed';
    if (this.#phase === 'negotiating') this.#awaitNegotiation();
    // Not before the partition runs: until then its memory is as it was saved.
    this.#timers.after(0, () => {
      if (this.ready) this.#handlers.ready?.();
    });
  }
}

function isByte(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < TRANSACTIONS;
}
function isVersion(value: unknown): value is IcVersion {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    value.every((part) => Number.isInteger(part) && part >= 0 && part <= 0xffff)
  );
}
