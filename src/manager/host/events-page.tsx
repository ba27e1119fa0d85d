/** The event log, as it grows. */
import { useMemo, useState } from 'react';
import { PageHead } from '../parts/page-head.tsx';
import { useStore } from '../store/hooks.ts';
import { EventTable } from './event-table.tsx';

export function EventsPage() {
  const events = useStore((state) => state.events);
  const [severity, setSeverity] = useState('');
  const [search, setSearch] = useState('');
  const shown = useMemo(() => {
    const word = search.toLocaleLowerCase();
    return events.filter(
      (event) =>
        (severity === '' || event.severity !== 'info') &&
        `${event.text}\n${event.kind}`.toLocaleLowerCase().includes(word),
    );
  }, [events, severity, search]);
  return (
    <>
      <PageHead title="Events" />
      <div className="toolbar">
        <input
          className="input search"
          type="search"
          aria-label="Search"
          placeholder="Search events"
          value={search}
          onChange={({ target }) => setSearch(target.value)}
        />
        <select
          className="input fit"
          aria-label="Severity"
          value={severity}
          onChange={({ target }) => setSeverity(target.value)}
        >
          <option value="">All</option>
          <option value="bad">Warnings and errors</option>
        </select>
      </div>
      {shown.length === 0 && events.length > 0 ? (
        <p className="quiet note">No event is like that. Change the search to see more.</p>
      ) : (
        <EventTable events={shown} named />
      )}
    </>
  );
}
