/**
 * What a virtual network needs of the host: time, and sockets for those who share the host's address. Streams and
 * datagrams only: nothing here needs privileges. `node/network.ts` is the machine's.
 */

export interface NetworkTime {
  /** Monotonic milliseconds. */
  now(): number;
  /** Calls back once. Returns what calls it off. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** An IPv4 address in dotted notation (IPv6 where the host itself gives one) with a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Why a stream could not be opened, or ended before its time. */
export type StreamFailure = 'refused' | 'unreachable' | 'timeout' | 'denied' | 'reset' | 'failed';

/**
 * Bytes of memory in front of what a stream delivers that belong to the receiver too: room for headers. Ethernet, IPv4 and TCP
 * with all options take 94.
 */
export const HEADROOM = 96;

/** What a stream tells its owner. */
export interface StreamEvents {
  connected(): void;
  /** The receiver owns the bytes, and HEADROOM bytes of the same buffer in front of them. */
  data(bytes: Uint8Array): void;
  /** The other side sends no more. */
  end(): void;
  /** The host has taken some of what was written: `pending` is smaller. */
  drained(): void;
  /** The last event. Without a failure: both directions have ended. */
  closed(failure: StreamFailure | undefined): void;
}

export interface HostStream {
  /** Bytes that were written and that the host has not taken yet. */
  readonly pending: number;
  /** The bytes belong to the stream and do not change. */
  write(bytes: Uint8Array): void;
  /** Nothing more is written; what was is still delivered. */
  end(): void;
  /** Stops and continues `data`. What is under way may still come. */
  pause(): void;
  resume(): void;
  /** Ends both directions now, as a failure for the other side. No event follows. */
  reset(): void;
}

export interface HostListener {
  readonly port: number;
  close(): void;
}

export interface HostDatagrams {
  readonly port: number;
  send(bytes: Uint8Array, to: Endpoint): void;
  /** Nothing is received after this. */
  close(): void;
}

/** Echo requests over the host (ICMP types 8 and 0). */
export interface HostEcho {
  /** `data` is what follows identifier and sequence number. */
  send(address: string, sequence: number, data: Uint8Array): void;
  close(): void;
}

export interface HostNetwork {
  /** Events come later, never from within the call. */
  connect(to: Endpoint, events: StreamEvents): HostStream;
  /** @throws ViridianError when the address or port cannot be had. */
  listen(at: Endpoint, accepted: (stream: HostStream, peer: Endpoint) => StreamEvents): Promise<HostListener>;
  /**
   * A UDP socket, at an address of its own choice when none is given.
   * @throws ViridianError when the address or port cannot be had.
   */
  datagrams(at: Endpoint | undefined, receive: (bytes: Uint8Array, from: Endpoint) => void): Promise<HostDatagrams>;
  /** Undefined when the host does not let its users send echo requests. */
  echo(receive: (address: string, sequence: number, data: Uint8Array) => void): Promise<HostEcho | undefined>;
  /** The name servers that the host itself asks, IPv4 and IPv6, as of now. */
  resolvers(): readonly Endpoint[];
  /** The host's own addresses, as of now. */
  addresses(): readonly string[];
  random(count: number): Uint8Array;
}

/** What a frame of a device still needs, as for the frames of the virtual switch. */
export interface DeviceFrame {
  readonly bytes: Uint8Array;
  readonly segmentSize: number;
  readonly checksum: 'complete' | 'partial';
}

/** A network device of the host that takes and gives whole Ethernet frames. */
export interface FrameDevice {
  /** As the host calls it. */
  readonly name: string;
  /** False when the host has no room: the frame is lost. */
  send(frame: DeviceFrame): boolean;
  onFrame(receive: (frame: DeviceFrame) => void): void;
  close(): void;
}
