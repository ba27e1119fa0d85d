import { describe, expect, it } from 'vitest';
import { changesIn, type FieldOf } from './field-table.tsx';

const FIELDS: readonly FieldOf[] = [
  { of: 'name', label: 'Name', kind: 'text' },
  { of: 'memory', label: 'Memory', kind: 'size' },
  { of: 'limit', label: 'Limit', kind: 'megabits' },
  { of: 'tags', label: 'Tags', kind: 'words' },
  { of: 'spoofing', label: 'Spoofing', kind: 'check' },
  { of: 'egress', label: 'Egress', kind: 'optionalWords' },
  { of: 'notes', label: 'Notes', kind: 'area' },
];
// No whole number of tenths of a mebibyte: what is shown is rounded.
const VALUES = { name: 'web', memory: 314_576_896, limit: null, tags: ['a', 'b'], spoofing: true, notes: 'one\ntwo' };

function form(texts: Readonly<Record<string, string>>): FormData {
  const data = new FormData();
  const shown = {
    name: 'web',
    memory: '300 MiB',
    limit: '',
    tags: 'a b',
    spoofing: 'on',
    egress: '',
    notes: 'one\r\ntwo',
  };
  for (const [name, text] of Object.entries({ ...shown, ...texts })) if (text !== 'off') data.set(name, text);
  return data;
}

describe('a form', () => {
  it('that was left as it is says nothing, whatever was rounded', () => {
    expect(changesIn(FIELDS, VALUES, form({}))).toEqual({});
  });
  it.each<[Record<string, string>, object]>([
    [{ name: ' db ' }, { name: 'db' }],
    [{ memory: '1.5g' }, { memory: 1.5 * 2 ** 30 }],
    [{ limit: '2.5' }, { limit: 2_500_000 }],
    [{ tags: '' }, { tags: [] }],
    [{ tags: 'a, c' }, { tags: ['a', 'c'] }],
    [{ spoofing: 'off' }, { spoofing: false }],
    [{ egress: 'tcp:192.0.2.7:443' }, { egress: ['tcp:192.0.2.7:443'] }],
    [{ notes: 'one' }, { notes: 'one' }],
  ])('with %j changes %j', (texts, changes) => expect(changesIn(FIELDS, VALUES, form(texts))).toEqual(changes));
  it('with what is cleared goes back to the default', () => {
    expect(changesIn(FIELDS, { ...VALUES, limit: 1e6, egress: ['x:1'] }, form({}))).toEqual({
      limit: null,
      egress: null,
    });
  });
  it('with what is no size says so', () => {
    expect(() => changesIn(FIELDS, VALUES, form({ memory: 'lots' }))).toThrow('the memory must be a size');
  });
});
