/** A graph with its title and its newest figures, which are text too, and say which line is whose. */
import { Suspense } from 'react';
import { later } from '../parts/later.tsx';
import { bytes, percent } from '../store/format.ts';
import { useGauge } from '../store/hooks.ts';
import type { Series } from './charts.tsx';

const Chart = later(async () => (await import('./charts.tsx')).Chart);
const FIGURES = { percent, bytes, rate: (value: number) => `${bytes(value)}/s` } as const;

export function Graph({
  vm,
  title,
  series,
  figure,
}: {
  vm: string;
  title: string;
  series: readonly Series[];
  figure: keyof typeof FIGURES;
}) {
  const sample = useGauge(vm)?.samples.at(-1);
  return (
    <section className="panel">
      <div className="chart-head">
        <h2>{title}</h2>
        {sample === undefined ? (
          <span className="quiet">no figures yet</span>
        ) : (
          series.map(({ label, value }) => (
            <span key={label} className="quiet chart-key">
              {series.length > 1 ? `${label} ` : ''}
              {FIGURES[figure](value(sample))}
            </span>
          ))
        )}
      </div>
      <Suspense fallback={<div className="chart" />}>
        <Chart vm={vm} series={series} figure={figure} />
      </Suspense>
    </section>
  );
}

export const PROCESSOR: readonly Series[] = [{ label: 'load', value: ({ processor }) => processor }];
export const DISK: readonly Series[] = [
  { label: 'read', value: ({ diskRead }) => diskRead },
  { label: 'written', value: ({ diskWritten }) => diskWritten },
];
export const NETWORK: readonly Series[] = [
  { label: 'received', value: ({ received }) => received },
  { label: 'sent', value: ({ sent }) => sent },
];
export const MEMORY: readonly Series[] = [
  { label: 'assigned', value: ({ memoryAssigned }) => memoryAssigned },
  { label: 'demand', value: ({ memoryDemand }) => memoryDemand },
];
