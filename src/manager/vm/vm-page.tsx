/** One virtual machine: its head, its tabs. */
import { type ComponentType, Suspense, useEffect, useRef } from 'react';
import type { Vm } from '../../contracts/api/vm.ts';
import { Empty } from '../parts/empty.tsx';
import { later } from '../parts/later.tsx';
import { Link } from '../parts/link.tsx';
import { PageHead } from '../parts/page-head.tsx';
import { StateMark } from '../parts/state.tsx';
import { plainText } from '../store/format.ts';
import { useStore } from '../store/hooks.ts';
import { ROLES, type Role } from '../store/roles.ts';
import { VmActions } from '../vms/actions.tsx';
import { Checkpoints } from './checkpoints.tsx';
import { Disks } from './disks.tsx';
import { VmEvents } from './events.tsx';
import { Inspect } from './inspect.tsx';
import { Integration } from './integration.tsx';
import { Memory } from './memory.tsx';
import { Network } from './network.tsx';
import { Settings } from './settings.tsx';
import { Summary } from './summary.tsx';

interface Tab {
  readonly id: string;
  readonly label: string;
  readonly role: Role;
  readonly page: ComponentType<{ vm: Vm }>;
}

// The terminal is large, and not on the way to the list.
const Console = later(async () => (await import('./console.tsx')).Console);

const TABS: readonly Tab[] = [
  { id: 'summary', label: 'Summary', role: 'viewer', page: Summary },
  { id: 'console', label: 'Console', role: 'operator', page: Console },
  { id: 'checkpoints', label: 'Checkpoints', role: 'viewer', page: Checkpoints },
  { id: 'disks', label: 'Disks', role: 'viewer', page: Disks },
  { id: 'network', label: 'Network', role: 'viewer', page: Network },
  { id: 'memory', label: 'Memory', role: 'viewer', page: Memory },
  { id: 'integration', label: 'Integration', role: 'viewer', page: Integration },
  { id: 'settings', label: 'Settings', role: 'administrator', page: Settings },
  { id: 'events', label: 'Events', role: 'viewer', page: VmEvents },
  { id: 'inspect', label: 'Inspect', role: 'operator', page: Inspect },
];

export function VmPage({ id, tab }: { id: string; tab: string }) {
  const vm = useStore(({ vms }) => vms.get(id));
  const session = useStore((state) => state.session);
  const bar = useRef<HTMLElement>(null);
  // Where the tabs do not all fit, the one that is shown does.
  // biome-ignore lint/correctness/useExhaustiveDependencies: for each tab
  useEffect(() => {
    bar.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [tab]);
  if (vm === undefined)
    return (
      <Empty title="This virtual machine is not there" text="It was deleted, or your role does not include it.">
        <Link href="/" className="button">
          Virtual machines
        </Link>
      </Empty>
    );
  const rank = typeof session === 'object' ? ROLES.indexOf(session.role) : -1;
  const tabs = TABS.filter(({ role }) => ROLES.indexOf(role) <= rank);
  const shown = tabs.find((each) => each.id === tab) ?? tabs[0]!;
  return (
    <>
      <PageHead title={vm.name} mark={<StateMark state={vm.state} />}>
        <VmActions vms={[vm]} buttons={['start', 'shutdown', 'resume', 'save']} />
      </PageHead>
      {vm.critical === null ? null : <p className="note bad">{plainText(vm.critical)}</p>}
      <nav className="tabs" ref={bar} aria-label="About this virtual machine">
        {tabs.map((each) => (
          <Link key={each.id} href={`/vms/${id}/${each.id}`} aria-current={each === shown ? 'page' : undefined}>
            {each.label}
          </Link>
        ))}
      </nav>
      <Suspense fallback={<p className="quiet">Loading…</p>}>
        <shown.page vm={vm} key={vm.id} />
      </Suspense>
    </>
  );
}
