/**
 * Programs run in a guest, through the agent that images of ours listen with (guest/agent/): a stream of frames
 * {u8 type, u32 length, big-endian, bytes} each way. The host sends the program's arguments, environment and folder, then
 * its input; the guest its output, and at the end its exit code.
 */
import { ViridianError } from './errors.ts';
import type { ExecControl, ExecOptions, ExecResult, GuestStream, TerminalSize } from './sockets.ts';

/** "hv" over the first service. */
export const EXEC_PORT = 0x6876_0001;

export const ExecFrame = {
  /** Host: strings, each with a NUL behind it. */
  ARGUMENTS: 1,
  /** NAME=VALUE, each with a NUL behind it. */
  ENVIRONMENT: 2,
  FOLDER: 3,
  /** What was described is to begin. */
  START: 4,
  STDIN: 5,
  STDIN_END: 6,
  /** Before START: the program gets a terminal of this size. u16 rows, u16 columns, big-endian. */
  TERMINAL: 7,
  /** Its size from now on. */
  SIZE: 8,
  /** One byte, a signal's number: to the program and all that it started. */
  SIGNAL: 9,
  /** Guest. */
  STDOUT: 17,
  STDERR: 18,
  /** One byte. */
  EXIT: 19,
} as const;

const HEADER = 5;
/** Of one frame; the agent keeps to it. */
const LONGEST = 0x1_0000;
const INPUT_PART = 32_768;

/**
 * Without arguments: the login's shell.
 * @throws ViridianError `invalid`
 */
export async function execInGuest(
  connect: (port: number, timeout: number | undefined) => Promise<GuestStream>,
  argv: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> {
  const { environment = {}, folder, timeout, terminal } = options;
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  for (const text of [...argv, ...variables, folder ?? ''])
    if (text.includes('\0')) throw new ViridianError('invalid', 'arguments must not contain a NUL character');
  const stream = await connect(EXEC_PORT, timeout);
  try {
    const strings = (all: readonly string[]): Uint8Array => new TextEncoder().encode(all.map((s) => `${s}\0`).join(''));
    await stream.write(frame(ExecFrame.ARGUMENTS, strings(argv)));
    if (variables.length > 0) await stream.write(frame(ExecFrame.ENVIRONMENT, strings(variables)));
    if (folder !== undefined) await stream.write(frame(ExecFrame.FOLDER, new TextEncoder().encode(folder)));
    if (terminal !== undefined) await stream.write(frame(ExecFrame.TERMINAL, sizeBytes(terminal)));
    await stream.write(frame(ExecFrame.START, new Uint8Array()));
    options.onStart?.(controlOf(stream));
    // Half an input must not look like a whole one.
    const failures: unknown[] = [];
    feed(stream, options.stdin).catch((error: unknown) => {
      failures.push(error);
      stream.destroy();
    });
    try {
      const result = await take(stream, options);
      if (failures.length === 0) return result;
    } catch (error) {
      if (failures.length === 0) throw error;
    }
    throw failures[0];
  } finally {
    stream.destroy();
  }
}

function controlOf(stream: GuestStream): ExecControl {
  // A program that has ended needs neither.
  const send = (type: number, body: Uint8Array): void => void stream.write(frame(type, body)).catch(() => undefined);
  return {
    resize: (size) => send(ExecFrame.SIZE, sizeBytes(size)),
    signal: (number) => send(ExecFrame.SIGNAL, Uint8Array.of(number)),
  };
}

function sizeBytes({ rows, columns }: TerminalSize): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint16(0, rows);
  view.setUint16(2, columns);
  return new Uint8Array(view.buffer);
}

async function feed(stream: GuestStream, stdin: ExecOptions['stdin']): Promise<void> {
  // A program that ends before it has read its input is no failure.
  const send = async (type: number, body: Uint8Array): Promise<boolean> =>
    await stream.write(frame(type, body)).then(
      () => true,
      () => false,
    );
  const parts = stdin instanceof Uint8Array ? [stdin] : (stdin ?? []);
  for await (const bytes of parts)
    for (let at = 0; at < bytes.length; at += INPUT_PART)
      if (!(await send(ExecFrame.STDIN, bytes.subarray(at, at + INPUT_PART)))) return;
  await send(ExecFrame.STDIN_END, new Uint8Array());
}

async function take(stream: GuestStream, { onStdout, onStderr }: ExecOptions): Promise<ExecResult> {
  const stdout: Uint8Array[] = [];
  const stderr: Uint8Array[] = [];
  let rest: Uint8Array = new Uint8Array();
  for await (const bytes of stream) {
    rest = rest.length === 0 ? bytes : joined([rest, bytes]);
    while (rest.length >= HEADER) {
      const length = new DataView(rest.buffer, rest.byteOffset).getUint32(1);
      if (length > LONGEST) throw new ViridianError('failure', "the guest's agent speaks another language");
      if (rest.length < HEADER + length) break;
      const body = rest.slice(HEADER, HEADER + length);
      if (rest[0] === ExecFrame.EXIT) return { code: body[0] ?? 0, stdout: joined(stdout), stderr: joined(stderr) };
      if (rest[0] === ExecFrame.STDOUT) await (onStdout ?? ((part) => stdout.push(part)))(body);
      if (rest[0] === ExecFrame.STDERR) await (onStderr ?? ((part) => stderr.push(part)))(body);
      rest = rest.subarray(HEADER + length);
    }
  }
  throw new ViridianError('failure', "the guest's agent ended before the program did");
}

export function frame(type: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER + body.length);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, body.length);
  bytes.set(body, HEADER);
  return bytes;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
