/** The clocks a partition is given. Nothing in a partition reads the host's time in any other way. */
export interface Clock {
  /** Nanoseconds since the partition was created, never backwards. In `--clock instructions` a function of retired instructions. */
  now(): bigint;
  /** Calendar time in milliseconds since 1970 UTC, for the RTC. A fixed origin plus now() in `--clock instructions`. */
  calendar(): number;
}

/** The host's own clocks, from which a partition's clock is made. */
export interface HostTime {
  /** Monotonic nanoseconds. */
  monotonic(): bigint;
  /** Milliseconds since 1970 UTC. */
  calendar(): number;
}
