import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isLive, mayDo, refusal, VM_ACTIONS, VM_STATES, VM_TRANSITIONS } from '../vm-state.ts';
import { NewVm, VM_DEFAULTS, VmConfiguration } from './vm.ts';
import { vmSchemaText } from './vm-schema.ts';

describe('states', () => {
  it('each action leads from states to a state, through one', () => {
    for (const action of VM_ACTIONS) {
      const { from, through, to } = VM_TRANSITIONS[action];
      expect(from.length).toBeGreaterThan(0);
      for (const state of [...from, through, to]) expect(state === undefined || VM_STATES.includes(state)).toBe(true);
    }
  });

  it('a VM without a worker can only be started, or forgets its saved state', () => {
    for (const state of VM_STATES.filter((each) => !isLive(each)))
      for (const action of VM_ACTIONS)
        if (mayDo(action, state)) expect(['start', 'discardSavedState']).toContain(action);
  });

  it('whatever hangs can be turned off', () => {
    for (const state of VM_STATES.filter(isLive)) expect(mayDo('turnOff', state) || state === 'Saving').toBe(true);
  });

  it('a refusal says what would be needed', () => {
    expect(refusal('resume', 'web', 'Off')).toBe('cannot resume web: it is Off, and that needs Paused');
  });
});

describe('configurations', () => {
  it('defaults are whole', () => {
    expect(VmConfiguration.parse({ ...VM_DEFAULTS, name: 'a' })).toEqual({ ...VM_DEFAULTS, name: 'a' });
  });

  it.each<[string, unknown]>([
    ['a name with a path in it', { name: 'a/b' }],
    ['a name that looks like an id', { name: '00000000-0000-0000-0000-000000000000' }],
    ['no name', {}],
    ['memory in half pages', { name: 'a', memory: 2 ** 21 + 1 }],
    ['a relative path', { name: 'a', boot: { kernel: 'vmlinuz' } }],
    ['a path with a NUL', { name: 'a', boot: { kernel: '/a\0b' } }],
    ['another version', { name: 'a', version: 2 }],
    ['what nobody knows', { name: 'a', frobnicate: true }],
  ])('%s is refused', (_what, given) => {
    expect(NewVm.safeParse(given).success).toBe(false);
  });

  it('the published schema is that of the build', () => {
    const path = fileURLToPath(new URL('../../../docs/reference/vm.schema.json', import.meta.url));
    expect(readFileSync(path, 'utf8')).toBe(vmSchemaText());
  });
});
