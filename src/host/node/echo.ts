/**
 * Echo requests without privileges: Linux's ping sockets (SOCK_DGRAM with IPPROTO_ICMP, icmp(7)), for groups in
 * net.ipv4.ping_group_range. The socket is made through the C library and then used as a UDP socket; the kernel puts
 * identifier and checksum.
 */
import { createSocket } from 'node:dgram';
import type { HostEcho } from '../network.ts';
import { libc } from './libc.ts';

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC_NONBLOCK = 2 | 0o2_000_000 | 0o4_000;
const IPPROTO_ICMP = 1;
const ECHO_REQUEST = 8;
const ECHO_HEADER = 8;
/** The kernel wants a port that is one, and ignores it. */
const ANY_PORT = 1;

export function openEcho(
  receive: (address: string, sequence: number, data: Uint8Array) => void,
): Promise<HostEcho | undefined> {
  const fd = libc()?.socket(AF_INET, SOCK_DGRAM_CLOEXEC_NONBLOCK, IPPROTO_ICMP) ?? -1;
  if (fd < 0) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.on('error', () => resolve(undefined));
    socket.on('message', (bytes, from) => {
      if (bytes.length >= ECHO_HEADER && bytes[0] === 0)
        receive(from.address, bytes.readUInt16BE(6), bytes.subarray(ECHO_HEADER));
    });
    socket.bind({ fd }, () => {
      resolve({
        send: (address, sequence, data) => {
          const request = Buffer.alloc(ECHO_HEADER + data.length);
          request[0] = ECHO_REQUEST;
          request.writeUInt16BE(sequence, 6);
          request.set(data, ECHO_HEADER);
          socket.send(request, ANY_PORT, address, () => {});
        },
        close: () => socket.close(),
      });
    });
  });
}
