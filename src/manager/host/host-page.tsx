/** The host: what it has, what it must have, its edition. */
import { useState } from 'react';
import type { Edition } from '../../contracts/api/resources.ts';
import { Button } from '../parts/button.tsx';
import { Waiting } from '../parts/empty.tsx';
import { Facts } from '../parts/facts.tsx';
import { Choice } from '../parts/field.tsx';
import { PageHead } from '../parts/page-head.tsx';
import { call } from '../store/api.ts';
import { bytes, clock } from '../store/format.ts';
import { useMay, useStore } from '../store/hooks.ts';
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
      <div className="grid">
        <section className="panel">
          <h2>Host</h2>
          <Facts
            rows={[
              ['Viridian', host.version],
              ['Processors', `${host.processors}, ${host.processorModel}`],
              ['Engine', 'software: x86-64 translated to WebAssembly'],
              ['Memory', `${bytes(host.memory)}, ${bytes(host.memoryAvailable)} available`],
              [
                'Assigned',
                `${bytes(host.memoryAssigned)}${host.memoryLimit === null ? '' : ` of ${bytes(host.memoryLimit)}`}`,
              ],
              ['Virtual machines', `${host.virtualMachines}, ${host.running} running`],
              ['Data', host.dataFolder],
              ['Service since', clock(host.startedAt)],
            ]}
          />
          <progress
            aria-label="Memory assigned"
            style={{ marginTop: 'var(--s3)' }}
            max={host.memoryLimit ?? host.memory}
            value={host.memoryAssigned}
          />
        </section>
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
