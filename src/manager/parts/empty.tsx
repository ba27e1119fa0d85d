/** Where there is nothing yet: what would be here, and how it comes. */
import type { ReactNode } from 'react';

export function Empty({ title, text, children }: { title: string; text: ReactNode; children?: ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      <p>{text}</p>
      {children}
    </div>
  );
}

export function Waiting({ error }: { error?: string | undefined }) {
  return error === undefined ? <p className="quiet">Loading…</p> : <p className="note bad">{error}</p>;
}
