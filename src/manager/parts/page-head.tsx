/** The title of a page, with what can be done there at its right. */
import type { ReactNode } from 'react';

export function PageHead({ title, mark, children }: { title: string; mark?: ReactNode; children?: ReactNode }) {
  return (
    <div className="page-head">
      <h1>{title}</h1>
      {mark}
      {children ? <div className="buttons push">{children}</div> : null}
    </div>
  );
}
