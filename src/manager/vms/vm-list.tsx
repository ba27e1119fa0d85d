/** All virtual machines. */
import { useCallback, useDeferredValue, useMemo, useState } from 'react';
import { VM_STATES } from '../../contracts/vm-state.ts';
import { Empty } from '../parts/empty.tsx';
import { Link } from '../parts/link.tsx';
import { PageHead } from '../parts/page-head.tsx';
import { gaugeOf } from '../store/gauges.ts';
import { useMay, useNow, useStore } from '../store/hooks.ts';
import { VmActions } from './actions.tsx';
import { type Figures, type SortKey, shownVms, type View } from './filter.ts';
import { VmRow } from './vm-row.tsx';

const COLUMNS: readonly (readonly [SortKey | undefined, string, string])[] = [
  ['name', 'Name', ''],
  ['state', 'State', ''],
  ['processor', 'Processor', 'mid'],
  ['memory', 'Memory', 'mid number'],
  ['uptime', 'Uptime', 'wide mid'],
  [undefined, 'Heartbeat', 'wide mid'],
  [undefined, 'Address', 'wide mid'],
];

function figuresOf(id: string): Figures {
  const latest = gaugeOf(id)?.latest;
  return { load: latest?.metrics.processorPercent ?? 0, addresses: latest?.addresses ?? [] };
}

export function VmList() {
  const vms = useStore((state) => state.vms);
  const operator = useMay('operator');
  const administrator = useMay('administrator');
  const [view, setView] = useState<View>({ search: '', state: '', tag: '', sort: 'name', descending: false });
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const wanted = useDeferredValue(view);
  // What follows figures is looked at again as they come; the rest when something has changed.
  const tick = useNow(2);
  const round = wanted.sort === 'processor' || wanted.search !== '' ? tick : 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the round says that figures are others
  const rows = useMemo(() => shownVms(vms.values(), wanted, figuresOf), [vms, wanted, round]);
  const tags = useMemo(
    () => [...new Set([...vms.values()].flatMap(({ configuration }) => configuration.tags))].sort(),
    [vms],
  );
  const states = VM_STATES.filter((state) => [...vms.values()].some((vm) => vm.state === state));
  const choose = useCallback((id: string, on: boolean) => {
    setChosen((before) => {
      const after = new Set(before);
      if (on) after.add(id);
      else after.delete(id);
      return after;
    });
  }, []);
  const picked = rows.filter(({ id }) => chosen.has(id));
  const set = (part: Partial<View>): void => setView((before) => ({ ...before, ...part }));
  return (
    <>
      <PageHead title="Virtual machines">
        {administrator ? (
          <Link href="/new" className="button main-action">
            New virtual machine
          </Link>
        ) : null}
      </PageHead>
      {vms.size === 0 ? (
        <None administrator={administrator} />
      ) : (
        <>
          <div className="toolbar">
            <input
              className="input search"
              type="search"
              placeholder="Search names, tags, addresses"
              aria-label="Search"
              value={view.search}
              onChange={({ target }) => set({ search: target.value })}
            />
            <select
              className="input fit"
              aria-label="State"
              value={view.state}
              onChange={({ target }) => set({ state: target.value })}
            >
              <option value="">Any state</option>
              {states.map((state) => (
                <option key={state}>{state}</option>
              ))}
            </select>
            {tags.length === 0 ? null : (
              <select
                className="input fit"
                aria-label="Tag"
                value={view.tag}
                onChange={({ target }) => set({ tag: target.value })}
              >
                <option value="">Any tag</option>
                {tags.map((tag) => (
                  <option key={tag}>{tag}</option>
                ))}
              </select>
            )}
            {picked.length === 0 ? null : (
              <>
                <span>{picked.length} chosen</span>
                <VmActions vms={picked} buttons={['start', 'shutdown', 'save']} />
              </>
            )}
          </div>
          <div className="table-box">
            <table className="table vm-table">
              <thead>
                <tr>
                  <th className="pick">
                    <input
                      type="checkbox"
                      aria-label="Choose all"
                      checked={rows.length > 0 && picked.length === rows.length}
                      onChange={({ target }) => setChosen(new Set(target.checked ? rows.map(({ id }) => id) : []))}
                    />
                  </th>
                  {operator ? <th>Screen</th> : null}
                  {COLUMNS.map(([key, title, className]) =>
                    key === undefined ? (
                      <th key={title} className={className}>
                        {title}
                      </th>
                    ) : (
                      <th
                        key={title}
                        className={className}
                        aria-sort={view.sort === key ? (view.descending ? 'descending' : 'ascending') : undefined}
                      >
                        <button
                          type="button"
                          onClick={() => set({ sort: key, descending: view.sort === key && !view.descending })}
                        >
                          {title}
                        </button>
                      </th>
                    ),
                  )}
                  <th>
                    <span className="hidden-label">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {rows.map((vm) => (
                  <VmRow key={vm.id} vm={vm} chosen={chosen.has(vm.id)} onChoose={choose} />
                ))}
              </tbody>
            </table>
          </div>
          {rows.length === 0 ? (
            <p className="quiet note">No virtual machine is like that. Change the search to see more.</p>
          ) : null}
        </>
      )}
    </>
  );
}

function None({ administrator }: { administrator: boolean }) {
  return administrator ? (
    <Empty
      title="No virtual machines yet"
      text="A virtual machine needs something to boot: a disk that holds a Linux system, or a kernel and an initial RAM disk."
    >
      <Link href="/new" className="button main-action">
        Make the first one
      </Link>
      <p>
        From a terminal, <code>hv vm new NAME --disk FILE</code> does the same.
      </p>
    </Empty>
  ) : (
    <Empty
      title="No virtual machines"
      text="Nothing is here that your role lets you see. An administrator makes virtual machines and says who may see them."
    />
  );
}
