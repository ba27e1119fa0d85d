/** Graphs of one VM, drawn by uPlot beside React: a sample comes each two seconds. */
import 'uplot/dist/uPlot.min.css';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import { bytes, percent } from '../store/format.ts';
import { followGauge, gaugeOf, type Sample, wantHistory, withHoles } from '../store/gauges.ts';

export interface Series {
  readonly label: string;
  readonly value: (sample: Sample) => number;
}

const HEIGHT = 130;
/** Steps between times: what the axis says has no seconds. */
const MINUTES = [1, 2, 5, 10, 15, 30, 60].map((minutes) => minutes * 60);
/** Steps between lines of a graph of bytes. */
const POWERS = Array.from({ length: 40 }, (_, at) => 2 ** at);

function colour(name: string): string {
  // What light-dark() comes to is known only of a property that was computed.
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

const FIGURES = { percent, bytes, rate: (value: number) => `${bytes(value)}/s` } as const;

/** Seconds; before the first sample: the last five minutes. */
function shownTime(min: number | null, max: number | null): [number, number] {
  const end = max ?? Date.now() / 1000;
  return [Math.min(min ?? end, end - 300), end];
}

function shortClock(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString(undefined, { hour: '2-digit', minute: '2-digit' });
}

export function Chart({ vm, series, figure }: { vm: string; series: readonly Series[]; figure: keyof typeof FIGURES }) {
  const box = useRef<HTMLDivElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: series are constants of their pages
  useEffect(() => {
    const element = box.current!;
    const axis = { stroke: colour('--ink-soft'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false } };
    const strokes = [colour('--accent'), colour('--warning')];
    const data = (): uPlot.AlignedData => {
      const points = withHoles(gaugeOf(vm)?.samples ?? []);
      return [
        points.map(([time]) => time),
        ...series.map(({ value }) => points.map(([, sample]) => (sample === undefined ? null : value(sample)))),
      ];
    };
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false } },
        scales: {
          // At least five minutes, so that a graph that has just begun is not one point stretched.
          x: { range: (_, min, max) => shownTime(min, max) },
          y: { range: (_, __, max) => [0, Math.max(max * 1.15, figure === 'percent' ? 5 : 1024)] },
        },
        axes: [
          { ...axis, size: 24, space: 90, incrs: MINUTES, values: (_, times) => times.map(shortClock) },
          {
            ...axis,
            size: 74,
            space: 32,
            ...(figure === 'percent' ? {} : { incrs: POWERS }),
            values: (_, values) => values.map((value) => FIGURES[figure](value)),
          },
        ],
        series: [
          {},
          ...series.map(({ label }, at) => ({ label, stroke: strokes[at]!, width: 1.5, points: { show: false } })),
        ],
      },
      data(),
      element,
    );
    void wantHistory(vm);
    const stop = followGauge(vm, () => plot.setData(data()));
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      stop();
      observer.disconnect();
      plot.destroy();
    };
  }, [vm, figure]);
  return <div className="chart" ref={box} aria-hidden />;
}
