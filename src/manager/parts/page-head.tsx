/** The title of a page, with what can be done there at its right. */
import { type ReactNode, useEffect } from 'react';

export function PageHead({ title, mark, children }: { title: string; mark?: ReactNode; children?: ReactNode }) {
  useEffect(() => {
    document.title = `${title} - Viridian`;
  }, [title]);
  return (
    <div className="page-head">
      <h1>{title}</h1>
      {mark}
      {children ? <div className="buttons push">{children}</div> : null}
    </div>
  );
}
