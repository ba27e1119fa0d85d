import { describe, expect, it } from 'vitest';
import type { Caller } from './access.ts';
import { LINK_LIFE, Links } from './links.ts';

const caller: Caller = { name: 'somebody', role: 'viewer', vms: null };
const HOUR = 3_600_000;

function linksAt(settings: Map<string, string>, clock: { now: number }): Links {
  const { get, set } = {
    get: (key: string) => settings.get(key),
    set: (key: string, value: string) => void settings.set(key, value),
  };
  return new Links({ get, set }, () => clock.now);
}

describe('a session', () => {
  it('comes of a link once, and lasts twelve hours', () => {
    const clock = { now: 0 };
    const links = linksAt(new Map(), clock);
    const { code } = links.make(caller);
    const secret = links.exchange(code) as string;
    expect(links.exchange(code)).toBeUndefined();
    expect(links.find(secret)).toEqual(caller);
    clock.now = 12 * HOUR;
    expect(links.find(secret)).toBeUndefined();
    const late = links.make(caller).code;
    clock.now += LINK_LIFE;
    expect(links.exchange(late)).toBeUndefined();
  });

  it('that was ended has ended for whoever kept its secret, and after a restart', () => {
    const clock = { now: 0 };
    const settings = new Map<string, string>();
    const links = linksAt(settings, clock);
    const [ended, other] = [0, 1].map(() => {
      clock.now++;
      return links.exchange(links.make(caller).code) as string;
    }) as [string, string];
    links.end(ended);
    for (const service of [links, linksAt(settings, clock)])
      expect([service.find(ended), service.find(other)]).toEqual([undefined, caller]);
    // What has ended by itself is not remembered.
    clock.now = 13 * HOUR;
    links.end(links.exchange(links.make(caller).code) as string);
    expect((JSON.parse(settings.get('sessions-ended') as string) as unknown[]).length).toBe(1);
  });
});
