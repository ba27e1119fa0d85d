/** Things of one kind: what there is as a table, or why there is nothing; and how another one comes. */
import { type ReactNode, useState } from 'react';
import type { Loaded } from '../store/hooks.ts';
import { Button } from './button.tsx';
import { Empty, Waiting } from './empty.tsx';
import { PageHead } from './page-head.tsx';
import { type Column, Table } from './table.tsx';

export interface Making {
  readonly label: string;
  /** The dialog, or whatever else asks how it is to be. */
  readonly form: (close: () => void) => ReactNode;
}

export interface CollectionProps<T> {
  /** Of the page; or of a part of one, where `heading` is false. */
  readonly title: string;
  readonly heading?: boolean;
  readonly rows: readonly T[] | Pick<Loaded<readonly T[]>, 'value' | 'error'>;
  readonly columns: readonly Column<T>[];
  readonly keyOf: (row: T) => string;
  readonly empty: { readonly title: string; readonly text: ReactNode };
  /** The first is the main one. */
  readonly make?: readonly Making[];
  /** Between the head and the table. */
  readonly children?: ReactNode;
}

export function Collection<T>(props: CollectionProps<T>) {
  const { title, heading = true, columns, keyOf, empty, make = [], children } = props;
  const { value, error } = isList(props.rows) ? { value: props.rows, error: undefined } : props.rows;
  const [asked, setAsked] = useState<Making['label']>();
  const buttons = make.map(({ label }, at) => (
    <Button key={label} look={at === 0 ? 'main' : []} onClick={() => setAsked(label)}>
      {label}
    </Button>
  ));
  const some = value !== undefined && value.length > 0;
  return (
    <>
      {heading ? (
        <PageHead title={title}>{some ? buttons : null}</PageHead>
      ) : some && buttons.length > 0 ? (
        <div className="buttons">{buttons}</div>
      ) : null}
      {children}
      {value === undefined ? (
        <Waiting error={error} />
      ) : value.length === 0 ? (
        <Empty title={empty.title} text={empty.text}>
          {buttons.length === 0 ? null : <div className="buttons">{buttons}</div>}
        </Empty>
      ) : (
        <Table label={title} columns={columns} rows={value} keyOf={keyOf} />
      )}
      {make.find(({ label }) => label === asked)?.form(() => setAsked(undefined))}
    </>
  );
}

function isList<T>(rows: CollectionProps<T>['rows']): rows is readonly T[] {
  return Array.isArray(rows);
}
