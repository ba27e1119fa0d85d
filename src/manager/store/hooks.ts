/** What components take from the store. */
import { useCallback, useEffect, useState, useSyncExternalStore } from 'react';
import { messageOf } from './api.ts';
import { followGauge, type Gauge, gaugeOf } from './gauges.ts';
import { current, subscribe } from './live.ts';
import { ROLES, type Role } from './roles.ts';
import type { State } from './state.ts';

/** A part of the state; it must be the same value while nothing of it has changed. */
export function useStore<T>(select: (state: State) => T): T {
  return useSyncExternalStore(subscribe, () => select(current()));
}

export function useGauge(vm: string): Gauge | undefined {
  const follow = useCallback((listener: () => void) => followGauge(vm, listener), [vm]);
  return useSyncExternalStore(follow, () => gaugeOf(vm));
}

/** Whether who is signed in may do what needs a role. */
export function useMay(role: Role): boolean {
  return useStore(({ session }) => typeof session === 'object' && ROLES.indexOf(session.role) >= ROLES.indexOf(role));
}

export interface Loaded<T> {
  readonly value: T | undefined;
  readonly error: string | undefined;
  readonly again: () => void;
}

/** Asks when `key` is another, and when told to. */
export function useLoaded<T>(key: string, load: () => Promise<T>): Loaded<T> {
  const [round, setRound] = useState(0);
  const [{ value, error, of }, set] = useState<{ value?: T; error?: string; of?: string }>({});
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says what is loaded
  useEffect(() => {
    let gone = false;
    load().then(
      (value) => gone || set({ value, of: key }),
      (cause: unknown) => gone || set((before) => ({ ...before, error: messageOf(cause), of: key })),
    );
    return () => {
      gone = true;
    };
  }, [key, round]);
  const again = useCallback(() => setRound((n) => n + 1), []);
  const fresh = of?.split(' ')[0] === key.split(' ')[0];
  return { value: fresh ? value : undefined, error: fresh ? error : undefined, again };
}

/** The id of the newest event of a VM: another means that something about it may have changed. */
export function useLastEvent(vm: string): number {
  return useStore(({ events }) => events.findLast((event) => event.vm === vm)?.id ?? 0);
}

/** The id of the newest event whose kind begins with one of these. */
export function useLastOf(...kinds: readonly string[]): number {
  return useStore(
    ({ events }) => events.findLast((event) => kinds.some((kind) => event.kind.startsWith(kind)))?.id ?? 0,
  );
}

/** One clock for all that show the time, as long as somebody does. */
const ticking = new Set<() => void>();
let clock = 0;
let now = Date.now();
function followClock(listener: () => void): () => void {
  if (ticking.size === 0) {
    now = Date.now();
    clock = window.setInterval(() => {
      now = Date.now();
      for (const each of ticking) each();
    }, 1000);
  }
  ticking.add(listener);
  return () => {
    ticking.delete(listener);
    if (ticking.size === 0) clearInterval(clock);
  };
}

/** Now, in milliseconds: each second, or each `seconds`. */
export function useNow(seconds = 1): number {
  const step = seconds * 1000;
  return useSyncExternalStore(followClock, () => Math.floor(now / step) * step);
}
