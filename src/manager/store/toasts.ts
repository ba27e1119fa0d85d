/** Short notes at the page's edge: what failed, and what to do. */
export interface Toast {
  readonly id: number;
  readonly kind: 'error' | 'info';
  readonly text: string;
}

const LIFE = { error: 12_000, info: 5000 } as const;
let toasts: readonly Toast[] = [];
let next = 1;
const listeners = new Set<() => void>();

function set(all: readonly Toast[]): void {
  toasts = all;
  for (const listener of listeners) listener();
}
export function toast(kind: Toast['kind'], text: string): void {
  const id = next++;
  set([...toasts.slice(-3), { id, kind, text }]);
  setTimeout(() => dismiss(id), LIFE[kind]);
}
export function dismiss(id: number): void {
  set(toasts.filter((each) => each.id !== id));
}
export function shownToasts(): readonly Toast[] {
  return toasts;
}
export function followToasts(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
