/** A table by its columns. Where there is no room for one, each row is a card whose values have their columns' names. */
import type { ReactNode } from 'react';

export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => ReactNode;
  /** `narrow`: no wider than it must be; `number`: to the right; `actions`: its title is for screen readers only. */
  readonly look?: 'narrow' | 'number' | 'actions';
}

/** Said, though the elements say it: a browser forgets it where the style makes cards of rows. */
const ROLES = {
  table: { role: 'table' },
  group: { role: 'rowgroup' },
  row: { role: 'row' },
  header: { role: 'columnheader' },
  cell: { role: 'cell' },
} as const;

/** A card puts what is in a cell beside its name: it must be one thing. Nothing at all is no line of the card. */
function inOne(content: ReactNode): ReactNode {
  return content === '' || content === null ? null : <div>{content}</div>;
}

export function Table<T>({
  label,
  columns,
  rows,
  keyOf,
}: {
  label: string;
  columns: readonly Column<T>[];
  rows: readonly T[];
  keyOf: (row: T) => string;
}) {
  return (
    <div className="table-box">
      <table className="table cards" {...ROLES.table} aria-label={label}>
        <thead {...ROLES.group}>
          <tr {...ROLES.row}>
            {columns.map(({ title, look = '' }) => (
              <th key={title} className={look} {...ROLES.header}>
                {look === 'actions' ? <span className="hidden-label">{title}</span> : title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody {...ROLES.group}>
          {rows.map((row) => (
            <tr key={keyOf(row)} {...ROLES.row}>
              {columns.map(({ title, cell, look = '' }) => (
                <td key={title} className={look} data-label={look === 'actions' ? '' : title} {...ROLES.cell}>
                  {inOne(cell(row))}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
