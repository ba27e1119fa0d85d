/**
 * A TAP device of Linux: Ethernet frames between the host's own network stack and us (tun.txt of the kernel's documentation).
 * Whoever may open /dev/net/tun and has CAP_NET_ADMIN, or owns the device, may use it. Frames carry virtio's header (virtio
 * 1.2, section 5.1.6), so that large segments and checksums need not be finished on either side.
 */
import { closeSync, openSync, read, writeSync } from 'node:fs';
import { ViridianError } from '../../contracts/errors.ts';
import type { DeviceFrame, FrameDevice } from '../network.ts';
import { libc } from './libc.ts';

const TUNSETIFF = 0x4004_54ca;
const TUNSETOFFLOAD = 0x4004_54d0;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 1;
const TUN_F_TSO4 = 2;
const TUN_F_TSO6 = 4;

const VNET_HEADER = 10;
const NEEDS_CSUM = 1;
const GsoType = { NONE: 0, TCPV4: 1, TCPV6: 4 } as const;
/** struct ifreq: the name, and flags behind it. */
const IFNAMSIZ = 16;
const IFREQ = 40;
const LARGEST = VNET_HEADER + 0xffff + 18;
const TCP_CHECKSUM = 16;

/** @throws ViridianError */
export function openTap(name: string): FrameDevice {
  const c = libc();
  if (c === undefined) throw new ViridianError('failure', 'a TAP device needs Linux and Node 26');
  let fd: number;
  try {
    fd = openSync('/dev/net/tun', 'r+');
  } catch (error) {
    throw new ViridianError('denied', 'cannot open /dev/net/tun: a TAP device is not to be had here', { cause: error });
  }
  const request = Buffer.alloc(IFREQ);
  request.write(name.slice(0, IFNAMSIZ - 1), 'latin1');
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, IFNAMSIZ);
  const error = c.ioctl(fd, TUNSETIFF, request);
  if (error !== 0) {
    closeSync(fd);
    throw new ViridianError(
      'denied',
      `cannot use the TAP device ${name}: it takes CAP_NET_ADMIN, or a device that is yours`,
    );
  }
  c.ioctlValue(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6);
  return new TapDevice(request.toString('latin1', 0, request.indexOf(0)), fd);
}

class TapDevice implements FrameDevice {
  readonly name: string;
  readonly #fd: number;
  #receive: ((frame: DeviceFrame) => void) | undefined;
  #closed = false;
  #reading = false;

  constructor(name: string, fd: number) {
    this.name = name;
    this.#fd = fd;
  }

  send(frame: DeviceFrame): boolean {
    if (this.#closed) return false;
    const { bytes, segmentSize } = frame;
    const message = Buffer.alloc(VNET_HEADER + bytes.length);
    message.set(bytes, VNET_HEADER);
    if (frame.checksum === 'partial') putChecksumRequest(message, segmentSize);
    try {
      return writeSync(this.#fd, message) === message.length;
    } catch {
      return false;
    }
  }

  onFrame(receive: (frame: DeviceFrame) => void): void {
    const first = this.#receive === undefined;
    this.#receive = receive;
    if (first) this.#read();
  }

  /** A read waits in a thread of Node's pool: the device cannot be polled through Node. */
  #read(): void {
    const buffer = Buffer.allocUnsafeSlow(LARGEST);
    this.#reading = true;
    read(this.#fd, buffer, 0, buffer.length, null, (error, count) => {
      this.#reading = false;
      if (this.#closed) return closeSync(this.#fd);
      if (error === null && count > VNET_HEADER) this.#receive?.(frameOf(buffer, count));
      if (error === null || error.code === 'EAGAIN' || error.code === 'EINTR') this.#read();
    });
  }

  /** While a read waits, the device is ours until it has something to read. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#reading) closeSync(this.#fd);
  }
}

function frameOf(buffer: Buffer, count: number): DeviceFrame {
  // A small frame does not hold a large buffer.
  const bytes = buffer.subarray(VNET_HEADER, count);
  return {
    bytes: count < 4096 ? Uint8Array.prototype.slice.call(bytes) : bytes,
    segmentSize: (buffer[1]! & 0x7f) === GsoType.NONE ? 0 : buffer.readUInt16LE(4),
    checksum: (buffer[0]! & NEEDS_CSUM) === 0 ? 'complete' : 'partial',
  };
}

/** For TCP and UDP over IPv4 and IPv6 without options or extension headers: what is left partial is nothing else. */
function putChecksumRequest(message: Buffer, segmentSize: number): void {
  const frame = message.subarray(VNET_HEADER);
  const isIpv4 = frame.readUInt16BE(12) === 0x0800;
  const transport = 14 + (isIpv4 ? (frame[14]! & 15) * 4 : 40);
  const protocol = isIpv4 ? frame[23]! : frame[20]!;
  const isTcp = protocol === 6;
  const field = isTcp ? TCP_CHECKSUM : 6;
  if (transport + field + 2 > frame.length) return;
  let sum = protocol + frame.length - transport;
  for (let at = isIpv4 ? 26 : 22; at < (isIpv4 ? 34 : 54); at += 2) sum += frame.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  frame.writeUInt16BE(sum, transport + field);
  message[0] = NEEDS_CSUM;
  message.writeUInt16LE(transport, 6);
  message.writeUInt16LE(field, 8);
  if (segmentSize === 0 || !isTcp) return;
  message[1] = isIpv4 ? GsoType.TCPV4 : GsoType.TCPV6;
  message.writeUInt16LE(transport + (frame[transport + 12]! >> 4) * 4, 2);
  message.writeUInt16LE(segmentSize, 4);
}
