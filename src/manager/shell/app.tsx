/** The frame of the page, and which page is in it. */
import { useEffect, useRef, useState } from 'react';
import { Create } from '../create/create.tsx';
import { AccessPage } from '../host/access-page.tsx';
import { DisksPage } from '../host/disks-page.tsx';
import { EventsPage } from '../host/events-page.tsx';
import { HostPage } from '../host/host-page.tsx';
import { SwitchesPage } from '../host/switches-page.tsx';
import { Boundary } from '../parts/boundary.tsx';
import { Button } from '../parts/button.tsx';
import { Empty } from '../parts/empty.tsx';
import { Link } from '../parts/link.tsx';
import { useMay, useStore } from '../store/hooks.ts';
import { signOut } from '../store/live.ts';
import { usePath } from '../store/router.ts';
import { VmPage } from '../vm/vm-page.tsx';
import { VmList } from '../vms/vm-list.tsx';
import { SignIn } from './sign-in.tsx';
import { chooseTheme, chosenTheme, THEMES, type Theme } from './theme.ts';
import { Toasts } from './toasts.tsx';
import { Tray } from './tray.tsx';

export function App() {
  const session = useStore((state) => state.session);
  const path = usePath();
  if (session === 'none') return <SignIn />;
  return (
    <div className="shell">
      <Side />
      <main className="main" id="main">
        <Offline />
        <Boundary key={path}>
          <Page />
        </Boundary>
      </main>
      <Tray />
      <Toasts />
    </div>
  );
}

function Page() {
  const path = usePath();
  const loaded = useStore((state) => state.loaded);
  const administrator = useMay('administrator');
  const vm = /^\/vms\/([^/]+)(?:\/([a-z]+))?$/.exec(path);
  if (!loaded) return <p className="quiet">Connecting to the service…</p>;
  if (vm) return <VmPage id={vm[1]!} tab={vm[2] ?? 'summary'} />;
  if (path === '/') return <VmList />;
  if (path === '/new' && administrator) return <Create />;
  if (path === '/disks' && administrator) return <DisksPage />;
  if (path === '/switches') return <SwitchesPage />;
  if (path === '/events') return <EventsPage />;
  if (path === '/host') return <HostPage />;
  if (path === '/access' && administrator) return <AccessPage />;
  return (
    <Empty title="There is no such page" text={administrator ? path : `${path}: or your role does not include it.`}>
      <Link href="/" className="button">
        Virtual machines
      </Link>
    </Empty>
  );
}

function Side() {
  const path = usePath();
  const session = useStore((state) => state.session);
  const connection = useStore((state) => state.connection);
  const count = useStore((state) => state.vms.size);
  const administrator = useMay('administrator');
  const [theme, setTheme] = useState<Theme>(chosenTheme);
  const links = [
    ['/', 'Virtual machines', String(count)],
    ...(administrator ? [['/disks', 'Disks', '']] : []),
    ['/switches', 'Switches', ''],
    ['/events', 'Events', ''],
    ['/host', 'Host', ''],
    ...(administrator ? [['/access', 'Access', '']] : []),
  ] as const;
  const here = (href: string): boolean =>
    href === '/' ? path === '/' || path.startsWith('/vms/') || path === '/new' : path === href;
  const bar = useRef<HTMLElement>(null);
  // Where the pages do not all fit, the one that is shown does.
  // biome-ignore lint/correctness/useExhaustiveDependencies: for each page, and when there are more of them
  useEffect(() => {
    bar.current?.querySelector('[aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }, [path, administrator]);
  const words = { live: 'Connected', connecting: 'Connecting', lost: 'Not connected' } as const;
  return (
    <header className="side">
      <Link href="/" className="brand">
        <img src="/icon.svg" alt="" />
        Viridian
      </Link>
      <nav aria-label="Pages" ref={bar}>
        {links.map(([href, label, extra]) => (
          <Link key={href} href={href} aria-current={here(href) ? 'page' : undefined}>
            {label} <span className="quiet">{extra}</span>
          </Link>
        ))}
      </nav>
      <div className="side-foot">
        <span className="connection" data-state={connection} role="status">
          <span className="word">{words[connection]}</span>
        </span>
        {typeof session === 'object' ? (
          <span className="quiet who wrap">
            {session.name}, {session.role}
          </span>
        ) : null}
        <select
          className="input fit"
          aria-label="Colours"
          value={theme}
          onChange={({ target }) => {
            setTheme(target.value as Theme);
            chooseTheme(target.value as Theme);
          }}
        >
          {THEMES.map((each) => (
            <option key={each} value={each}>
              {each === 'system' ? 'System colours' : each === 'light' ? 'Light' : 'Dark'}
            </option>
          ))}
        </select>
        <Button look="small" onClick={() => void signOut()}>
          Sign out
        </Button>
      </div>
    </header>
  );
}

function Offline() {
  const connection = useStore((state) => state.connection);
  if (connection !== 'lost') return null;
  return (
    <p className="offline" role="alert">
      The service does not answer. Virtual machines go on without it. What is shown is the last that was known; this
      page connects again by itself when the service is back (hv service run).
    </p>
  );
}
