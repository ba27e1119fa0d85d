import type { Event } from '../../contracts/api/resources.ts';
import { Empty } from '../parts/empty.tsx';
import { Link } from '../parts/link.tsx';
import { clock, plainText } from '../store/format.ts';

/** Newest first. */
export function EventTable({ events, named = false }: { events: readonly Event[]; named?: boolean }) {
  if (events.length === 0)
    return <Empty title="No events" text="What happens to machines and to the host is written down here." />;
  return (
    <div className="table-box">
      <table className="table">
        <thead>
          <tr>
            <th>Time</th>
            {named ? <th>Machine</th> : null}
            <th>What</th>
          </tr>
        </thead>
        <tbody>
          {events.toReversed().map((event) => (
            <tr key={event.id}>
              <td className="quiet narrow">
                <time dateTime={event.time}>{clock(event.time)}</time>
              </td>
              {named ? (
                <td className="narrow">
                  {event.vm === null ? '' : <Link href={`/vms/${event.vm}`}>{event.vmName}</Link>}
                </td>
              ) : null}
              <td className={`wrap severity-${event.severity}`}>
                {event.severity === 'info' ? '' : `${event.severity}: `}
                {plainText(event.text)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
