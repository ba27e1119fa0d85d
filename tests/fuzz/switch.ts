// The switch with adapters that come, go, lie about who they are, take nothing for a while, hand over frames of any size with
// any wish for offloads. Who is guarded is heard under its own address only; VLANs do not mix; what waits is bounded.

import { hex, ip, ipPacket, tcpSegment, udpDatagram, word } from '../../src/vswitch/guest.fixture.ts';
import { ManualTime, TestHost } from '../../src/vswitch/nat/host.fixture.ts';
import { layoutOf } from '../../src/vswitch/offload.ts';
import type { Frame } from '../../src/vswitch/port.ts';
import { type AdapterPort, createSwitch, type VirtualSwitch } from '../../src/vswitch/switch.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

interface Member {
  readonly port: AdapterPort;
  readonly vlan: number;
  readonly guarded: boolean;
  readonly offloads: boolean;
  taking: boolean;
}

const MACS = ['00-15-5D-00-00-01', '00-15-5D-00-00-02', '00-15-5D-00-00-03', '02-00-00-00-00-04', '02-00-00-00-00-05'];
const ADDRESSES = ['10.0.0.1', '10.0.0.2', '0.0.0.0'];

class SwitchFuzzer implements StatefulFuzzer {
  readonly group = 100;
  readonly log: string[] = [];
  #time = new ManualTime();
  #net: VirtualSwitch = createSwitch({ name: 'fuzz', kind: 'private' }, { time: this.#time });
  #members: Member[] = [];
  #sender: Member | undefined;

  reset(seed: number): void {
    this.log.length = 0;
    this.#time = new ManualTime();
    const kind = (['private', 'internal', 'nat'] as const)[(seed / this.group) % 3]!;
    const nat = kind === 'nat' ? { subnet: '10.0.0.0/24', gateway: '10.0.0.1' } : undefined;
    this.#net = createSwitch({ name: 'fuzz', kind, nat }, { time: this.#time, host: new TestHost() });
    this.#members = [];
  }

  run(seed: number): void {
    const random = new Random(seed);
    if (this.#members.length < 2 || (this.#members.length < 5 && random.oneIn(10))) this.#plug(random);
    const member = random.pick(this.#members);
    const act = random.below(90);
    if (act < 3) this.#unplug(member);
    else if (act < 6) {
      member.taking = !member.taking;
      if (member.taking) member.port.resume();
    } else if (act < 8) member.port.setLink(random.oneIn(2));
    else if (act === 8) this.#capture(random);
    else this.#send(random, member);
    if (random.oneIn(8)) this.#time.advance(random.pick([1, 100, 400_000]));
    if (seed % 5 === 0)
      for (const { port } of this.#members)
        ensure(Number(port.inspect().waitingBytes) <= 4 * 2 ** 20, 'more waits than may');
    if ((seed + 1) % this.group === 0) {
      this.#net.inspect();
      this.#net.close();
      this.#time.advance(200_000);
      ensure(this.#time.pending === 0, 'timers are left');
    }
  }

  #plug(random: Random): void {
    const guarded = !random.oneIn(3);
    const vlan = random.oneIn(2) ? 0 : 1 + random.below(2);
    const offloads = !random.oneIn(3);
    const limit = random.oneIn(4) ? { bandwidth: { send: 8_000_000, receive: 8_000_000 } } : {};
    try {
      const mac = random.oneIn(2) ? { mac: random.pick(MACS) } : {};
      const port = this.#net.connect({
        vm: `vm${random.below(4)}`,
        vlan,
        macSpoofing: !guarded,
        offloads,
        ...limit,
        ...mac,
      });
      const member: Member = { port, vlan, guarded, offloads, taking: true };
      port.onFrame((frame) => this.#take(member, frame));
      port.onLink(() => {});
      this.#members.push(member);
    } catch (error) {
      ensure(error instanceof Error && error.message.includes('already'), String(error));
    }
  }

  #unplug(member: Member): void {
    member.port.close();
    member.port.close();
    this.#members.splice(this.#members.indexOf(member), 1);
  }

  #capture(random: Random): void {
    const end = this.#net.capture(
      (bytes) => {
        const kept = bytes.length === 24 ? undefined : new DataView(bytes.buffer).getUint32(8, true);
        ensure(kept === undefined || bytes.length === 16 + kept, 'a capture’s packet has another length than it says');
      },
      { now: () => this.#time.now() + 0.123, ...(random.oneIn(2) ? { snaplen: 64 } : {}) },
    );
    if (random.oneIn(3)) end();
  }

  #send(random: Random, member: Member): void {
    const own = hex(member.port.mac);
    const macs = [...this.#members.map(({ port }) => port.mac), ...MACS].map(hex);
    const source = random.oneIn(4) ? random.pick(macs) : own;
    const destination = random.oneIn(6)
      ? [255, 255, 255, 255, 255, 255]
      : random.oneIn(12)
        ? [1, 0, 0x5e, 0, 0, 1]
        : random.pick(macs);
    const [from, to] = [random.pick(ADDRESSES), random.pick(ADDRESSES)];
    const length = random.oneIn(100) ? random.below(65_000) : random.below(200);
    const kinds: (() => [number, number[]])[] = [
      () => [
        0x800,
        tcpSegment(from, to, {
          sourcePort: 1,
          port: 2,
          sequence: random.u32(),
          flags: random.below(256),
          data: new Uint8Array(length),
        }),
      ],
      () => [
        0x800,
        udpDatagram(from, random.pick([67, 68, 99]), to, random.pick([67, 68, 99]), new Uint8Array(length)),
      ],
      () => [
        0x800,
        ipPacket(
          {
            source: from,
            destination: to,
            protocol: random.below(20),
            offset: 8 * random.below(3),
            more: random.oneIn(2),
          },
          new Uint8Array(length),
        ),
      ],
      () => [
        0x806,
        [
          0,
          1,
          8,
          0,
          6,
          4,
          0,
          1,
          ...(random.oneIn(4) ? random.pick(macs) : source),
          ...ip(from),
          0,
          0,
          0,
          0,
          0,
          0,
          ...ip(to),
        ],
      ],
      () => [
        0x86dd,
        [
          0x60,
          0,
          0,
          0,
          ...word(length + 20),
          random.pick([6, 17, 58]),
          64,
          ...new Array<number>(32).fill(1),
          random.pick([134, 137, 0]),
          ...new Array<number>(19 + length).fill(0x50),
        ],
      ],
      () => [0x8100, [0, 5, 8, 0, ...ipPacket({ source: from, destination: to, protocol: 17 }, [1, 2, 3])]],
      () => [random.below(0x1_0000), new Array<number>(length).fill(7)],
    ];
    const [type, payload] = random.pick(kinds)();
    const bytes = [...destination, ...source, ...word(type), ...payload];
    if (random.oneIn(5))
      for (let n = random.below(6); n > 0; n--) bytes[random.below(bytes.length)] = random.below(256);
    if (random.oneIn(25)) bytes.length = random.below(bytes.length);
    if (random.oneIn(30)) bytes.splice(16, 2, 0, 0);
    const frame: Frame = {
      bytes: Uint8Array.from(bytes),
      segmentSize: random.oneIn(3) ? random.pick([1, 536, 1460, 65_535]) : 0,
      checksum: random.oneIn(2) ? 'partial' : 'complete',
    };
    this.log.push(
      `${member.port.mac} ${frame.segmentSize} ${frame.checksum} ${Buffer.from(frame.bytes.subarray(0, 60)).toString('hex')} ${frame.bytes.length}`,
    );
    if (this.log.length > 12) this.log.shift();
    this.#sender = member;
    member.port.send(frame);
    this.#sender = undefined;
  }

  #take(member: Member, frame: Frame): boolean {
    if (!member.taking) return false;
    const source = Buffer.from(frame.bytes.subarray(6, 12)).toString('hex').toUpperCase().match(/../g)!.join('-');
    const sender = this.#sender;
    // Frames that have waited have no sender that is known here.
    if (sender !== undefined && sender !== member && sender.guarded && sender.vlan === member.vlan)
      ensure(
        source === sender.port.mac || this.#members.some(({ port, guarded }) => port.mac === source && guarded),
        'an address that is not the sender’s',
      );
    const owner = this.#members.find(({ port }) => port.mac === source);
    ensure(owner === undefined || owner.vlan === member.vlan || sender === undefined, 'a frame of another VLAN');
    if (!member.offloads) {
      ensure(frame.segmentSize === 0 && frame.checksum === 'complete', 'an offload for who takes none');
      layoutOf(frame.bytes);
    }
    return true;
  }
}

export const switchTarget: FuzzTarget = statefulTarget(
  'the virtual switch',
  [
    'src/vswitch/switch.ts',
    'src/vswitch/adapter-port.ts',
    'src/vswitch/guard.ts',
    'src/vswitch/offload.ts',
    'src/vswitch/checksum.ts',
    'src/vswitch/frame-queue.ts',
    'src/vswitch/token-bucket.ts',
    'src/vswitch/pcap.ts',
  ],
  new SwitchFuzzer(),
);
