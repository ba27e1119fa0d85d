import { expect, it } from 'vitest';
import type { Checkpoint } from '../../contracts/api/resources.ts';
import type { Vm } from '../../contracts/api/vm.ts';
import { checkpointTree } from '../vm/checkpoint-tree.ts';
import { shownVms, type View } from './filter.ts';

const vm = (name: string, state: string, tags: string[] = [], startedAt: string | null = null) =>
  ({ id: name, name, state, memoryAssigned: 0, startedAt, configuration: { tags, notes: '' } }) as unknown as Vm;
const all = [
  vm('web10', 'Off', ['edge']),
  vm('web9', 'Running', ['edge'], '2026-01-01T00:00:00Z'),
  vm('db', 'Running', [], '2026-01-02T00:00:00Z'),
];
const view: View = { search: '', state: '', tag: '', sort: 'name', descending: false };
const names = (part: Partial<View>) =>
  shownVms(all, { ...view, ...part }, (id) => ({ load: id.length, addresses: [`10.0.0.${id.length}`] })).map(
    ({ name }) => name,
  );

it('names sort as people count', () => expect(names({})).toEqual(['db', 'web9', 'web10']));
it('every word must be found', () => expect(names({ search: 'EDGE run' })).toEqual(['web9']));
it('addresses are searched too', () => expect(names({ search: '10.0.0.5' })).toEqual(['web10']));
it('by state and tag', () => expect(names({ state: 'Off', tag: 'edge' })).toEqual(['web10']));
it('the longest up last, or first', () => {
  expect(names({ sort: 'uptime' })).toEqual(['web10', 'db', 'web9']);
  expect(names({ sort: 'uptime', descending: true })).toEqual(['web9', 'db', 'web10']);
});
it('by load', () => expect(names({ sort: 'processor', descending: true })).toEqual(['web10', 'web9', 'db']));

it('checkpoints are a tree; one whose parent is gone is a root', () => {
  const point = (id: string, parent: string | null) => ({ id, parent }) as Checkpoint;
  const tree = checkpointTree([point('a', null), point('b', 'a'), point('c', 'a'), point('d', 'gone')]);
  expect(tree.map(({ checkpoint, children }) => [checkpoint.id, children.map((child) => child.checkpoint.id)])).toEqual(
    [
      ['a', ['b', 'c']],
      ['d', []],
    ],
  );
});
