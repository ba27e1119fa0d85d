// Rings under a guest that means harm: control words and packets change at any time. Where the guest keeps to the rules,
// what it sends arrives whole and in order; where it does not, the ring is broken, and nothing is thrown.

import { GuestChannel, TestBus, TestGuest } from '../../src/vmbus/guest.fixture.ts';
import { PAGE_SIZE, PacketType, RING_DATA, RingField } from '../../src/vmbus/protocol.ts';
import { BROKEN, encodePacket, IncomingRing, OutgoingRing } from '../../src/vmbus/ring.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const FIELDS = Object.values(RingField);
const PAGES = 16;
const NOTHING = Buffer.alloc(PAGES * PAGE_SIZE);

class RingFuzzer implements StatefulFuzzer {
  readonly group = 50;
  readonly log: string[] = [];
  #host = new TestBus({ pages: PAGES });

  reset(): void {
    this.log.length = 0;
    this.#host = new TestBus({ pages: PAGES });
  }

  run(seed: number): void {
    const random = new Random(seed);
    const half = 2 + random.below(4);
    const host = this.#host;
    host.memory.bytes.fill(0);
    const pages = Array.from({ length: 2 * half }, (_, i) => PAGES - 1 - i);
    const offer = { relid: 1, type: new Uint8Array(16), instance: new Uint8Array(16), subIndex: 0, connection: 0x2001 };
    const guest = new GuestChannel(new TestGuest(host), offer, 1, pages);
    const incoming = new IncomingRing(host.memory, Uint32Array.from(pages.slice(0, half)));
    const outgoing = new OutgoingRing(host.memory, Uint32Array.from(pages.slice(half)));
    const hostile = random.oneIn(2);
    const sent: string[] = [];
    const told: string[] = [];
    let broken = false;
    for (let n = 0; n < 40; n++) {
      switch (random.below(hostile ? 6 : 4)) {
        case 0: {
          const payload = Uint8Array.from({ length: random.below(1200) }, () => random.below(256));
          const descriptor = new Uint8Array(random.below(3) * 8);
          const id = BigInt(random.u32()) << BigInt(random.below(33));
          const bytes = encodePacket({ type: PacketType.DATA_GPA_DIRECT, transactionId: id, descriptor, payload });
          if (!hostile) {
            if (guest.put(bytes)) sent.push(`${id} ${bytes.length}`);
          } else if (!broken) guest.put(bytes);
          break;
        }
        case 1: {
          const packet = incoming.next();
          if (packet === BROKEN) {
            ensure(hostile, 'the ring of a guest that keeps to the rules is broken');
            broken = true;
          } else if (packet) {
            const length = 16 + packet.descriptor.length + packet.payload.length;
            ensure(length <= guest.size, 'a packet is longer than its ring');
            if (!hostile) ensure(sent.shift() === `${packet.transactionId} ${length}`, 'not the packet that was sent');
          }
          incoming.masked = random.oneIn(2);
          incoming.takeRoomSignal();
          ensure(incoming.index < guest.size && incoming.index % 8 === 0, 'our own index is outside the ring');
          break;
        }
        case 2: {
          const id = BigInt(random.u32());
          const payload = new Uint8Array(random.below(random.oneIn(4) ? 6000 : 1200));
          const bytes = encodePacket({ type: PacketType.COMPLETION, transactionId: id, payload });
          const written = outgoing.write(bytes);
          if (written === BROKEN) ensure(hostile, 'the ring of a guest that keeps to the rules is broken');
          if (written === true) told.push(String(id));
          ensure(typeof outgoing.unmasked === 'boolean', 'a mask is no mask');
          ensure(outgoing.index < guest.size && outgoing.index % 8 === 0, 'our own index is outside the ring');
          break;
        }
        case 3:
          if (!hostile) {
            const packet = guest.receive();
            if (packet) ensure(told.shift() === String(packet.transactionId), 'not the packet that was written');
          } else if (random.oneIn(2)) guest.setField('in', RingField.READ_INDEX, random.below(guest.size / 8) * 8);
          break;
        case 4: {
          const value = random.oneIn(2) ? random.below(guest.size) & -8 : random.u32();
          guest.setField(random.oneIn(2) ? 'in' : 'out', random.pick(FIELDS), value);
          break;
        }
        default: {
          const at = RING_DATA + random.below(guest.size - 4);
          const address = guest.address('out', at & -4);
          host.memory.store32(address, random.oneIn(2) ? random.u32() : random.below(64) * 0x10001);
        }
      }
    }
    // Whatever was done, every byte written lies in the two rings.
    const first = (PAGES - 2 * half) * PAGE_SIZE;
    ensure(
      NOTHING.subarray(0, first).equals(host.memory.bytes.subarray(0, first)),
      'something outside the rings was written',
    );
  }
}

export const target: FuzzTarget = statefulTarget("the guest's rings", ['src/vmbus/ring.ts'], new RingFuzzer());
