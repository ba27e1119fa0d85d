/** What goes on inside a guest: what the commands do. */
import { ViridianError } from '../../../contracts/errors.ts';
import type { KeyValuePool } from '../../../contracts/partition.ts';
import { writeOutput } from '../../../host/node/files.ts';
import { printable } from '../../../support/text.ts';
import type { Action } from '../command-row.ts';
import { list, showOne, showRows, write } from '../output.ts';
import { onlyAsked, told, vmOf } from '../session.ts';
import { oneOf } from '../values.ts';

export const screenshot: Action = async ([name, file]) => {
  const png = await (await vmOf(name)).screenshot();
  if (file === '-') process.stdout.write(png);
  else await writeOutput('screenshot', file!, png);
  return undefined;
};

export const type: Action = async ([name, text], flags) => {
  const vm = await vmOf(name);
  const params = { vm: vm.id };
  if (flags.keys) {
    await vm.host.transport.call('sendKeys', { params, body: { keys: text!.split('+') } });
    return undefined;
  }
  const { untyped } = await vm.host.transport.call('sendKeys', {
    params,
    body: { text: `${text}${flags.enter ? '\n' : ''}` },
  });
  if (untyped !== '')
    throw new ViridianError(
      'failure',
      `not typed: '${printable(untyped)}': a US keyboard does not have it, or no keyboard driver runs in the guest`,
    );
  return undefined;
};

export const showIc: Action = async ([name], flags) => {
  const vm = await vmOf(name);
  const state = await vm.integration();
  const there = (ready: boolean): string => (ready ? 'there' : 'not there');
  await showOne(
    state,
    flags,
    () =>
      list([
        ['heartbeat', state.heartbeat],
        ['keyboard', there(state.keyboard)],
        ['mouse', there(state.mouse)],
        ['dynamic memory', there(state.dynamicMemory)],
      ]),
    vm.name,
  );
  return undefined;
};

export const time: Action = async ([name], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `have ${vm.name} set its clock`)) return undefined;
  await vm.host.transport.call('setTime', { params: { vm: vm.id } });
  return undefined;
};

function setFrozen(frozen: boolean): Action {
  return async ([name], flags) => {
    const vm = await vmOf(name);
    if (onlyAsked(flags, `${frozen ? 'freeze' : 'thaw'} the file systems of ${vm.name}`)) return undefined;
    await vm.host.transport.call('setFrozen', { params: { vm: vm.id }, body: { frozen } });
    if (frozen) told(`frozen; 'hv ic thaw ${vm.name}' before long: the guest thaws by itself when it has enough of it`);
    return undefined;
  };
}
export const freeze = setFrozen(true);
export const thaw = setFrozen(false);

function poolOf(text: string | undefined): KeyValuePool {
  return oneOf('the pool', ['external', 'guest', 'auto'])(text ?? 'auto') as KeyValuePool;
}

export const listKvp: Action = async ([name, pool], flags) => {
  const values = Object.entries(await (await vmOf(name)).values(poolOf(pool)));
  await showRows(values, flags, {
    name: ([key]) => key,
    none: 'no values',
    columns: [
      { title: 'KEY', value: ([key]) => key },
      { title: 'VALUE', value: ([, value]) => value },
    ],
  });
  return undefined;
};

export const getKvp: Action = async ([name, key, pool]) => {
  const value = (await (await vmOf(name)).values(poolOf(pool)))[key!];
  if (value === undefined) throw new ViridianError('notFound', `there is no key '${key}'`);
  write(printable(value, 2000));
  return undefined;
};

export const setKvp: Action = async ([name, key, value], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `set ${key} of ${vm.name}`)) return undefined;
  await vm.setValue('external', key!, value!);
  return undefined;
};

export const removeKvp: Action = async ([name, key], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `remove ${key} of ${vm.name}`)) return undefined;
  const params = { vm: vm.id, pool: 'external', key: key! };
  await vm.host.transport.call('removeKvp', { params });
  return undefined;
};
