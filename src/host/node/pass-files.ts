/**
 * Open files handed from one process to another (unix(7), SCM_RIGHTS): for a process that may not open them itself. Datagrams
 * to a socket in the receiver's folder, each with names and as many descriptors. Needs the C library (libc.ts).
 */
import { closeSync, constants, openSync } from 'node:fs';
import { libc } from './libc.ts';

const [AF_UNIX, SOCK_DGRAM, SOCK_CLOEXEC] = [1, 2, 0x8_0000] as const;
const [SOL_SOCKET, SCM_RIGHTS] = [1, 1] as const;
const [MSG_DONTWAIT, MSG_CMSG_CLOEXEC] = [0x40, 0x4000_0000] as const;
/** SCM_MAX_FD is 253. */
const MOST_FILES = 200;

/** One buffer: struct msghdr, one struct iovec, control data, struct sockaddr_un, then the names. */
const Layout = { HEADER: 0, VECTOR: 64, CONTROL: 128, ADDRESS: 2048, DATA: 4096, SIZE: 65536 } as const;
const MessageHeader = { NAME: 0, NAME_LENGTH: 8, VECTOR: 16, VECTORS: 24, CONTROL: 32, CONTROL_LENGTH: 40 } as const;
const CONTROL_HEADER = 16;

export interface PassedFile {
  readonly path: string;
  readonly writable: boolean;
}

interface Message {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly view: DataView<ArrayBuffer>;
  readonly address: bigint;
}

type LibC = NonNullable<ReturnType<typeof libc>>;

function makeMessage(c: LibC, dataLength: number, controlLength: number): Message {
  const bytes = new Uint8Array(new ArrayBuffer(Layout.SIZE));
  const view = new DataView(bytes.buffer);
  const address = c.address(bytes);
  const point = (at: number, to: number): void => view.setBigUint64(at, address + BigInt(to), true);
  point(Layout.HEADER + MessageHeader.VECTOR, Layout.VECTOR);
  view.setBigUint64(Layout.HEADER + MessageHeader.VECTORS, 1n, true);
  point(Layout.HEADER + MessageHeader.CONTROL, Layout.CONTROL);
  view.setBigUint64(Layout.HEADER + MessageHeader.CONTROL_LENGTH, BigInt(controlLength), true);
  point(Layout.VECTOR, Layout.DATA);
  view.setBigUint64(Layout.VECTOR + 8, BigInt(dataLength), true);
  return { bytes, view, address };
}

/** struct sockaddr_un. @throws RangeError when the path is too long for one. */
function socketAddress(path: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(path);
  if (text.length > 107) throw new RangeError(`the path of a socket is too long: ${path}`);
  const address = new Uint8Array(new ArrayBuffer(2 + text.length + 1));
  address[0] = AF_UNIX;
  address.set(text, 2);
  return address;
}

function unixSocket(c: LibC): number {
  const fd = c.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new Error(`socket: error ${-fd}`);
  return fd;
}

/**
 * Opens files and hands them to whoever receives at `socket`. Files that cannot be opened are left out: who needs one says so.
 * @throws Error when nobody receives there.
 */
export function passFiles(socket: string, files: readonly PassedFile[]): void {
  const c = libc();
  if (c === undefined) throw new Error('files cannot be handed to another process without node:ffi');
  const opened: { readonly file: PassedFile; readonly fd: number }[] = [];
  const from = unixSocket(c);
  try {
    for (const file of files.slice(0, MOST_FILES)) {
      try {
        const flags = (file.writable ? constants.O_RDWR : constants.O_RDONLY) | constants.O_NONBLOCK;
        opened.push({ file, fd: openSync(file.path, flags) });
      } catch {}
    }
    if (opened.length === 0) return;
    const names = new TextEncoder().encode(JSON.stringify(opened.map(({ file }) => file)));
    if (names.length > Layout.SIZE - Layout.DATA) throw new RangeError('too many files to hand over');
    const control = CONTROL_HEADER + opened.length * 4;
    const { bytes, view, address } = makeMessage(c, names.length, Math.ceil(control / 8) * 8);
    const to = socketAddress(socket);
    bytes.set(to, Layout.ADDRESS);
    view.setBigUint64(Layout.HEADER + MessageHeader.NAME, address + BigInt(Layout.ADDRESS), true);
    view.setUint32(Layout.HEADER + MessageHeader.NAME_LENGTH, to.length, true);
    bytes.set(names, Layout.DATA);
    view.setBigUint64(Layout.CONTROL, BigInt(control), true);
    view.setInt32(Layout.CONTROL + 8, SOL_SOCKET, true);
    view.setInt32(Layout.CONTROL + 12, SCM_RIGHTS, true);
    opened.forEach(({ fd }, i) => {
      view.setInt32(Layout.CONTROL + CONTROL_HEADER + i * 4, fd, true);
    });
    const sent = c.sendmsg(from, address, MSG_DONTWAIT);
    if (sent < 0) throw new Error(`files cannot be handed to the worker: error ${-sent}`);
  } finally {
    for (const { fd } of opened) closeSync(fd);
    closeSync(from);
  }
}

/** The receiving end. */
export class FileReceiver {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Undefined where files cannot be received. */
  static listen(socket: string): FileReceiver | undefined {
    const c = libc();
    if (c === undefined) return undefined;
    const fd = unixSocket(c);
    if (c.bind(fd, socketAddress(socket)) === 0) return new FileReceiver(fd);
    closeSync(fd);
    return undefined;
  }

  /** What has come: the receiver's to close. */
  take(): (PassedFile & { readonly fd: number })[] {
    const files: (PassedFile & { readonly fd: number })[] = [];
    const c = libc();
    for (;;) {
      const room = Layout.SIZE - Layout.DATA;
      const message = c && makeMessage(c, room, Layout.ADDRESS - Layout.CONTROL);
      const length = message ? c.recvmsg(this.#fd, message.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) : -1;
      if (message === undefined || length < 0) return files;
      const { bytes, view } = message;
      const control = Number(view.getBigUint64(Layout.HEADER + MessageHeader.CONTROL_LENGTH, true));
      const isRights = control >= CONTROL_HEADER && view.getInt32(Layout.CONTROL + 12, true) === SCM_RIGHTS;
      const end = isRights ? Number(view.getBigUint64(Layout.CONTROL, true)) : 0;
      const fds: number[] = [];
      for (let at = CONTROL_HEADER; at + 4 <= end; at += 4) fds.push(view.getInt32(Layout.CONTROL + at, true));
      const names = JSON.parse(
        new TextDecoder().decode(bytes.subarray(Layout.DATA, Layout.DATA + length)),
      ) as readonly PassedFile[];
      fds.forEach((fd, i) => {
        const name = names[i];
        if (name === undefined) closeSync(fd);
        else files.push({ path: name.path, writable: name.writable, fd });
      });
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
