import { describe, expect, it } from 'vitest';
import { viewOf } from '../vmbus/ring.ts';
import { IcFailure, type IntegrationComponent } from './component.ts';
import { IntegrationComponents } from './components.ts';
import { FileCopy } from './file-copy/device.ts';
import { FILE_COPY_DATA, FileCopyField } from './file-copy/protocol.ts';
import { encodeNegotiation, type IcFrame, IcStatus } from './frame.ts';
import { IcGuest } from './guest.fixture.ts';
import { Heartbeat } from './heartbeat.ts';
import { KeyValueExchange } from './kvp/device.ts';
import { KvpField, KvpOperation, KvpValue } from './kvp/protocol.ts';
import { Shutdown } from './shutdown.ts';
import { Timesync } from './timesync.ts';
import { readUtf16, writeUtf16 } from './utf16.ts';
import { ShadowCopy } from './vss/device.ts';

type Component = { readonly component: IntegrationComponent };

function guestOf<T extends Component>(make: (host: IcGuest['host']) => T): { guest: IcGuest; ic: T } {
  let ic: T | undefined;
  const guest = new IcGuest((host) => (ic = make(host)).component);
  return { guest, ic: ic! };
}

async function failure(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof IcFailure)) throw new Error(`no failure, but ${String(error)}`);
  return error.reason;
}

describe('integration components', () => {
  it('are six, with different GUIDs', () => {
    const { guest } = guestOf((host) => new Shutdown(host.timers));
    const { timers } = guest.host;
    const all = new IntegrationComponents(timers, { calendar: () => 0, referenceTime: () => 0n }).devices();
    expect(new Set(all.flatMap(({ offer }) => [offer.type, offer.instance])).size).toBe(12);
  });

  it('offer their versions first, and take what the guest picks', () => {
    const { guest, ic } = guestOf((host) => new Shutdown(host.timers));
    expect(ic.component.phase).toBe('negotiating');
    const offered = guest.negotiate([3, 0], [3, 2]);
    expect(offered.body).toEqual(
      encodeNegotiation([
        [3, 2],
        [3, 1],
        [3, 0],
        [1, 0],
      ]),
    );
    expect(offered.flags).toBe(3);
    expect(ic.component.inspect()).toMatchObject({ state: 'ready', framework: '3.0', version: '3.2' });
  });

  it.each<[string, [number, number] | undefined, [number, number]]>([
    ['none', undefined, [0, 0]],
    ['a framework that was not offered', [2, 0], [3, 2]],
    ['a version that was not offered', [3, 0], [9, 9]],
  ])('do nothing for a guest that picks %s', async (_what, framework, message) => {
    const { guest, ic } = guestOf((host) => new Shutdown(host.timers));
    guest.negotiate(framework, message);
    expect(ic.component.phase).toBe('refused');
    expect(await failure(ic.request())).toBe('absent');
  });

  it('give up on a guest that is silent, and take its answer all the same', async () => {
    const { guest, ic } = guestOf((host) => new KeyValueExchange(host.timers));
    guest.host.timers.advance(90_000);
    expect(ic.component.phase).toBe('silent');
    expect(await failure(ic.get('guest', 'x'))).toBe('absent');
    guest.negotiate([3, 0], [4, 0]);
    expect(ic.component.phase).toBe('ready');
  });

  it('ask one thing after the other, and not for ever', async () => {
    const { guest, ic } = guestOf((host) => new ShadowCopy(host.timers));
    guest.negotiate([3, 0], [5, 0]);
    guest.answer = () => undefined;
    const both = [failure(ic.possible()), failure(ic.thaw())];
    await guest.serve();
    expect(guest.requests).toHaveLength(1);
    guest.host.timers.advance(30_000);
    expect(await both[0]).toBe('timeout');
    await guest.serve();
    expect(guest.requests).toHaveLength(2);
    // An answer to what nobody waits for any more is none.
    guest.respond(guest.requests[0]!, {});
    expect(ic.component.counters.unexpected).toBe(1);
    guest.channel.close();
    expect(await both[1]).toBe('closed');
    expect(guest.host.timers.count).toBe(0);
  });

  it('do not mind what a guest sends unasked', () => {
    const { guest, ic } = guestOf((host) => new Heartbeat(host.timers));
    for (const payload of [new Uint8Array(0), new Uint8Array(40), new Uint8Array(40).fill(0xff)])
      guest.channel.send({ type: 6, transactionId: 1n, payload, flags: 1 });
    expect(ic.component.counters.unexpected).toBe(3);
    expect(guest.host.defects).toEqual([]);
  });

  it('go on where they were saved', () => {
    const { guest, ic } = guestOf((host) => new ShadowCopy(host.timers));
    guest.negotiate([3, 0], [5, 0]);
    const saved: unknown = JSON.parse(JSON.stringify(ic.component.save()));
    const other = new ShadowCopy(guest.host.timers);
    other.component.restore(saved, [guest.host.bus.openChannels(ic.component)[0]!]);
    expect(other.component.inspect()).toMatchObject({ state: 'ready', version: '5.0' });
    other.component.restore(saved, []);
    expect(other.component.phase).toBe('closed');
    for (const bad of [
      null,
      {},
      { version: 1, phase: 'odd' },
      { version: 1, phase: 'ready', framework: [1], message: [1, 1], transaction: 0 },
    ])
      expect(() => other.component.restore(bad, [])).toThrow('makes no sense');
  });
});

describe('heartbeat', () => {
  it('beats every two seconds, and notices silence', async () => {
    const { guest, ic } = guestOf((host) => new Heartbeat(host.timers));
    expect(ic.status).toBe('No Contact');
    guest.negotiate([3, 0], [3, 0]);
    guest.answer = ({ body }) => {
      const reply = body.slice();
      viewOf(reply).setBigUint64(0, viewOf(body).getBigUint64(0, true) + 1n, true);
      return { body: reply };
    };
    for (let n = 0; n < 3; n++) {
      await guest.serve();
      guest.host.timers.advance(2000);
    }
    expect(guest.requests.map(({ body }) => Number(viewOf(body).getBigUint64(0, true)))).toEqual([1, 2, 3]);
    expect(ic.status).toBe('OK');
    guest.answer = () => undefined;
    for (let n = 0; n < 6; n++) {
      await guest.serve();
      guest.host.timers.advance(2000);
    }
    await guest.serve();
    expect(ic.status).toBe('Lost Communication');
  });
});

describe('shutdown', () => {
  it.each([
    ['powers off', {}, 0],
    ['powers off by force', { force: true }, 1],
    ['restarts', { restart: true }, 2],
  ])('%s', async (_what, options, flags) => {
    const { guest, ic } = guestOf((host) => new Shutdown(host.timers));
    guest.negotiate([3, 0], [3, 2]);
    const asked = ic.request(options);
    await guest.serve();
    expect(await asked).toBe(true);
    expect(guest.requests[0]!.body).toHaveLength(2060);
    expect(viewOf(guest.requests[0]!.body).getUint32(8, true)).toBe(flags);
  });

  it('may be refused', async () => {
    const { guest, ic } = guestOf((host) => new Shutdown(host.timers));
    guest.negotiate([3, 0], [3, 2]);
    guest.answer = () => ({ status: IcStatus.FAIL });
    const asked = ic.request();
    await guest.serve();
    expect(await asked).toBe(false);
  });
});

describe('time synchronisation', () => {
  const clock = { calendar: () => Date.UTC(2026, 0, 1), referenceTime: () => 4711n };
  it.each<[[number, number], number, number]>([
    [[4, 0], 24, 16],
    [[3, 0], 32, 24],
  ])('%o steps the clock at first, then samples', async (version, size, flags) => {
    const { guest, ic } = guestOf((host) => new Timesync(host.timers, clock));
    guest.negotiate([3, 0], version);
    await guest.serve();
    guest.host.timers.advance(5000);
    await guest.serve();
    ic.synchronize();
    await guest.serve();
    expect(guest.requests.map(({ body }) => body[flags])).toEqual([1, 2, 1]);
    const { body } = guest.requests[0]!;
    expect(body).toHaveLength(size);
    // 2026-01-01 as a Windows file time.
    expect(viewOf(body).getBigUint64(0, true)).toBe(134116992000000000n);
    expect(viewOf(body).getBigUint64(8, true)).toBe(4711n);
  });
});

describe('data exchange', () => {
  /** The guest's daemon, with pool 1. */
  function daemon(pairs: Map<string, string>): (request: IcFrame) => { status?: number; body?: Uint8Array } {
    return ({ body }) => {
      const reply = body.slice();
      const view = viewOf(reply);
      const operation = view.getUint8(KvpField.OPERATION);
      const key = readUtf16(
        view,
        KvpField.VALUE + KvpValue.KEY,
        view.getUint32(KvpField.VALUE + KvpValue.KEY_SIZE, true),
      );
      const put = (at: number, name: string, value: string): void => {
        view.setUint32(at, 1, true);
        view.setUint32(at + KvpValue.KEY_SIZE, writeUtf16(view, at + KvpValue.KEY, name, 512), true);
        view.setUint32(at + KvpValue.VALUE_SIZE, writeUtf16(view, at + KvpValue.VALUE, value, 2048), true);
      };
      switch (operation) {
        case KvpOperation.SET:
          pairs.set(key, readUtf16(view, KvpField.VALUE + KvpValue.VALUE, 2048));
          return {};
        case KvpOperation.DELETE:
          return pairs.delete(readUtf16(view, KvpField.DELETE_KEY, 512)) ? {} : { status: IcStatus.FAIL };
        default: {
          const pair = [...pairs][view.getUint32(KvpField.ENUMERATE_INDEX, true)];
          if (!pair) return { status: IcStatus.NO_MORE_ITEMS };
          put(KvpField.ENUMERATE_VALUE, ...pair);
          return { body: reply };
        }
      }
    };
  }

  it('sets, gets, enumerates and deletes', async () => {
    const { guest, ic } = guestOf((host) => new KeyValueExchange(host.timers));
    guest.negotiate([3, 0], [4, 0]);
    const pairs = new Map([['OSName', 'Debian']]);
    guest.answer = daemon(pairs);
    const done = (async () => {
      const set = await ic.set('external', 'gr\u00fc\u00dfe', '\u4f60\u597d');
      const got = await ic.get('external', 'gr\u00fc\u00dfe');
      const none = await ic.get('external', 'none');
      const all = await ic.enumerate('auto');
      return [set, got, none, [...all], await ic.delete('guest', 'OSName'), await ic.delete('guest', 'OSName')];
    })();
    await guest.serve();
    expect(await done).toEqual([
      true,
      '\u4f60\u597d',
      undefined,
      [
        ['OSName', 'Debian'],
        ['gr\u00fc\u00dfe', '\u4f60\u597d'],
      ],
      true,
      false,
    ]);
    await expect(ic.set('external', 'x'.repeat(256), '')).rejects.toThrow(RangeError);
  });
});

describe('file copy', () => {
  it('sends a file in pieces', async () => {
    const { guest, ic } = guestOf((host) => new FileCopy(host.timers));
    guest.negotiate([3, 0], [1, 1]);
    const bytes = Uint8Array.from({ length: 15_000 }, (_, i) => i * 7);
    const done = ic.copy('/tmp/some file', bytes, { overwrite: true });
    await expect(ic.copy('/x', bytes)).rejects.toThrow('another file');
    await guest.serve();
    await done;
    const [start, ...rest] = guest.requests.map(({ body }) => body);
    expect(readUtf16(viewOf(start!), FileCopyField.NAME, 520)).toBe('some file');
    expect(readUtf16(viewOf(start!), FileCopyField.PATH, 520)).toBe('/tmp/');
    expect(viewOf(start!).getBigUint64(FileCopyField.FILE_SIZE, true)).toBe(15_000n);
    const got = rest.slice(0, 3).flatMap((body) => {
      const size = viewOf(body).getUint32(FileCopyField.DATA_SIZE, true);
      return [...body.subarray(FileCopyField.DATA, FileCopyField.DATA + size)];
    });
    expect(Uint8Array.from(got)).toEqual(bytes);
    expect(rest.map((body) => body[0])).toEqual([1, 1, 1, 2]);
    expect(viewOf(rest[2]!).getBigUint64(FileCopyField.DATA_OFFSET, true)).toBe(BigInt(2 * FILE_COPY_DATA));
  });

  it('is called off when the guest has no room', async () => {
    const { guest, ic } = guestOf((host) => new FileCopy(host.timers));
    guest.negotiate([3, 0], [1, 1]);
    guest.answer = ({ body }) => (body[0] === 1 ? { status: IcStatus.DISK_FULL } : {});
    const done = ic.copy('/tmp/x', new Uint8Array(10));
    const refused = expect(done).rejects.toMatchObject({ reason: 'full' });
    await guest.serve();
    await refused;
    expect(guest.requests.map(({ body }) => body[0])).toEqual([0, 1, 3]);
  });
});
