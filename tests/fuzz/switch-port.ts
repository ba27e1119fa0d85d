// Workers that mean harm to the switch process: connections that claim any port, send messages and bytes of any kind, stop and go,
// take nothing, and are cut. Two honest adapters on the same switch go on all the time, and hear nothing under a false address.

import { hex, word } from '../../src/vswitch/guest.fixture.ts';
import type { Frame } from '../../src/vswitch/port.ts';
import { portSpec, TestRoom, type TestWire } from '../../src/vswitch/remote/remote.fixture.ts';
import type { RemotePort } from '../../src/vswitch/remote/remote-port.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const MACS = ['00:15:5d:00:00:01', '00:15:5d:00:00:02', '00:15:5d:00:00:03', '00:15:5d:00:00:04'];
const MARK = 0x88b5;

class SwitchPortFuzzer implements StatefulFuzzer {
  readonly group = 100;
  readonly log: string[] = [];
  #test = new TestRoom();
  #honest: RemotePort[] = [];
  #heard = 0;
  #wires: TestWire[] = [];

  async reset(seed: number): Promise<void> {
    this.log.length = 0;
    this.#test = new TestRoom();
    this.#wires = [];
    this.#test.switch((seed / this.group) % 2 === 0 ? {} : { kind: 'NAT' });
    for (const [i, mac] of MACS.entries())
      await this.#test.room.setPort(portSpec(`port${i}`, mac, { vlan: i === 3 ? 7 : 0 }));
    this.#honest = ['port0', 'port1'].map((id) => this.#test.adapter(id));
    for (const port of this.#honest)
      port.onFrame((frame) => {
        this.#hear(frame);
        return true;
      });
    await this.#test.settle();
  }

  /** Ports 2 and 3 are the harmful ones', and 3 is in a VLAN of its own. */
  #hear({ bytes }: Frame): void {
    const source = Buffer.from(bytes.subarray(6, 12)).toString('hex');
    const allowed = [0, 1, 2].map((i) => MACS[i]!.replaceAll(':', ''));
    // The gateway's, on a NAT switch.
    ensure([...allowed, '02155d000001'].includes(source), `a frame of ${source}`);
    if (bytes[12] === MARK >> 8 && bytes[13] === (MARK & 255) && source === allowed[0]) this.#heard++;
  }

  async run(seed: number): Promise<void> {
    const random = new Random(seed);
    if (this.#wires.length === 0 || random.oneIn(6)) this.#connect(random);
    const wire = random.pick(this.#wires);
    const act = random.below(20);
    if (act === 0) wire.destroy();
    else if (act === 1) wire.paused = !wire.paused;
    else if (act === 2) this.#test.time.advance(random.below(3000));
    else if (act === 3) {
      const spec = portSpec('port2', MACS[2]!, { vlan: random.oneIn(2) ? 0 : 9 });
      await this.#test.room.setPort(spec);
    } else
      for (let n = 1 + random.below(4); n > 0; n--) {
        const bytes = this.#message(random);
        this.log.push(Buffer.from(bytes.subarray(0, 40)).toString('hex'));
        if (this.log.length > 12) this.log.shift();
        wire.write([bytes]);
      }
    this.#test.pieceSize = random.pick([1, 7, 100, 0x1_0000]);
    await this.#test.settle();
    this.#wires = this.#wires.filter(({ over }) => !over);
    const heard = this.#heard;
    this.#honest[0]!.send(frameOf(MACS[0]!, MACS[1]!, 3));
    this.#test.pieceSize = 0x1_0000;
    await this.#test.settle();
    ensure(this.#heard === heard + 1, 'honest adapters do not hear each other any more');
    for (const each of this.#test.wires) ensure(each.unsent < 3 * 2 ** 20, 'more is on its way than may be');
    if ((seed + 1) % this.group !== 0) return;
    this.#test.room.status('lan');
    this.#test.room.close();
    for (const port of this.#honest) port.close();
    for (const each of this.#wires) each.destroy();
    this.#test.time.advance(400_000);
    ensure(this.#test.time.pending === 0, 'timers are left');
  }

  #connect(random: Random): void {
    const wire = this.#test.connect({ received: () => {}, drained: () => {}, closed: () => {} });
    this.#wires.push(wire);
    if (random.oneIn(5)) return;
    // The ids of the honest ones nobody knows.
    const port = random.pick(['port2', 'port3', 'port2', 'nobody', '']);
    wire.write([message(2, 0, 0, Buffer.from(JSON.stringify({ version: 1, port })))]);
  }

  #message(random: Random): Uint8Array {
    const kinds: (() => Uint8Array)[] = [
      () => message(1, random.below(2), random.below(0x1_0000), this.#frame(random)),
      () => message(1, 0, 0, this.#frame(random)),
      () => message(random.pick([4, 5]), 0, 0, new Uint8Array(0)),
      () =>
        message(
          random.pick([2, 3, 6]),
          0,
          0,
          random.oneIn(2) ? Buffer.from('{"version":1,"port":"port2"}') : noise(random, 40),
        ),
      () => message(random.below(9), random.below(4), random.below(3), noise(random, 60)),
      () => noise(random, 30),
    ];
    // What breaks the protocol ends the connection: mostly what does not.
    const bytes = (random.oneIn(4) ? random.pick(kinds) : random.pick(kinds.slice(0, 3)))();
    if (random.oneIn(40) && bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256);
    return random.oneIn(60) ? bytes.subarray(0, random.below(bytes.length)) : bytes;
  }

  #frame(random: Random): Uint8Array {
    const length = random.oneIn(50) ? random.below(65_000) : random.below(300);
    return frameOf(random.pick(MACS), random.oneIn(5) ? 'ff:ff:ff:ff:ff:ff' : random.pick(MACS), length, random).bytes;
  }
}

function frameOf(from: string, to: string, length: number, random?: Random): Frame {
  const type = random === undefined || random.oneIn(3) ? MARK : random.pick([0x800, 0x806, 0x86dd, 0x8100]);
  const bytes = new Uint8Array(14 + length).fill(0x45, 14);
  bytes.set([...hex(to), ...hex(from), ...word(type)]);
  if (random !== undefined)
    for (let n = random.below(30); n > 0 && length > 0; n--)
      bytes[14 + random.below(Math.min(length, 60))] = random.below(256);
  return { bytes, segmentSize: 0, checksum: 'complete' };
}

function noise(random: Random, most: number): Uint8Array {
  return Uint8Array.from({ length: random.below(most) }, () => random.below(256));
}

function message(kind: number, flags: number, segmentSize: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, kind);
  view.setUint8(1, flags);
  view.setUint16(2, segmentSize, true);
  view.setUint32(4, body.length, true);
  bytes.set(body, 8);
  return bytes;
}

export const switchPortTarget: FuzzTarget = statefulTarget(
  'connections of workers to the switch process',
  ['src/vswitch/remote/'],
  new SwitchPortFuzzer(),
);
