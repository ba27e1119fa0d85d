/** A NAT network with one guest that has its address, for tests. */
import { expect } from 'vitest';
import { ACK, SYN, TestGuest, word } from '../guest.fixture.ts';
import { type AdapterOptions, createSwitch } from '../switch.ts';
import type { NatOptions } from './config.ts';
import { ManualTime, TestHost } from './host.fixture.ts';

export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
export const OUTSIDE = '93.184.216.34';

export function network(options: NatOptions = {}, adapter: Partial<AdapterOptions> = {}) {
  const time = new ManualTime();
  const host = new TestHost();
  const net = createSwitch({ name: 'net', kind: 'nat', nat: options }, { time, host });
  const guest = new TestGuest(net.connect({ vm: 'web', ...adapter }));
  guest.configure();
  /** An open connection: sequence numbers of both sides after the handshake. */
  const open = (to = OUTSIDE, port = 80, options: number[] = [2, 4, ...word(1460), 1, 3, 3, 7]) => {
    guest.tcp(to, { sourcePort: 40_000, port, sequence: 1000, flags: SYN, options });
    const { stream } = host.streams.at(-1)!;
    stream.events.current!.connected();
    const answer = guest.take().find(({ tcp }) => tcp !== undefined)!.tcp!;
    expect(answer.flags).toBe(SYN | ACK);
    const first = (answer.sequence + 1) >>> 0;
    guest.tcp(to, { sourcePort: 40_000, port, sequence: 1001, acknowledgment: first, flags: ACK, window: 512 });
    const send = (fields: {
      data?: number[] | Uint8Array;
      flags?: number;
      sequence?: number;
      acknowledgment?: number;
      window?: number;
    }) =>
      guest.tcp(to, {
        sourcePort: 40_000,
        port,
        sequence: 1001,
        acknowledgment: first,
        flags: ACK,
        window: 512,
        ...fields,
      });
    return { stream, first, send, answer };
  };
  const errors = () =>
    guest.take().flatMap(({ ip: packet }) => (packet?.protocol === 1 ? [[packet.payload[0], packet.payload[1]]] : []));
  return { time, host, net, guest, open, errors, nat: net.nat! };
}
