/** Notes at the page's edge, and how they are closed. */
import { useSyncExternalStore } from 'react';
import { Button } from '../parts/button.tsx';
import { dismiss, followToasts, shownToasts } from '../store/toasts.ts';

export function Toasts() {
  const toasts = useSyncExternalStore(followToasts, shownToasts);
  return (
    <section className="toasts" aria-label="Notes" aria-live="polite">
      {toasts.map(({ id, kind, text }) => (
        <div key={id} className="toast" data-kind={kind}>
          <span>{text}</span>
          <Button look={['small', 'plain']} onClick={() => dismiss(id)}>
            Close
          </Button>
        </div>
      ))}
    </section>
  );
}
