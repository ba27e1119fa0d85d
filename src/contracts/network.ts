/**
 * What an adapter and a virtual switch say to each other: whole Ethernet frames, with what is left to do on them; and the
 * adapters that a partition is given. Offloads follow [MS-RNDIS] and NDIS: a guest may hand over a TCP segment of up to 64 KiB
 * to be cut later, and leave checksums to whoever sends the frame on. A frame that never reaches a wire never needs either.
 */

/** An Ethernet frame: destination, source, type, payload; no preamble, no frame check sequence. */
export interface NetworkFrame {
  /** Who takes a frame owns its bytes: they do not change afterwards. */
  readonly bytes: Uint8Array;
  /** TCP payload bytes of each segment that this frame stands for; 0: one frame as it is. */
  readonly segmentSize: number;
  /**
   * `complete`: checksums are right. `partial`: the TCP or UDP checksum field holds the sum of the pseudo header only, or
   * nothing, and IPv4's header checksum may be missing too: whoever needs them computes them from the frame.
   */
  readonly checksum: 'complete' | 'partial';
}

/** The switch's side of one connection, as an adapter sees it. */
export interface NetworkPort {
  /** From the adapter into the switch. The switch drops what it has no room for, and counts it. */
  send(frame: NetworkFrame): void;
  /**
   * Sets who takes frames out of the switch. False: no room now, keep the frame; the adapter calls `resume` when there is.
   * The switch keeps at most a bounded number of bytes for an adapter, and drops the newest after that.
   */
  onFrame(receive: (frame: NetworkFrame) => boolean): void;
  /** There is room again: the switch offers what it kept. */
  resume(): void;
  /** Sets who hears that the link went up or down; called once with the state at the time. */
  onLink(changed: (up: boolean) => void): void;
  /** Unplugs the adapter. */
  close(): void;
}

/** A port of the host that leads to one of the guest. */
export interface PortForward {
  readonly protocol: 'tcp' | 'udp';
  /** The host's address to listen at. Default: 127.0.0.1. */
  readonly hostAddress?: string | undefined;
  readonly hostPort: number;
  readonly guestPort: number;
}

/** A port of the host itself. */
export interface HostService {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

/** A synthetic network adapter. The guest needs hv_netvsc. */
export interface NicOptions {
  /**
   * Where the cable goes. `nat`: to a network of this partition's own, from which the guest reaches what the host reaches, and
   * not the host itself. `private`: to the partition's other private adapters, and nowhere else. Or a port of any switch.
   */
  readonly network: 'nat' | 'private' | NetworkPort;
  /** Unique in the partition. Default: `nic0`, `nic1`, and so on. */
  readonly name?: string | undefined;
  /** `00-15-5D-xx-xx-xx`. Default: one that is unique in the partition, and stays the same. */
  readonly mac?: string | undefined;
  /** The port's VLAN, 1 to 4094: the guest's frames have no tag of their own. Not with a port. */
  readonly vlan?: number | undefined;
  /** Bytes of payload in a frame, 576 to 9000. Default: 1500. */
  readonly mtu?: number | undefined;
  /**
   * The guest gets what belongs together in a TCP stream in frames larger than the MTU (NDIS's receive segment coalescing). Less
   * work for it, but Linux says once in its log that it finds that suspect. Default: false.
   */
  readonly largeFrames?: boolean | undefined;
  /** With `nat`. */
  readonly forwards?: readonly PortForward[] | undefined;
  /** With `nat`: ports of the host's loopback address that the guest reaches at its gateway's. Default: none. */
  readonly hostAccess?: readonly HostService[] | undefined;
  /** A pcap file that gets what passes this adapter. Not with a port. */
  readonly capture?: string | undefined;
}
