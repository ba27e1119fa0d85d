/** Ports of the host that lead to ports of guests. */
import { ViridianError } from '../../contracts/errors.ts';
import type { Endpoint, HostListener, HostNetwork, StreamEvents } from '../../host/network.ts';
import type { TcpTable } from './tcp/table.ts';
import type { UdpTable } from './udp.ts';

export interface PortForward {
  readonly protocol: 'tcp' | 'udp';
  /** Where the host listens. */
  readonly address: string;
  /** 0: any that is free. */
  readonly hostPort: number;
  readonly guestPort: number;
  /** An address of the network, or what an adapter's address is reserved under; empty: the adapter that has an address. */
  readonly target: string;
}

export interface Forward {
  /** The port that the host listens on. */
  readonly port: number;
  close(): void;
}

/**
 * `8080:80`, `127.0.0.1:8080:80`, `[::1]:8080:80`, `5353:53/udp`; `tcp:8080:80` means the same as `8080:80/tcp`.
 * Without an address the host listens on its loopback address only.
 * @throws ViridianError
 */
export function parseForward(text: string, target = ''): PortForward {
  const match = /^(?:(tcp|udp):)?(?:(\[[0-9a-f:.]+\]|[^:[\]]+):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/i.exec(text);
  const ports = [match?.[3], match?.[4]].map(Number);
  const hold = ports.every((port) => port <= 0xffff) && ports[1] !== 0;
  if (match === null || !hold || (match[1] !== undefined && match[5] !== undefined))
    throw new ViridianError(
      'invalid',
      `port forward "${text}" is not [ADDRESS:]HOSTPORT:GUESTPORT[/udp], as in 8080:80`,
    );
  return {
    protocol: (match[1] ?? match[5] ?? 'tcp').toLowerCase() as 'tcp' | 'udp',
    address: (match[2] ?? '127.0.0.1').replace(/[[\]]/g, ''),
    hostPort: ports[0]!,
    guestPort: ports[1]!,
    target,
  };
}

export interface ForwardsPorts {
  readonly host: HostNetwork;
  readonly tcp: TcpTable;
  readonly udp: UdpTable;
  visible(address: string): number;
  locate(target: string): { address: number; mac: number } | undefined;
}

/** For a stream that nobody takes. */
const IGNORED: StreamEvents = {
  connected: () => {},
  data: () => {},
  end: () => {},
  drained: () => {},
  closed: () => {},
};

export class Forwards {
  readonly #ports: ForwardsPorts;
  readonly #open = new Map<HostListener, PortForward>();
  #closed = false;

  constructor(ports: ForwardsPorts) {
    this.#ports = ports;
  }

  async add(forward: PortForward): Promise<Forward> {
    const at: Endpoint = { address: forward.address, port: forward.hostPort };
    const listener = await (forward.protocol === 'tcp' ? this.#listen(at, forward) : this.#udp(at, forward));
    if (this.#closed) {
      listener.close();
      throw new ViridianError('wrongState', 'the network is closed');
    }
    this.#open.set(listener, forward);
    return {
      port: listener.port,
      close: () => {
        if (this.#open.delete(listener)) listener.close();
      },
    };
  }

  #udp(at: Endpoint, { guestPort, target }: PortForward): Promise<HostListener> {
    return this.#ports.udp.forward(at, guestPort, () => this.#ports.locate(target));
  }

  #listen(at: Endpoint, { guestPort, target }: PortForward): Promise<HostListener> {
    const { host, tcp, visible, locate } = this.#ports;
    return host.listen(at, (stream, peer) => {
      const guest = locate(target);
      const key = {
        guestAddress: guest?.address ?? 0,
        guestPort,
        remoteAddress: visible(peer.address),
        remotePort: peer.port,
      };
      const flow = guest === undefined ? undefined : tcp.accept(key, guest.mac, stream);
      if (flow !== undefined) return flow;
      stream.reset();
      return IGNORED;
    });
  }

  close(): void {
    this.#closed = true;
    for (const listener of this.#open.keys()) listener.close();
    this.#open.clear();
  }

  inspect(): Record<string, string> {
    const lines: Record<string, string> = {};
    for (const [listener, { protocol, address, guestPort, target }] of this.#open)
      lines[`${protocol} ${address}:${listener.port}`] = `${target}:${guestPort}`;
    return lines;
  }
}
