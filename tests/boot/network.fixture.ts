/** For tests: a web server on this host, and a guest with Debian's hv_netvsc and hv_sock that can reach it. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { findCommand, runCommand } from '../../src/host/node/command.ts';
import { writeCpio } from '../../src/support/cpio.ts';
import { hypervGuest } from './guest.fixture.ts';

export interface NetworkGuest {
  readonly kernel: string;
  readonly initrd: string;
}

/** Beside what `hypervGuest` has: the program `vsock`, made here. Or the reason why there is none. */
export async function networkGuest(): Promise<NetworkGuest | string> {
  const debian = await hypervGuest();
  if (typeof debian === 'string') return debian;
  if (findCommand('gcc') === undefined) return 'gcc not found: no program for AF_VSOCK';
  const program = join(debian.folder, 'vsock');
  const source = new URL('vsock.c', import.meta.url).pathname;
  const { code, stderr } = await runCommand('gcc', ['-static', '-Os', '-o', program, source]);
  if (code !== 0) return `gcc: ${stderr.trim()}`;
  const initrd = join(debian.folder, 'initrd-network');
  const file = writeCpio([{ kind: 'file', path: 'bin/vsock', data: readFileSync(program), mode: 0o755 }]);
  writeFileSync(initrd, Buffer.concat([readFileSync(debian.initrd), file]));
  return { kernel: debian.kernel, initrd };
}

/** Gives eth0 an address by DHCP, with a route and a name server. */
export const CONFIGURE = [
  `printf '#!/bin/sh\\n[ "$1" = bound ] || exit 0\\nifconfig $interface $ip netmask $subnet\\nroute add default gw $router\\necho nameserver $dns > /etc/resolv.conf\\n' > /tmp/dhcp`,
  'chmod +x /tmp/dhcp',
  'ifconfig eth0 up',
  'udhcpc -n -q -i eth0 -s /tmp/dhcp',
].join('; ');

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Gives out `content` at every path. */
export async function serve(content: Uint8Array): Promise<{ readonly port: number; close(): void }> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': content.length });
    response.end(content);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
    },
  };
}

/** SHA-256 of what a web server at a port of this host gives, and how much it is. */
export function fetched(port: number, path: string): Promise<{ readonly sum: string; readonly size: number }> {
  return new Promise((resolve, reject) => {
    request({ port, path, host: '127.0.0.1' }, (response) => {
      const hash = createHash('sha256');
      let size = 0;
      response.on('data', (bytes: Uint8Array) => {
        hash.update(bytes);
        size += bytes.length;
      });
      response.on('end', () => resolve({ sum: hash.digest('hex'), size }));
      response.on('error', reject);
    })
      .on('error', reject)
      .end();
  });
}

/** A port that nobody has. */
export async function freePort(): Promise<number> {
  const { port, close } = await serve(new Uint8Array());
  close();
  return port;
}
