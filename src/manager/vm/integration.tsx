/** What the guest's integration components are, and say. */
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Button } from '../parts/button.tsx';
import { Empty, Waiting } from '../parts/empty.tsx';
import { Facts } from '../parts/facts.tsx';
import { call } from '../store/api.ts';
import { plainText } from '../store/format.ts';
import { useGauge, useLoaded, useMay } from '../store/hooks.ts';
import { attempt } from '../store/run.ts';

const yes = (there: boolean): string => (there ? 'in use' : 'no driver in the guest');

export function Integration({ vm }: { vm: Vm }) {
  const operator = useMay('operator');
  const on = isAttended(vm.state);
  const gauge = useGauge(vm.id);
  const heartbeat = on ? gauge?.latest.heartbeat : undefined;
  const key = `${vm.id} ${vm.state} ${heartbeat ?? ''}`;
  const { value, error, again } = useLoaded(key, async () =>
    on ? await call('getIntegration', { params: { vm: vm.id } }) : undefined,
  );
  const pairs = useLoaded(key, async () =>
    on ? await call('listKvp', { params: { vm: vm.id, pool: 'auto' } }).catch(() => ({})) : {},
  );
  if (!on)
    return (
      <Empty
        title={`${vm.name} is ${vm.state}`}
        text="What the guest's drivers say is here while it runs: heartbeat, time, shutdown, key-value pairs."
      />
    );
  if (value === undefined) return <Waiting error={error} />;
  return (
    <div className="grid">
      <section className="panel">
        <h2>Services</h2>
        <Facts
          rows={[
            ['Heartbeat', heartbeat ?? value.heartbeat],
            ['Keyboard', yes(value.keyboard)],
            ['Mouse', yes(value.mouse)],
            ['Dynamic memory', yes(value.dynamicMemory)],
            ['Data exchange', Object.keys(pairs.value ?? {}).length > 0 ? 'in use' : 'no daemon in the guest'],
            ['Addresses', plainText(value.addresses.join(', ')) || 'the guest says none'],
          ]}
        />
        <div className="buttons" style={{ marginTop: 'var(--s4)' }}>
          <Button look="small" onClick={again}>
            Ask again
          </Button>
          {operator ? (
            <Button
              look="small"
              onClick={() => void attempt('Set the clock', () => call('setTime', { params: { vm: vm.id } }))}
            >
              Set the guest's clock
            </Button>
          ) : null}
        </div>
      </section>
      <section className="panel">
        <h2>What the guest says of itself</h2>
        {Object.keys(pairs.value ?? {}).length === 0 ? (
          <p className="quiet">Nothing: the key-value daemon (hv_kvp_daemon) does not run in it.</p>
        ) : (
          <Facts
            rows={Object.entries(pairs.value ?? {}).map(
              ([name, text]) => [plainText(name), plainText(String(text))] as const,
            )}
          />
        )}
      </section>
    </div>
  );
}
