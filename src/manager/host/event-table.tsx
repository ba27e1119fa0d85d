/** Events as a table, the newest first. */
import type { Event } from '../../contracts/api/resources.ts';
import { Empty } from '../parts/empty.tsx';
import { Link } from '../parts/link.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { clock, plainText } from '../store/format.ts';

const TIME: Column<Event> = {
  title: 'Time',
  look: 'narrow',
  cell: ({ time }) => (
    <time className="quiet" dateTime={time}>
      {clock(time)}
    </time>
  ),
};
const MACHINE: Column<Event> = {
  title: 'Machine',
  look: 'narrow',
  cell: ({ vm, vmName }) => (vm === null ? '' : <Link href={`/vms/${vm}`}>{vmName}</Link>),
};
const WHAT: Column<Event> = {
  title: 'What',
  cell: ({ severity, text }) => (
    <span className={`wrap severity-${severity}`}>
      {severity === 'info' ? '' : `${severity}: `}
      {plainText(text)}
    </span>
  ),
};

/** Newest first. */
export function EventTable({ events, named = false }: { events: readonly Event[]; named?: boolean }) {
  if (events.length === 0)
    return <Empty title="No events" text="What happens to machines and to the host is written down here." />;
  return (
    <Table
      label="Events"
      columns={named ? [TIME, MACHINE, WHAT] : [TIME, WHAT]}
      rows={events.toReversed()}
      keyOf={({ id }) => String(id)}
    />
  );
}
