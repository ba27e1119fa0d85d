import { describe, expect, it } from 'vitest';
import type { Event, Job, VmGauges } from '../../contracts/api/resources.ts';
import type { Vm } from '../../contracts/api/vm.ts';
import { KEPT_SAMPLES, withGauges, withHistory, withHoles } from './gauges.ts';
import { EMPTY, KEPT_EVENTS, reduce, type State } from './state.ts';

const vm = { id: 'a', name: 'web', state: 'Off' } as Vm;
const withVm: State = reduce(EMPTY, { kind: 'vms', vms: [vm] });

function event(id: number, more: Partial<Event> = {}): Event {
  return { id, time: '', kind: 'vm.state', severity: 'info', vm: 'a', vmName: 'web', text: '', data: {}, ...more };
}

describe('events', () => {
  it('a state is shown at once', () => {
    const after = reduce(withVm, { kind: 'event', event: event(1, { data: { state: 'Running' } }) });
    expect(after.vms.get('a')?.state).toBe('Running');
    expect(after.lastEvent).toBe(1);
  });
  it('what is no state changes nothing but the log', () => {
    const after = reduce(withVm, { kind: 'event', event: event(1, { data: { state: '<b>Running</b>' } }) });
    expect(after.vms).toBe(withVm.vms);
    expect(after.events).toHaveLength(1);
  });
  it('told twice, they count once', () => {
    const once = reduce(withVm, { kind: 'events', events: [event(1), event(2)] });
    expect(reduce(once, { kind: 'events', events: [event(1), event(2)] })).toBe(once);
  });
  it('a VM that was removed goes', () => {
    const after = reduce(withVm, { kind: 'event', event: event(3, { kind: 'vm.removed' }) });
    expect(after.vms.size).toBe(0);
  });
  it('old ones are let go', () => {
    const all = Array.from({ length: KEPT_EVENTS + 5 }, (_, at) => event(at + 1));
    const after = reduce(withVm, { kind: 'events', events: all });
    expect(after.events).toHaveLength(KEPT_EVENTS);
    expect(after.events[0]?.id).toBe(6);
  });
});

it('a job is told of again in its place, a new one comes first', () => {
  const job = (id: string, progress: number) => ({ id, progress }) as Job;
  let state = reduce(EMPTY, { kind: 'jobs', jobs: [job('b', 0), job('a', 0)] });
  state = reduce(state, { kind: 'job', job: job('a', 0.5) });
  state = reduce(state, { kind: 'job', job: job('c', 0) });
  expect(state.jobs.map(({ id, progress }) => [id, progress])).toEqual([
    ['c', 0],
    ['b', 0],
    ['a', 0.5],
  ]);
});

it('jobs that have ended are forgotten at last, none that is under way', () => {
  let state = reduce(EMPTY, { kind: 'job', job: { id: 'long', state: 'running' } as Job });
  for (let at = 0; at < 80; at++) state = reduce(state, { kind: 'job', job: { id: `j${at}`, state: 'done' } as Job });
  expect(state.jobs.map(({ id }) => id)).toContain('long');
  expect(state.jobs).toHaveLength(51);
});

it('a job that has ended is not under way again by an answer that is late', () => {
  const job = (state: Job['state']) => ({ id: 'j', state }) as Job;
  const ended = reduce(EMPTY, { kind: 'job', job: job('cancelled') });
  expect(reduce(ended, { kind: 'job', job: job('running') }).jobs).toEqual([job('cancelled')]);
  expect(reduce(ended, { kind: 'jobs', jobs: [job('running')] }).jobs).toEqual([job('cancelled')]);
});

it('who signs out leaves nothing behind', () => {
  expect(reduce(withVm, { kind: 'session', session: 'none' })).toEqual({ ...EMPTY, session: 'none' });
});

describe('figures', () => {
  const gauges = (seconds: number, readBytes: number): VmGauges => ({
    vm: 'a',
    heartbeat: 'OK',
    addresses: [],
    metrics: {
      time: new Date(seconds * 1000).toISOString(),
      processorPercent: 1,
      processorSeconds: 0,
      instructions: 0,
      memoryAssigned: 0,
      memoryDemand: 0,
      residentMemory: 0,
      disk: { readBytes, writtenBytes: 0 },
      network: { receivedBytes: 0, sentBytes: 0 },
    },
  });
  it('what the service saw before comes first, once', () => {
    const now = withGauges(undefined, gauges(100, 9000));
    const history = [gauges(80, 1000), gauges(90, 2000), gauges(100, 9000)].map(({ metrics }) => metrics);
    const all = withHistory(now, 'a', history)!;
    expect(all.samples.map(({ time, diskRead }) => [time, diskRead])).toEqual([
      [80, 0],
      [90, 100],
      [100, 0],
    ]);
    expect(all.latest).toBe(now.latest);
    expect(withHistory(undefined, 'a', [])).toBeUndefined();
  });
  it('where the page was cut off, the service may know; nothing is drawn where nobody does', () => {
    let gauge = withGauges(undefined, gauges(100, 0));
    for (const at of [102, 104, 164, 166]) gauge = withGauges(gauge, gauges(at, 0));
    expect(withHoles(gauge.samples).map(([time, sample]) => (sample === undefined ? 'hole' : time))).toEqual([
      100,
      102,
      104,
      'hole',
      164,
      166,
    ]);
    const history = [90, 100, 110, 120, 130, 140, 150, 160, 170].map((at) => gauges(at, at * 10).metrics);
    const all = withHistory(gauge, 'a', history)!;
    const times = [90, 100, 102, 104, 110, 120, 130, 140, 150, 160, 164, 166];
    expect(all.samples.map(({ time }) => time)).toEqual(times);
    expect(all.samples.find(({ time }) => time === 110)?.diskRead).toBe(10);
    expect(withHoles(all.samples).map(([time]) => time)).toEqual(times);
  });
  it('counters become rates, and a new run counts from zero', () => {
    let gauge = withGauges(undefined, gauges(100, 5000));
    gauge = withGauges(gauge, gauges(102, 9000));
    gauge = withGauges(gauge, gauges(104, 1000));
    expect(gauge.samples.map(({ diskRead }) => diskRead)).toEqual([0, 2000, 500]);
  });
  it('keeps so many', () => {
    let gauge = withGauges(undefined, gauges(0, 0));
    for (let at = 1; at < KEPT_SAMPLES + 3; at++) gauge = withGauges(gauge, gauges(at, 0));
    expect(gauge.samples).toHaveLength(KEPT_SAMPLES);
  });
});
