/** Which VMs the list shows, and in what order. */
import type { Vm } from '../../contracts/api/vm.ts';

export interface View {
  readonly search: string;
  /** '' is every state. */
  readonly state: string;
  readonly tag: string;
  readonly sort: SortKey;
  readonly descending: boolean;
}

export type SortKey = 'name' | 'state' | 'processor' | 'memory' | 'uptime';

type Value = string | number;
/** What is known of a VM that runs. */
export interface Figures {
  readonly load: number;
  readonly addresses: readonly string[];
}

export function shownVms(vms: Iterable<Vm>, view: View, figuresOf: (id: string) => Figures): Vm[] {
  const words = view.search.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const found = [...vms].filter((vm) => {
    const { tags, notes } = vm.configuration;
    const all = [vm.name, vm.id, vm.state, notes, ...tags, ...(words.length === 0 ? [] : figuresOf(vm.id).addresses)];
    const text = all.join('\n').toLocaleLowerCase();
    if (view.tag !== '' && !tags.includes(view.tag)) return false;
    if (view.state !== '' && vm.state !== view.state) return false;
    return words.every((word) => text.includes(word));
  });
  const values: Readonly<Record<SortKey, (vm: Vm) => Value>> = {
    name: ({ name }) => name,
    state: ({ state }) => state,
    processor: ({ id }) => figuresOf(id).load,
    memory: ({ memoryAssigned }) => memoryAssigned,
    // Started later: up for less long; not started: not at all.
    uptime: ({ startedAt }) => (startedAt === null ? 0 : Number.MAX_SAFE_INTEGER - Date.parse(startedAt)),
  };
  const value = values[view.sort];
  const sign = view.descending ? -1 : 1;
  return found.sort((a, b) => sign * compared(value(a), value(b)) || compared(a.name, b.name));
}

const names = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
function compared(a: Value, b: Value): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : names.compare(String(a), String(b));
}
