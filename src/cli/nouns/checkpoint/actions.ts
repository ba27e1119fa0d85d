/** `hv checkpoint ...`: what it does. */
import { resolve } from 'node:path';
import type { Vm } from '../../../client/index.ts';
import type { Checkpoint } from '../../../contracts/api/resources.ts';
import { ViridianError } from '../../../contracts/errors.ts';
import type { Action } from '../command-row.ts';
import { bytes, showOne, showRows } from '../output.ts';
import { confirm, onlyAsked, vmOf, withProgress } from '../session.ts';
import { tree } from './tree.ts';

export const create: Action = async ([vmName, name], flags) => {
  const vm = await vmOf(vmName);
  if (onlyAsked(flags, `make a checkpoint of ${vm.name}`)) return undefined;
  const body = {
    ...(name === undefined ? {} : { name }),
    ...(flags.production ? { kind: 'Production' as const } : {}),
  };
  const made = await withProgress(`checkpoint of ${vm.name}`, async (options) => {
    const job = await vm.host.transport.call('createCheckpoint', { params: { vm: vm.id }, body });
    const { result } = await vm.host.finish(job, options);
    return (await vm.checkpoints()).find(({ id }) => id === result)!;
  });
  await showOne(made, flags, () => `${made.name}: ${bytes(made.size)}${timesOf(made)}`, made.name);
  return undefined;
};

function timesOf({ pause, background }: Checkpoint): string {
  if (pause === null) return '';
  const copying = background === null ? '' : `, and ran on while it was copied for ${(background / 1000).toFixed(1)} s`;
  return `; the guest stood still for ${Math.round(pause)} ms${copying}`;
}

export const ls: Action = async ([name], flags) => {
  const all = await (await vmOf(name)).checkpoints();
  const shown = {
    none: `no checkpoints; make one with 'hv checkpoint create ${name}'`,
  };
  if (flags.json || (flags.output !== undefined && flags.output !== 'table')) {
    await showRows(all, flags, { ...shown, columns: [], name: (each) => each.name });
    return undefined;
  }
  await showRows(tree(all), flags, {
    ...shown,
    name: ({ checkpoint }) => checkpoint.name,
    columns: [
      {
        title: 'CHECKPOINT',
        value: ({ checkpoint, depth }) =>
          `${'  '.repeat(depth)}${depth > 0 ? '└ ' : ''}${checkpoint.name}${checkpoint.current ? ' *' : ''}`,
      },
      { title: 'KIND', value: ({ checkpoint }) => checkpoint.kind },
      { title: 'MEMORY', value: ({ checkpoint }) => (checkpoint.memory ? 'yes' : 'no') },
      { title: 'SIZE', value: ({ checkpoint }) => bytes(checkpoint.size), right: true },
      { title: 'MADE', value: ({ checkpoint }) => checkpoint.createdAt },
    ],
  });
  return undefined;
};

/** Nobody is asked about what is not there. */
async function demandCheckpoint(vm: Vm, wanted: string): Promise<void> {
  const all = await vm.checkpoints();
  if (!all.some(({ id, name }) => id === wanted || name === wanted))
    throw new ViridianError('notFound', `${vm.name} has no checkpoint '${wanted}'`);
}

export const apply: Action = async ([vmName, checkpoint], flags) => {
  const vm = await vmOf(vmName);
  await demandCheckpoint(vm, checkpoint!);
  if (onlyAsked(flags, `put ${vm.name} back to ${checkpoint}`)) return undefined;
  await confirm(flags, `Put ${vm.name} back to ${checkpoint}? What it has done since is lost.`);
  const body = flags.start === undefined ? {} : { start: flags.start as boolean };
  await withProgress(`applying ${checkpoint}`, (options) => vm.apply(checkpoint!, body, options));
  return undefined;
};

export const rm: Action = async ([vmName, checkpoint], flags) => {
  const vm = await vmOf(vmName);
  await demandCheckpoint(vm, checkpoint!);
  const what = `${checkpoint}${flags.subtree ? ' and those made after it' : ''}`;
  if (onlyAsked(flags, `remove ${what} of ${vm.name}`)) return undefined;
  await confirm(flags, `Remove ${what}?`);
  await withProgress(`removing ${checkpoint}`, (options) =>
    vm.removeCheckpoint(checkpoint!, flags.subtree === true, options),
  );
  return undefined;
};

export const rename: Action = async ([vmName, checkpoint, name], flags) => {
  const vm = await vmOf(vmName);
  if (onlyAsked(flags, `call ${checkpoint} ${name}`)) return undefined;
  const params = { vm: vm.id, checkpoint: checkpoint! };
  await vm.host.transport.call('renameCheckpoint', { params, body: { name: name! } });
  return undefined;
};

export const exportCheckpoint: Action = async ([vmName, checkpoint, folder], flags) => {
  const vm = await vmOf(vmName);
  const to = resolve(folder!);
  if (onlyAsked(flags, `export ${checkpoint} of ${vm.name} to ${to}`)) return undefined;
  await withProgress(`exporting ${checkpoint}`, async (options) => {
    const params = { vm: vm.id, checkpoint: checkpoint! };
    const job = await vm.host.transport.call('exportCheckpoint', { params, body: { folder: to } });
    await vm.host.finish(job, options);
  });
  return undefined;
};
