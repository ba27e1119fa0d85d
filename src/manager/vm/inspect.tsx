/** The inspect tree: what processors and devices say of themselves, asked when the reader wants it. */
import type { Vm } from '../../contracts/api/vm.ts';
import { isAttended } from '../../contracts/vm-state.ts';
import { Button } from '../parts/button.tsx';
import { Empty, Waiting } from '../parts/empty.tsx';
import { call } from '../store/api.ts';
import { plainText } from '../store/format.ts';
import { useLoaded } from '../store/hooks.ts';

export function Inspect({ vm }: { vm: Vm }) {
  const on = isAttended(vm.state);
  const { value, error, again } = useLoaded(`${vm.id} ${vm.state}`, async () =>
    on ? await call('inspectVm', { params: { vm: vm.id } }) : undefined,
  );
  if (!on)
    return (
      <Empty
        title={`${vm.name} is ${vm.state}`}
        text="Registers, interrupt controllers and devices can be looked at while it runs."
      />
    );
  if (value === undefined) return <Waiting error={error} />;
  return (
    <div className="stack">
      <div className="buttons">
        <Button onClick={again}>Look again</Button>
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls is reached by keyboard */}
      <section className="panel inspect" aria-label="State of the machine" tabIndex={0}>
        <Branch value={value} open={2} />
      </section>
    </div>
  );
}

function Branch({ value, open }: { value: object; open: number }) {
  return Object.entries(value).map(([name, each]: [string, unknown]) =>
    typeof each === 'object' && each !== null ? (
      <details key={name} open={open > 1}>
        <summary>{name}</summary>
        <Branch value={each} open={open - 1} />
      </details>
    ) : (
      <div key={name}>
        <code className="quiet">{name}</code> <code className="wrap">{plainText(String(each))}</code>
      </div>
    ),
  );
}
