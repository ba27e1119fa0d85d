/** Addresses of the page: /, /vms/ID/TAB, /new, /disks, /switches, /events, /host, /access. */
import { useSyncExternalStore } from 'react';

const listeners = new Set<() => void>();
function moved(): void {
  for (const listener of listeners) listener();
}
addEventListener('popstate', moved);

export function go(path: string): void {
  if (path !== location.pathname) history.pushState(null, '', path);
  moved();
  scrollTo(0, 0);
}

export function usePath(): string {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => location.pathname,
  );
}
