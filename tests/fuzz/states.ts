// Saved states of a VMBus and its devices that mean harm: a guest has every channel open, the state is saved, some of its
// values are changed, and another bus goes on from it. Either it is refused with the error that a worker makes a line of, or
// the bus runs: nothing is thrown then, whatever the guest does, and it can be saved again.

import { IntegrationComponents } from '../../src/ic/components.ts';
import { GuestChannel, TestBus, TestGuest } from '../../src/vmbus/guest.fixture.ts';
import { PAGE_SIZE, PacketType } from '../../src/vmbus/protocol.ts';
import { DynamicMemory } from '../../src/vsp/dynamic-memory/device.ts';
import { Keyboard } from '../../src/vsp/keyboard/device.ts';
import { Mouse } from '../../src/vsp/mouse/device.ts';
import { Netvsp } from '../../src/vsp/netvsp/device.ts';
import { MAC, TestPort, words } from '../../src/vsp/netvsp/guest.fixture.ts';
import { NVSP_SIZE, NvspMessage, RECEIVE_SECTION, SEND_SECTION } from '../../src/vsp/netvsp/protocol.ts';
import { Storvsp } from '../../src/vsp/storvsp/device.ts';
import { ScsiDisk } from '../../src/vsp/storvsp/disk.ts';
import { ScsiDvd } from '../../src/vsp/storvsp/dvd.ts';
import { MemoryDisk } from '../../src/vsp/storvsp/memory-disk.fixture.ts';
import { SyntheticVideo } from '../../src/vsp/video/device.ts';
import { Random } from '../oracle/generate.ts';
import { type Json, mutatePlain } from './files.ts';
import { ensure } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const PAGES = 256;
const VRAM = new Uint8Array(64 * 64 * 4);
const MORE = 4096;
const NOW = Promise.resolve();

interface World {
  readonly host: TestBus;
  readonly ics: IntegrationComponents;
  readonly video: SyntheticVideo;
  readonly memory: DynamicMemory;
  readonly keyboard: Keyboard;
  readonly mouse: Mouse;
}

/** A bus with one of each device, as a partition has it. */
function makeWorld(): World {
  const host = new TestBus({ pages: PAGES });
  const { bus, memory: ram, timers } = host;
  const storvsp = new Storvsp('scsi', 'f8b3781a-1e82-4818-a1c3-63d806ec15bb', { memory: ram, subChannels: 3 });
  storvsp.attach(0, new ScsiDisk(new MemoryDisk(0x1_0000)));
  storvsp.attach(2, new ScsiDvd(undefined, () => undefined));
  const netvsp = new Netvsp(
    { name: 'nic0', instance: 'f8615163-0000-1000-2000-00155d010203', mac: MAC, queues: 2, largeFrames: true },
    { memory: ram, port: new TestPort() },
  );
  const video = new SyntheticVideo({ bytes: VRAM, place: () => true });
  let backed = 0;
  const memory = new DynamicMemory({
    pages: PAGES,
    release: () => true,
    more: {
      first: PAGES,
      pages: MORE,
      backed: () => backed,
      back: (count) => {
        backed = count;
      },
    },
    range: { minimum: PAGES / 2, maximum: PAGES + MORE },
  });
  const ics = new IntegrationComponents(timers, { calendar: () => 1.8e12, referenceTime: () => 1n });
  const [keyboard, mouse] = [new Keyboard(), new Mouse()];
  for (const device of [storvsp, netvsp, video, memory, keyboard, mouse, ...ics.devices()]) bus.offer(device);
  return { host, ics, video, memory, keyboard, mouse };
}

interface Base {
  readonly text: string;
  readonly ram: Uint8Array;
  readonly channels: readonly GuestChannel[];
}

let base: Base | undefined;

/** A guest that has opened everything, and set the adapter's buffers up. */
function makeBase(): Base {
  const { host } = makeWorld();
  const guest = new TestGuest(host);
  guest.contact();
  const channels = guest.offers().map((offer) => guest.open(offer, 2));
  const adapter = channels[1]!;
  const nvsp = (...body: number[]): void => {
    const payload = new Uint8Array(NVSP_SIZE);
    payload.set(words(...body));
    adapter.send({ type: PacketType.DATA_IN_BAND, transactionId: 1n, payload, flags: 1 });
    adapter.receive();
  };
  nvsp(NvspMessage.INIT, 0x60001, 0x60001);
  const { relid } = adapter.offer;
  nvsp(NvspMessage.SEND_RECEIVE_BUFFER, guest.gpadl(relid, (8 * RECEIVE_SECTION) / PAGE_SIZE).id, 0xcafe);
  nvsp(NvspMessage.SEND_SEND_BUFFER, guest.gpadl(relid, (4 * SEND_SECTION) / PAGE_SIZE).id, 0);
  const saved = JSON.parse(JSON.stringify(host.bus.save())) as { devices: Record<string, Record<string, Json>> };
  // What a driver that has come further leaves.
  const { devices } = saved;
  for (const [name, device] of Object.entries(devices)) {
    if ('ready' in device) device.ready = true;
    if (name === 'video')
      Object.assign(device, { placed: true, mode: { offset: 0, depth: 32, width: 64, height: 64, pitch: 256 } });
    if (name === 'dynamic-memory') Object.assign(device, { phase: 'idle', unit: 512, balloon: [[200, 8]] });
    if (device.phase === 'negotiating') Object.assign(device, { phase: 'ready', framework: [3, 0], message: [3, 0] });
  }
  return { text: JSON.stringify(saved), ram: host.memory.bytes.slice(), channels };
}

async function run(seed: number): Promise<string> {
  const random = new Random(seed);
  const { text, ram, channels } = (base ??= makeBase());
  const world = makeWorld();
  const { host } = world;
  host.memory.bytes.set(ram);
  const saved = JSON.parse(text) as { [key: string]: Json };
  // One room of the devices, one of the bus, or either.
  const devices = saved.devices as { [key: string]: Json };
  if (random.oneIn(2)) {
    const name = random.pick(Object.keys(devices));
    const room = { [name]: devices[name]! };
    mutatePlain(random, room);
    delete devices[name];
    Object.assign(devices, room);
  } else mutatePlain(random, saved);
  try {
    host.bus.restore(JSON.parse(JSON.stringify(saved)));
  } catch (error) {
    if (error instanceof RangeError && !/^(?:Invalid|Maximum)/.test(error.message)) return 'refused';
    throw error;
  }
  const guest = new TestGuest(host);
  for (let n = 4 + random.below(8); n > 0; n--) act(random, world, guest, random.pick(channels));
  for (let turn = 0; turn < 8; turn++) await NOW;
  ensure(host.defects.length === 0, `a device threw: ${String((host.defects[0] as Error | undefined)?.stack)}`);
  host.bus.inspect();
  const again = makeWorld().host;
  again.memory.bytes.set(host.memory.bytes);
  again.bus.restore(JSON.parse(JSON.stringify(host.bus.save())));
  return 'taken';
}

/** What a guest, its host and time do. */
function act(random: Random, world: World, guest: TestGuest, { offer, gpadl, pages }: GuestChannel): void {
  const { host, ics, video, memory, keyboard, mouse } = world;
  const channel = new GuestChannel(guest, offer, gpadl, pages);
  switch (random.below(7)) {
    case 0:
    case 1: {
      const payload = new Uint8Array(8 * random.below(12));
      for (let i = 0; i < payload.length; i++) payload[i] = random.oneIn(2) ? 0 : random.below(256);
      channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 7n, payload, flags: random.below(2) });
      return;
    }
    case 2:
      host.timers.advance(random.pick([0, 100, 3000]));
      host.run();
      return;
    case 3:
      // Whatever stands in the ring.
      try {
        channel.receive();
      } catch {}
      return;
    case 4:
      return channel.close();
    case 5:
      video.image();
      keyboard.key('KeyA', true);
      mouse.move({ x: 0.5, y: 0.5 });
      memory.setTarget(PAGES - random.below(100));
      return;
    default:
      for (const ask of [ics.kvp.get('guest', 'x'), ics.vss.freeze(), ics.shutdown.request({})])
        ask.catch(() => undefined);
  }
}

export const target: FuzzTarget = {
  about: 'saved states of the VMBus and its devices',
  covers: ['src/vmbus/state.ts', 'src/support/plain.ts', 'src/vsp/netvsp/state.ts'],
  run,
};
