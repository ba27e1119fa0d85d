/** The host: what it has, what it must have, its edition. */
import { useState } from 'react';
import type { Edition, Host } from '../../contracts/api/resources.ts';
import { isLive } from '../../contracts/vm-state.ts';
import { Button } from '../parts/button.tsx';
import { Waiting } from '../parts/empty.tsx';
import { Facts } from '../parts/facts.tsx';
import { Choice } from '../parts/field.tsx';
import { PageHead } from '../parts/page-head.tsx';
import { call } from '../store/api.ts';
import { bytes, clock, percent } from '../store/format.ts';
import { gaugeOf } from '../store/gauges.ts';
import { useMay, useNow, useStore } from '../store/hooks.ts';
import { change } from '../store/live.ts';
import { attempt } from '../store/run.ts';

const EDITIONS: readonly (readonly [Edition, string])[] = [
  ['Unlimited', 'Unlimited: what the host has'],
  ['2008 Standard', '2008 Standard: 31 GB'],
  ['2008 R2 Standard', '2008 R2 Standard: 32 GB'],
  ['2008 R2 Enterprise', '2008 R2 Enterprise: 2 TB'],
  ['2008 R2 Datacenter', '2008 R2 Datacenter: 2 TB'],
];

export function HostPage() {
  const host = useStore((state) => state.host);
  const administrator = useMay('administrator');
  const [edition, setEdition] = useState<Edition>();
  if (host === undefined) return <Waiting />;
  const save = (): void =>
    void attempt('Set the edition', async () =>
      change({ kind: 'host', host: await call('setHost', { body: { edition: edition! } }) }),
    );
  return (
    <>
      <PageHead title={host.name} />
      <div className="halves">
        <section className="panel">
          <h2>Host</h2>
          <Facts
            rows={[
              ['Viridian', host.version],
              ['Processors', `${host.processors}, ${host.processorModel}`],
              ['Engine', 'software: x86-64 translated to WebAssembly'],
              ['Memory', bytes(host.memory)],
              ['Data', host.dataFolder],
              ['Service since', clock(host.startedAt)],
            ]}
          />
        </section>
        <Resources host={host} />
        <section className="panel">
          <h2>Requirements</h2>
          <ul className="stack">
            {host.requirements.map(({ name, met, required, text }) => (
              <li key={name}>
                <span className="state" data-look={met ? 'on' : required ? 'bad' : 'off'}>
                  {name}
                </span>
                <p className="quiet wrap">
                  {!met && required ? 'Missing. ' : ''}
                  {text}
                </p>
              </li>
            ))}
          </ul>
        </section>
        <section className="panel stack">
          <h2>Edition</h2>
          <p className="quiet">An edition limits the memory that all running machines may have together.</p>
          {administrator ? (
            <>
              <Choice
                label="Edition"
                value={edition ?? host.edition}
                options={EDITIONS}
                onChange={({ target }) => setEdition(target.value as Edition)}
              />
              <div className="buttons">
                <Button disabled={edition === undefined || edition === host.edition} onClick={save}>
                  Save changes
                </Button>
              </div>
            </>
          ) : (
            <p>{host.edition}</p>
          )}
        </section>
      </div>
    </>
  );
}

/** What machines take of what there is. */
function Resources({ host }: { host: Host }) {
  const vms = useStore((state) => state.vms);
  useNow(2);
  const running = [...vms.values()].filter(({ state }) => isLive(state));
  const load = running.reduce((sum, { id }) => sum + (gaugeOf(id)?.latest.metrics.processorPercent ?? 0), 0);
  const most = host.memoryLimit ?? host.memory;
  const whose = host.memoryLimit === null ? '' : ', the most that the edition lets them have';
  return (
    <section className="panel stack">
      <h2>Resources</h2>
      <Meter
        label="Processors"
        text={`${percent(load / host.processors)} of ${host.processors} taken by virtual machines`}
        part={load / (100 * host.processors)}
      />
      <Meter
        label="Memory for virtual machines"
        text={`${bytes(host.memoryAssigned)} assigned of ${bytes(most)}${whose}`}
        part={host.memoryAssigned / most}
      />
      <Meter
        label="Memory of the host"
        text={`${bytes(host.memory - host.memoryAvailable)} taken of ${bytes(host.memory)}, ${bytes(host.memoryAvailable)} available`}
        part={1 - host.memoryAvailable / host.memory}
      />
      <p className="quiet">
        {host.virtualMachines === 1 ? '1 virtual machine' : `${host.virtualMachines} virtual machines`}, {host.running}{' '}
        running
      </p>
    </section>
  );
}

function Meter({ label, text, part }: { label: string; text: string; part: number }) {
  return (
    <div className="field">
      <span className="field-label">{label}</span>
      <progress aria-label={label} value={Math.min(1, part)} />
      <span className="quiet">{text}</span>
    </div>
  );
}
