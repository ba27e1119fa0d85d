/**
 * What an adapter and the virtual switch say to each other: whole Ethernet frames, with what is left to do on them.
 * Offloads follow [MS-RNDIS] and NDIS: a guest may hand over a TCP segment of up to 64 KiB to be cut later, and leave
 * checksums to whoever sends the frame on. A frame that never reaches a wire never needs either.
 */

/** An Ethernet frame: destination, source, type, payload; no preamble, no frame check sequence. */
export interface Frame {
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
export interface SwitchPort {
  /** From the adapter into the switch. The switch drops what it has no room for, and counts it. */
  send(frame: Frame): void;
  /**
   * Sets who takes frames out of the switch. False: no room now, keep the frame; the adapter calls `resume` when there is.
   * The switch keeps at most a bounded number of bytes for an adapter, and drops the newest after that.
   */
  onFrame(receive: (frame: Frame) => boolean): void;
  /** There is room again: the switch offers what it kept. */
  resume(): void;
  /** Sets who hears that the link went up or down; called once with the state at the time. */
  onLink(changed: (up: boolean) => void): void;
  /** Unplugs the adapter. */
  close(): void;
}
