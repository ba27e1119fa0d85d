// Requests to the synthetic SCSI controller that mean harm: any operation, any command, pages that lie, a disk that fails, a
// channel that is closed meanwhile. Each request is answered, and nothing but the pages it named is written.

import { type GuestChannel, type GuestOffer, message, TestBus, TestGuest } from '../../src/vmbus/guest.fixture.ts';
import { MessageType, PAGE_SIZE, PacketType, RelidMessage } from '../../src/vmbus/protocol.ts';
import { viewOf } from '../../src/vmbus/ring.ts';
import { Storvsp } from '../../src/vsp/storvsp/device.ts';
import { ScsiDisk } from '../../src/vsp/storvsp/disk.ts';
import { ScsiDvd } from '../../src/vsp/storvsp/dvd.ts';
import { MemoryDisk } from '../../src/vsp/storvsp/memory-disk.fixture.ts';
import { Field, Operation, Scsi } from '../../src/vsp/storvsp/protocol.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const PAGES = 192;
/** Pages that requests may name, behind those of the rings. */
const FIRST_DATA = 64;
/** Never named, so never written. */
const FORBIDDEN = 160;
const OPERATIONS = Object.values(Operation);
const COMMANDS = Object.values(Scsi);
const NOTHING = Buffer.alloc((PAGES - FORBIDDEN) * PAGE_SIZE);
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

class StorvspFuzzer implements StatefulFuzzer {
  readonly group = 50;
  readonly log: string[] = [];
  #host = new TestBus();
  #disk = new MemoryDisk(0x1_0000);
  #dvd = new ScsiDvd(undefined, () => undefined);
  #storvsp: Storvsp | undefined;
  #guest: TestGuest | undefined;
  #channel: GuestChannel | undefined;
  /** The open ones, the primary first. */
  #channels: GuestChannel[] = [];
  readonly #expected = new Map<GuestChannel, Set<bigint>>();
  #id = 0n;

  reset(seed: number): void {
    this.log.length = 0;
    this.#host = new TestBus({ pages: PAGES });
    this.#disk = new MemoryDisk(0x1_0000, seed % 3 !== 0);
    const { memory } = this.#host;
    this.#storvsp = new Storvsp('scsi', 'f8b3781a-1e82-4818-a1c3-63d806ec15bb', { memory, subChannels: 3 });
    this.#storvsp.attach(seed % 2, new ScsiDisk(this.#disk));
    this.#disk.now = seed % 4 < 2;
    this.#dvd = new ScsiDvd(undefined, () => undefined);
    this.#storvsp.attach(2, this.#dvd);
    this.#host.bus.offer(this.#storvsp);
    const guest = new TestGuest(this.#host);
    guest.contact();
    this.#guest = guest;
    this.#begin(guest.open(guest.offers()[0]!, 6));
  }

  async run(seed: number): Promise<void> {
    const random = new Random(seed);
    for (let n = 1 + random.below(6); n > 0; n--) this.#request(random, random.pick(this.#channels));
    if (random.oneIn(20)) this.#disk.failure = new Error('the host');
    if (random.oneIn(10)) this.#change(random);
    this.#meetOffers(random);
    this.#take();
    await tick();
    this.#host.run();
    this.#take();
    if (random.oneIn(25)) this.#reopen();
    if (random.oneIn(30)) this.#saveAndRestore();
    if ((seed + 1) % this.group === 0) await this.#settle();
    const { memory, defects } = this.#host;
    ensure(defects.length === 0, `the controller threw: ${String((defects[0] as Error | undefined)?.stack)}`);
    ensure(NOTHING.equals(memory.bytes.subarray(FORBIDDEN * PAGE_SIZE)), 'pages were written that nobody named');
    this.#disk.log.length = 0;
  }

  #begin(primary: GuestChannel): void {
    this.#channel = primary;
    this.#channels = [primary];
    this.#expected.clear();
    this.#expected.set(primary, new Set());
  }

  /** What the host does meanwhile. */
  #change(random: Random): void {
    const storvsp = this.#storvsp!;
    const lun = random.pick([0, 1, 63]);
    const unit = storvsp.unit(lun);
    this.log.push(`host changes ${lun}`);
    switch (random.below(4)) {
      case 0:
        if (unit) storvsp.detach(lun);
        else storvsp.attach(lun, new ScsiDisk(this.#disk));
        break;
      case 1:
        if (unit instanceof ScsiDisk) unit.resized();
        storvsp.rescan();
        break;
      case 2:
        this.#dvd.change(random.oneIn(3) ? undefined : new MemoryDisk(random.below(40) * 2048, false, 2048));
        break;
      default:
        this.#disk.now = random.oneIn(2);
    }
  }

  /** Opens sub-channels that are offered, or not; lets go of those that are taken back, or not. */
  #meetOffers(random: Random): void {
    const { messages } = this.#host;
    const offers: GuestOffer[] = [];
    while (messages.length > 0) {
      const view = viewOf(messages[0]!.payload);
      const type = view.getUint32(0, true);
      if (type === MessageType.OFFER_CHANNEL) offers.push(this.#guest!.offer());
      else {
        messages.shift();
        this.#host.run();
        if (type === MessageType.RESCIND_CHANNEL_OFFER)
          this.#guest!.post(message(MessageType.RELID_RELEASED, view.getUint32(RelidMessage.RELID, true)));
      }
    }
    for (const offer of offers) {
      if (offer.subIndex === 0 || this.#channels.length > 3 || random.oneIn(3)) continue;
      const channel = this.#guest!.open(offer, 3);
      this.#channels.push(channel);
      this.#expected.set(channel, new Set());
    }
  }

  /** A state that was saved is taken again; what makes no sense is refused. */
  #saveAndRestore(): void {
    const saved = JSON.parse(JSON.stringify(this.#storvsp!.save())) as unknown;
    const { memory } = this.#host;
    const other = new Storvsp('scsi', 'f8b3781a-1e82-4818-a1c3-63d806ec15bb', { memory });
    other.attach(2, new ScsiDvd(undefined, () => undefined));
    other.restore(saved, []);
  }

  #request(random: Random, channel: GuestChannel): void {
    const payload = new Uint8Array(random.oneIn(30) ? random.below(64) : 64);
    const word = (): number => (random.oneIn(3) ? random.below(256) : random.oneIn(2) ? 0 : random.below(20));
    for (let i = 0; i < payload.length; i++) payload[i] = word();
    const length = random.oneIn(10) ? random.u32() : random.below(9) * 512 + (random.oneIn(6) ? random.below(512) : 0);
    if (payload.length === 64) {
      const view = viewOf(payload);
      view.setUint32(0, random.oneIn(5) ? random.pick(OPERATIONS) : Operation.EXECUTE_SRB, true);
      if (!random.oneIn(8)) payload.set([0, 0, random.below(4)], Field.PATH);
      payload[Field.DATA_IN] = random.below(3);
      view.setUint32(Field.TRANSFER_LENGTH, length, true);
      payload[Field.CDB] = random.pick(COMMANDS);
      // Sectors that are on the disk.
      if (!random.oneIn(4)) payload.fill(0, Field.CDB + 2, Field.CDB + 9);
    }
    const direct = random.oneIn(2) || length > 0;
    const pages = Math.min(24, Math.ceil((length + 600) / PAGE_SIZE));
    const words = [
      0,
      random.oneIn(12) ? random.below(5) : 1,
      random.oneIn(12) ? random.u32() : length,
      random.below(600),
    ];
    for (let i = 0; i < pages; i++)
      words.push(
        random.oneIn(40) ? random.u32() | PAGES : FIRST_DATA + random.below(FORBIDDEN - FIRST_DATA),
        random.oneIn(60) ? 1 : 0,
      );
    const descriptor = direct ? new Uint8Array(Uint32Array.from(words).buffer) : new Uint8Array();
    const transactionId = ++this.#id;
    const type = direct ? PacketType.DATA_GPA_DIRECT : PacketType.DATA_IN_BAND;
    this.log.push(`${type} ${Buffer.from(payload).toString('hex')} ${words.slice(0, 4).join(' ')}`);
    if (this.log.length > 12) this.log.shift();
    if (channel.send({ type, transactionId, payload, descriptor, flags: 1 }))
      this.#expected.get(channel)!.add(transactionId);
  }

  #take(): void {
    for (const channel of this.#channels)
      for (let packet = channel.receive(); packet; packet = channel.receive()) {
        if (packet.type !== PacketType.COMPLETION) continue;
        ensure(packet.payload.length === 64, 'an answer has another size');
        ensure(this.#expected.get(channel)!.delete(packet.transactionId), 'an answer to what nobody asked');
      }
  }

  async #settle(): Promise<void> {
    const waiting = (): number => [...this.#expected.values()].reduce((sum, ids) => sum + ids.size, 0);
    for (let n = 0; n < 100 && waiting() > 0; n++) {
      this.#host.timers.advance(20);
      await tick();
      this.#host.run();
      for (const channel of this.#channels) channel.signal();
      this.#take();
    }
    ensure(waiting() === 0, `${waiting()} requests have no answer`);
    await this.#storvsp!.quiesce();
  }

  #reopen(): void {
    const channel = this.#channel!;
    this.#host.messages.length = 0;
    channel.close();
    this.#rescinded();
    channel.teardown();
    // A guest's pages are used again.
    const { guest, offer, pages } = channel;
    for (const page of pages) this.#host.memory.bytes.fill(0, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    guest.reuse(pages);
    this.#begin(guest.open(offer, 6));
  }

  /** Sub-channels go with the first one. */
  #rescinded(): void {
    const relids = this.#host.messages
      .map(({ payload }) => viewOf(payload))
      .filter((view) => view.getUint32(0, true) === MessageType.RESCIND_CHANNEL_OFFER)
      .map((view) => view.getUint32(RelidMessage.RELID, true));
    this.#host.messages.length = 0;
    for (const relid of relids) this.#guest!.post(message(MessageType.RELID_RELEASED, relid));
    this.#host.messages.length = 0;
  }
}

export const target: FuzzTarget = statefulTarget(
  'the SCSI controller',
  ['src/vsp/storvsp/', 'src/vmbus/gpa-direct.ts'],
  new StorvspFuzzer(),
);
