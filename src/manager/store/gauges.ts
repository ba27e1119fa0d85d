/** Figures of running VMs with their history, beside the page's state: they change often, and few parts show them. */
import type { VmGauges } from '../../contracts/api/resources.ts';
import type { VmMetrics } from '../../contracts/api/vm.ts';
import { call } from './api.ts';
import { plainText } from './format.ts';

/** Samples kept of each VM: an hour at one each two seconds. */
export const KEPT_SAMPLES = 1800;

export interface Sample {
  /** Seconds since 1970. */
  readonly time: number;
  readonly processor: number;
  readonly memoryDemand: number;
  readonly memoryAssigned: number;
  /** Bytes in a second. */
  readonly diskRead: number;
  readonly diskWritten: number;
  readonly received: number;
  readonly sent: number;
}

export interface Gauge {
  readonly latest: VmGauges;
  readonly samples: readonly Sample[];
}

/** The next state of one VM's figures; counters become rates, a counter that went back (a new run) counts from zero. */
export function withGauges(before: Gauge | undefined, latest: VmGauges): Gauge {
  const { metrics } = latest;
  const time = Date.parse(metrics.time) / 1000;
  const last = before?.latest.metrics;
  const seconds = last === undefined ? 0 : time - Date.parse(last.time) / 1000;
  const rate = (now: number, then: number | undefined): number =>
    seconds <= 0 || then === undefined ? 0 : Math.max(0, (now < then ? now : now - then) / seconds);
  const sample: Sample = {
    time,
    processor: metrics.processorPercent,
    memoryDemand: metrics.memoryDemand,
    memoryAssigned: metrics.memoryAssigned,
    diskRead: rate(metrics.disk.readBytes, last?.disk.readBytes),
    diskWritten: rate(metrics.disk.writtenBytes, last?.disk.writtenBytes),
    received: rate(metrics.network.receivedBytes, last?.network.receivedBytes),
    sent: rate(metrics.network.sentBytes, last?.network.sentBytes),
  };
  return { latest, samples: [...(before?.samples ?? []).slice(-(KEPT_SAMPLES - 1)), sample] };
}

/** What the service has seen and this page has not: before the page was there, and while it was cut off. */
export function withHistory(now: Gauge | undefined, vm: string, history: readonly VmMetrics[]): Gauge | undefined {
  let seen: Gauge | undefined;
  for (const metrics of history) seen = withGauges(seen, { vm, heartbeat: 'No Contact', addresses: [], metrics });
  if (seen === undefined) return now;
  const mine = now?.samples ?? [];
  const unseen = seen.samples.filter(({ time }) => {
    const next = mine.findIndex((sample) => sample.time >= time);
    if (next < 0) return mine.length === 0;
    return next === 0 ? mine[0]!.time > time : isHole(mine[next - 1]!, mine[next]!);
  });
  const samples = [...unseen, ...mine].toSorted((a, b) => a.time - b.time).slice(-KEPT_SAMPLES);
  return { latest: now?.latest ?? seen.latest, samples };
}

/** Seconds without a sample, after which nothing is known of what was between. */
const HOLE = 30;
function isHole(before: Sample, after: Sample): boolean {
  return after.time - before.time > HOLE;
}

/** As a graph takes it: undefined where nothing is known, so that no line is drawn across. */
export function withHoles(samples: readonly Sample[]): (readonly [time: number, sample: Sample | undefined])[] {
  return samples.flatMap((sample, at) => {
    const before = samples[at - 1];
    const known = [sample.time, sample] as const;
    return before !== undefined && isHole(before, sample) ? [[before.time + 1, undefined] as const, known] : [known];
  });
}

/** VMs whose figures of before are known, or asked for. */
const histories = new Set<string>();
/** Asks the service for a VM's figures of before, once; again when this page was cut off. */
export async function wantHistory(vm: string): Promise<void> {
  if (histories.has(vm)) return;
  histories.add(vm);
  const history = await call('listVmMetrics', { params: { vm } }).catch(() => undefined);
  const gauge = history && withHistory(gauges.get(vm), vm, history);
  if (gauge === undefined) {
    histories.delete(vm);
    return;
  }
  gauges.set(vm, gauge);
  for (const listener of listeners.get(vm) ?? []) listener();
}

const gauges = new Map<string, Gauge>();
const listeners = new Map<string, Set<() => void>>();

/** Addresses are what the guest says they are. */
export function tellGauges(told: VmGauges): void {
  const latest = { ...told, addresses: told.addresses.map(plainText) };
  const gauge = withGauges(gauges.get(latest.vm), latest);
  gauges.set(latest.vm, gauge);
  const [before, now] = gauge.samples.slice(-2);
  if (now !== undefined && isHole(before!, now) && histories.delete(latest.vm)) void wantHistory(latest.vm);
  for (const listener of listeners.get(latest.vm) ?? []) listener();
}

export function gaugeOf(vm: string): Gauge | undefined {
  return gauges.get(vm);
}

export function followGauge(vm: string, listener: () => void): () => void {
  const all = listeners.get(vm) ?? new Set();
  listeners.set(vm, all.add(listener));
  return () => all.delete(listener);
}
