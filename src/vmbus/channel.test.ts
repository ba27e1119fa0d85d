import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { opened, packet } from './echo.fixture.ts';
import { encodePacket } from './ring.ts';

describe('a channel for much', () => {
  it('is moderated where several packets come with a signal, and given up on where only one does', () => {
    const { host, device, channel } = opened();
    device.bulk = true;
    const moderated = vi.spyOn(host.mailbox, 'setModerated');
    const signalled = (packets: number): void => {
      for (let n = 0; n < packets; n++) channel.put(encodePacket(packet(n, 'x', false)));
      host.mailbox.signalEvent(0x2001, 0);
      host.run();
    };
    signalled(1);
    expect(moderated.mock.lastCall).toEqual([channel.offer.relid, 'long']);
    for (let n = 0; n < 20; n++) {
      for (let lonely = 0; lonely < 3; lonely++) signalled(1);
      signalled(2);
    }
    expect(moderated).toHaveBeenCalledTimes(1);
    for (let n = 0; n < 4; n++) signalled(1);
    expect(moderated.mock.lastCall).toEqual([channel.offer.relid, undefined]);
    for (let n = 0; n < 63; n++) signalled(1 + (n % 3));
    expect(moderated).toHaveBeenCalledTimes(2);
    signalled(1);
    expect(moderated.mock.lastCall).toEqual([channel.offer.relid, 'long']);
  });

  /** Each packet takes the device so many milliseconds. */
  function slow(milliseconds: number) {
    const all = opened();
    const { device, channel, host } = all;
    device.bulk = true;
    let now = 5000;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now);
    onTestFinished(() => clock.mockRestore());
    const flag = `0.2.${channel.offer.relid}`;
    const toldOf: number[] = [];
    device.onPacket = ({ transactionId, payload }, to) => {
      if (host.flags.delete(flag)) toldOf.push(Number(transactionId));
      now += milliseconds;
      to.complete(transactionId, payload);
    };
    const signalled = (packets: number): void => {
      host.flags.clear();
      toldOf.length = 0;
      for (let n = 0; n < packets; n++) channel.put(encodePacket(packet(n, 'x')));
      host.mailbox.signalEvent(0x2001, 0);
      host.run();
      expect(host.flags.has(flag)).toBe(true);
      let answers = 0;
      while (channel.receive()) answers++;
      expect(answers).toBe(packets);
    };
    return { ...all, signalled, toldOf };
  }

  it('tells of answers while others are worked on, where that takes long', () => {
    const { signalled, toldOf } = slow(0.02);
    signalled(12);
    expect(toldOf).toEqual([3, 8]);
  });

  it('tells of answers once where it does not', () => {
    const { signalled, toldOf } = slow(0.005);
    signalled(8);
    expect(toldOf).toEqual([]);
  });

  it('is moderated for less where its packets name many pages', () => {
    const { host, device, channel } = opened();
    device.bulk = true;
    const moderated = vi.spyOn(host.mailbox, 'setModerated');
    const signalled = (pages: number): void => {
      const descriptor = new Uint8Array(16 + pages * 8);
      for (let n = 0; n < 4; n++) channel.put(encodePacket({ ...packet(n, 'x', false), descriptor }));
      host.mailbox.signalEvent(0x2001, 0);
      host.run();
    };
    for (let n = 0; n < 20; n++) signalled(32);
    for (let n = 0; n < 40; n++) signalled(1);
    expect(moderated.mock.calls.map(([, moderation]) => moderation)).toEqual(['long', 'short', 'long']);
  });

  it('is moderated for no other device', () => {
    const { host, channel } = opened();
    const moderated = vi.spyOn(host.mailbox, 'setModerated');
    for (let n = 0; n < 200; n++) channel.send(packet(n, 'x', false));
    expect(moderated).not.toHaveBeenCalled();
  });
});
