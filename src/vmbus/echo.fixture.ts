/** A device that echoes, on a bus with a guest, for the tests of bus and channels. */
import { expect } from 'vitest';
import { type GuestChannel, TestBus, type TestBusOptions, TestGuest } from './guest.fixture.ts';
import type { Channel, ChannelDevice } from './ports.ts';
import { PacketType } from './protocol.ts';
import type { Packet } from './ring.ts';

/** Answers each packet that asks for it with its own bytes. */
export class Echo implements ChannelDevice {
  readonly name: string;
  readonly offer: ChannelDevice['offer'];
  bulk = false;
  readonly log: string[] = [];
  readonly packets: Packet[] = [];
  channel: Channel | undefined;
  onPacket: ((packet: Packet, channel: Channel) => void) | undefined;

  constructor(name = 'echo', number = 1) {
    const tail = number.toString(16).padStart(12, '0');
    this.name = name;
    this.offer = { type: `00000000-0000-0000-0000-${tail}`, instance: `00000000-0000-0001-0000-${tail}` };
  }
  opened(channel: Channel): void {
    this.channel = channel;
    this.log.push(`open ${channel.subIndex}`);
  }
  received(packet: Packet, channel: Channel): void {
    this.packets.push(packet);
    if (this.onPacket) this.onPacket(packet, channel);
    else if ((packet.flags & 1) !== 0) channel.complete(packet.transactionId, packet.payload);
  }
  writable(): void {
    this.log.push('writable');
  }
  closed(channel: Channel): void {
    this.log.push(`close ${channel.subIndex}`);
  }
  inspect(): Record<string, never> {
    return {};
  }
  save(): unknown {
    return {};
  }
  restore(_saved: unknown, channels: readonly Channel[]): void {
    this.channel = channels[0];
    this.log.push('restore');
  }
}

export function connected(options: TestBusOptions = {}): { host: TestBus; guest: TestGuest; device: Echo } {
  const host = new TestBus(options);
  const guest = new TestGuest(host);
  const device = new Echo();
  host.bus.offer(device);
  expect(guest.contact()).toBe(true);
  return { host, guest, device };
}

export function opened(ringPages = 4): ReturnType<typeof connected> & { channel: GuestChannel } {
  const all = connected();
  const channel = all.guest.open(all.guest.offers()[0]!, ringPages);
  return { ...all, channel };
}

export function packet(id: number | bigint, text: string | Uint8Array, wanted = true) {
  const payload = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  return { type: PacketType.DATA_IN_BAND, transactionId: BigInt(id), payload, flags: wanted ? 1 : 0 };
}
