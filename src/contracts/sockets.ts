/** Streams between the host and programs in a guest (AF_VSOCK there), and programs that are run through one. */

/** A stream of bytes each way. Read and write as they come: both ends have bounded buffers. */
export interface GuestStream extends AsyncIterable<Uint8Array> {
  /** The port that was connected to. */
  readonly port: number;
  /** The next bytes; undefined when the guest sends no more. */
  read(): Promise<Uint8Array | undefined>;
  /** Resolves when there is room for more. Rejects with a ViridianError `wrongState` when the stream has ended. */
  write(bytes: Uint8Array): Promise<void>;
  /** Sends no more; what was written still arrives, and the guest may go on sending. */
  end(): void;
  /** Ends both directions at once. */
  destroy(): void;
  /** Resolves when both directions have ended: `ended` in good order, or cut off by either side. */
  readonly closed: Promise<'ended' | 'cut'>;
}

export interface ConnectOptions {
  /** Milliseconds until the attempt fails. Default: 10,000. */
  readonly timeout?: number | undefined;
}

export interface GuestListener {
  /** Takes no further connections; those that there are go on. */
  close(): void;
}

export interface TerminalSize {
  readonly rows: number;
  readonly columns: number;
}

/** What can be done to a program that runs. */
export interface ExecControl {
  /** Of its terminal. */
  resize(size: TerminalSize): void;
  /** To the program and all that it started. @param number such as 15 for SIGTERM */
  signal(number: number): void;
}

export interface ExecOptions {
  readonly stdin?: Uint8Array | AsyncIterable<Uint8Array> | undefined;
  /** Told of output as it comes; otherwise it is in the result. What is promised is waited for, and holds up the program. */
  readonly onStdout?: ((bytes: Uint8Array) => unknown) | undefined;
  readonly onStderr?: ((bytes: Uint8Array) => unknown) | undefined;
  readonly environment?: Readonly<Record<string, string>> | undefined;
  readonly folder?: string | undefined;
  /** The program gets a terminal; its errors are among its output then. TERM is of the environment. */
  readonly terminal?: TerminalSize | undefined;
  /** The program has been described to the guest and begins. */
  readonly onStart?: ((control: ExecControl) => void) | undefined;
  /** Milliseconds until the guest's agent must have answered. Default: 10,000. */
  readonly timeout?: number | undefined;
}

export interface ExecResult {
  /** The program's exit code; 128 and the signal's number when a signal ended it; 127 when there is no such program. */
  readonly code: number;
  /** Empty where `onStdout` or `onStderr` took it. */
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}
