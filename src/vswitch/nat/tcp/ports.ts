/** What a TCP connection is given by those who hold it. */
import type { StreamFailure } from '../../../host/network.ts';

/** A connection by its four numbers: addresses of IPv4, as numbers. */
export interface FlowKey {
  readonly guestAddress: number;
  readonly guestPort: number;
  /** The other end, as the guest sees it. */
  readonly remoteAddress: number;
  readonly remotePort: number;
}

/** What others need to know of a connection. */
export interface FlowEnds {
  readonly key: FlowKey;
  /** Of the guest's adapter. */
  readonly mac: number;
}

/** A connection that has an acknowledgment to send. */
export interface AckingFlow {
  flushAck(): void;
}

export interface FlowPorts {
  now(): number;
  /** The largest segment that our side of the network takes. */
  readonly mss: number;
  /** Bytes of payload that one frame may carry. */
  readonly largest: number;
  /** Bytes that a connection may hold for its guest, and for the host: less when all together hold much. */
  readonly sendLimit: number;
  readonly receiveLimit: number;
  /** More or fewer bytes are held. */
  charge(bytes: number): void;
  /** False: the way to the guest's adapter is full; `pump` is called when it is not. */
  ready(flow: FlowEnds): boolean;
  /** Whether the guest's adapter takes nothing now: what was sent waits, and is not lost. */
  stalled(flow: FlowEnds): boolean;
  /** `inPlace`: the memory in front of the payload takes the headers, so the payload is not copied. */
  transmit(
    flow: FlowEnds,
    sequence: number,
    acknowledgment: number,
    flags: number,
    window: number,
    options?: Uint8Array,
    payload?: Uint8Array,
    inPlace?: boolean,
    mss?: number,
  ): void;
  /** Calls `flushAck` soon. */
  ackLater(flow: AckingFlow): void;
  /** The host's side could not be opened. `acknowledgment` answers the guest's SYN. */
  refused(flow: FlowEnds, failure: StreamFailure, acknowledgment: number): void;
  /** Answers a segment that acknowledges what was never sent. */
  reset(flow: FlowEnds, sequence: number): void;
  ended(flow: FlowEnds): void;
  /** For statistics. */
  received(bytes: number): void;
  sent(bytes: number): void;
  repeated(): void;
}
