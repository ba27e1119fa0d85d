/** What has happened to one machine. */
import type { Vm } from '../../contracts/api/vm.ts';
import { EventTable } from '../host/event-table.tsx';
import { Waiting } from '../parts/empty.tsx';
import { call } from '../store/api.ts';
import { useLastEvent, useLoaded } from '../store/hooks.ts';

export function VmEvents({ vm }: { vm: Vm }) {
  const last = useLastEvent(vm.id);
  const { value, error } = useLoaded(`${vm.id} ${last}`, () => call('listEvents', { query: { vm: vm.id, last: 500 } }));
  return value === undefined ? <Waiting error={error} /> : <EventTable events={value} />;
}
