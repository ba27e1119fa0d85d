// Integration components with a guest that answers anything or nothing. Whoever asked has an answer or a failure of the
// kinds that there are; nothing waits for ever, and nothing else is thrown.

import { IcFailure } from '../../src/ic/component.ts';
import { IntegrationComponents } from '../../src/ic/components.ts';
import { FileCopyRefused } from '../../src/ic/file-copy/device.ts';
import { decodeFrame, encodeFrame, IcFlag, type IcFrame, IcStatus, IcType } from '../../src/ic/frame.ts';
import { type GuestChannel, TestBus, TestGuest } from '../../src/vmbus/guest.fixture.ts';
import { PacketType } from '../../src/vmbus/protocol.ts';
import { viewOf } from '../../src/vmbus/ring.ts';
import { Random } from '../oracle/generate.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const STATUSES = Object.values(IcStatus);
const NOW = Promise.resolve();
const PICKS = [1, 3, 4, 5] as const;
/** Of guest memory: enough for the rings of all that is opened between two resets. */
const PAGES = 512;

class IcFuzzer implements StatefulFuzzer {
  readonly group = 25;
  readonly log: string[] = [];
  #host = new TestBus();
  #all = this.#components();
  #channels: GuestChannel[] = [];
  #unsettled = 0;
  #failure: unknown;

  #components(): IntegrationComponents {
    return new IntegrationComponents(this.#host.timers, { calendar: () => 1.8e12, referenceTime: () => 1n });
  }

  reset(): void {
    this.log.length = 0;
    this.#host = new TestBus({ pages: PAGES });
    this.#all = this.#components();
    this.#unsettled = 0;
    this.#failure = undefined;
    for (const device of this.#all.devices()) this.#host.bus.offer(device);
    const guest = new TestGuest(this.#host);
    guest.contact();
    this.#channels = guest.offers().map((offer) => guest.open(offer, 4));
  }

  #say(text: string): void {
    this.log.push(text);
    if (this.log.length > 30) this.log.shift();
  }

  async run(seed: number): Promise<void> {
    const random = new Random(seed);
    for (let n = 0; n < 12; n++) {
      const choice = random.below(10);
      if (choice < 4) this.#answer(random, random.pick(this.#channels));
      else if (choice < 7) this.#ask(random);
      else if (choice === 7) this.#host.timers.advance(random.oneIn(20) ? 40_000 : random.below(3000));
      else if (choice === 8 && random.oneIn(12)) this.#reopen(random);
      else this.#unasked(random, random.pick(this.#channels));
      // Those who wait for an answer go on.
      for (let turn = 0; turn < 4; turn++) await NOW;
    }
    ensure(
      this.#host.defects.length === 0,
      `a component threw: ${String((this.#host.defects[0] as Error | undefined)?.stack)}`,
    );
    if (this.#failure !== undefined) throw this.#failure;
    for (const device of this.#all.devices()) {
      const tree = device.inspect();
      ensure(((tree.outstanding ?? 0) as number) <= 65, 'requests have become many');
      device.restore(JSON.parse(JSON.stringify(device.save())), this.#host.bus.openChannels(device));
    }
    // In time, all have their answer.
    if ((seed + 1) % this.group === 0) {
      for (const channel of this.#channels) channel.close();
      for (let turn = 0; turn < 200; turn++) await NOW;
      ensure(this.#unsettled === 0, `${this.#unsettled} requests wait for ever`);
    }
  }

  #track(promise: Promise<unknown>): void {
    this.#unsettled++;
    promise
      .catch((error: unknown) => {
        if (!(error instanceof IcFailure) && !(error instanceof FileCopyRefused) && !(error instanceof RangeError))
          this.#failure ??= error;
      })
      .finally(() => {
        this.#unsettled--;
      });
  }

  #ask(random: Random): void {
    const { shutdown, timesync, kvp, vss, fileCopy } = this.#all;
    const text = 'k'.repeat(random.below(random.oneIn(6) ? 1100 : 20));
    const pool = random.pick(['external', 'guest', 'auto'] as const);
    const what = random.below(10);
    this.#say(`ask ${what}`);
    this.#track(
      [
        () => shutdown.request({ restart: random.oneIn(2), force: random.oneIn(2) }),
        () => kvp.get(pool, text),
        () => kvp.set(pool, text, text),
        () => kvp.delete(pool, text),
        () => kvp.enumerate(pool),
        () => kvp.addresses(text),
        () => vss.possible(),
        () => vss.freeze(),
        () => vss.thaw(),
        () =>
          fileCopy.copy(`/tmp/${text}`, new Uint8Array(random.below(20_000)), {
            overwrite: random.oneIn(2),
            createFolders: true,
          }),
      ][what]!(),
    );
    if (random.oneIn(4)) timesync.synchronize();
  }

  /** Takes what has come and answers it, rightly most of the time. */
  #answer(random: Random, channel: GuestChannel): void {
    const packet = channel.receive();
    const frame = packet && decodeFrame(packet.payload);
    if (!frame || random.oneIn(12)) return;
    let body = frame.body.slice();
    const view = viewOf(body);
    if (frame.type === IcType.NEGOTIATE) {
      if (random.oneIn(6)) view.setUint32(0, random.below(4), true);
      else {
        // Framework 3.0, and one of the versions offered.
        const offered = view.getUint16(2, true);
        const pick = random.oneIn(8) ? random.pick(PICKS) : view.getUint32(8 + 4 * (2 + random.below(offered)), true);
        view.setUint32(0, 0x10001, true);
        view.setUint32(8, 3, true);
        view.setUint32(12, pick, true);
      }
    } else for (let n = random.below(4); n > 0; n--) body[random.below(body.length)] = random.below(256);
    if (random.oneIn(10)) body = body.subarray(0, random.below(body.length + 1));
    const status = random.oneIn(3) ? random.pick(STATUSES) : 0;
    this.#send(channel, { ...frame, status, flags: IcFlag.TRANSACTION | IcFlag.RESPONSE, body });
  }

  #unasked(random: Random, channel: GuestChannel): void {
    const payload = new Uint8Array(random.below(120));
    for (let i = 0; i < payload.length; i++) payload[i] = random.oneIn(2) ? 0 : random.below(256);
    if (random.oneIn(2)) {
      channel.send({
        type: random.oneIn(4) ? PacketType.COMPLETION : PacketType.DATA_IN_BAND,
        transactionId: 1n,
        payload,
        flags: random.below(2),
      });
      return;
    }
    const type = random.below(9);
    this.#send(channel, {
      type,
      framework: [3, 0],
      message: [3, 0],
      status: 0,
      transaction: random.below(256),
      flags: random.below(8),
      body: payload,
    });
  }

  #send(channel: GuestChannel, frame: IcFrame): void {
    channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload: encodeFrame(frame) });
  }

  #reopen(random: Random): void {
    const n = random.below(this.#channels.length);
    const channel = this.#channels[n]!;
    this.#say(`close ${n}`);
    channel.close();
    channel.teardown();
    this.#channels[n] = channel.guest.open(channel.offer, 4);
  }
}

export const target: FuzzTarget = statefulTarget('integration components', ['src/ic/'], new IcFuzzer());
