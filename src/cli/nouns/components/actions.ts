/** `hv disk ...`, `hv dvd ...`: what they do. */
import { resolve } from 'node:path';
import type { Job, Vm } from '../../../client/index.ts';
import type { Action } from '../command-row.ts';
import { showRows } from '../output.ts';
import { onlyAsked, vmOf } from '../session.ts';
import { whole } from '../values.ts';

async function done(vm: Vm, job: Promise<Job>): Promise<undefined> {
  await vm.host.finish(await job);
  return undefined;
}

export const addDisk: Action = async ([name, file], flags) => {
  const vm = await vmOf(name);
  const path = resolve(file!);
  if (onlyAsked(flags, `attach ${path} to ${vm.name}`)) return undefined;
  const { slot, format, readonly, discard, allowParent } = flags as {
    slot?: number;
    format?: string;
    readonly?: boolean;
    discard?: boolean;
    allowParent?: string[];
  };
  await vm.addDisk({
    file: path,
    ...(slot === undefined ? {} : { slot }),
    ...(format ? { format } : {}),
    ...(readonly ? { readOnly: true } : {}),
    ...(discard ? { discard } : {}),
    ...(allowParent ? { allowParent } : {}),
  });
  return undefined;
};

export const removeDisk: Action = async ([name, slot], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `detach the disk in slot ${slot} of ${vm.name}`)) return undefined;
  await vm.removeDisk(whole('the slot')(slot!));
  return undefined;
};

export const listDisks: Action = async ([name], flags) => {
  const { configuration } = (await vmOf(name)).info;
  await showRows(configuration.disks, flags, {
    name: (disk) => disk.file,
    none: `${name} has no disks`,
    columns: [
      { title: 'SLOT', value: (disk) => String(disk.slot), right: true },
      { title: 'FORMAT', value: (disk) => disk.format ?? '-' },
      { title: 'ACCESS', value: (disk) => (disk.readOnly ? 'read-only' : disk.discard ? 'discarded' : 'written') },
      { title: 'FILE', value: (disk) => disk.file },
    ],
  });
  return undefined;
};

export const addDvd: Action = async ([name, image], flags) => {
  const vm = await vmOf(name);
  const file = image === undefined ? null : resolve(image);
  if (onlyAsked(flags, `add a DVD drive to ${vm.name}`)) return undefined;
  const slot = flags.slot as number | undefined;
  const body = { file, ...(slot === undefined ? {} : { slot }) };
  return await done(vm, vm.host.transport.call('addDvd', { params: { vm: vm.id }, body }));
};

async function setDvd(name: string, slotText: string, file: string | null): Promise<undefined> {
  const vm = await vmOf(name);
  const slot = whole('the slot')(slotText);
  return await done(vm, vm.host.transport.call('setDvd', { params: { vm: vm.id, slot }, body: { file } }));
}

export const insertDvd: Action = async ([name, slot, image], flags) => {
  const file = resolve(image!);
  if (onlyAsked(flags, `put ${file} into the drive in slot ${slot} of ${name}`)) return undefined;
  return await setDvd(name!, slot!, file);
};

export const ejectDvd: Action = async ([name, slot], flags) => {
  if (onlyAsked(flags, `empty the drive in slot ${slot} of ${name}`)) return undefined;
  return await setDvd(name!, slot!, null);
};

export const removeDvd: Action = async ([name, slot], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `remove the drive in slot ${slot} of ${vm.name}`)) return undefined;
  const params = { vm: vm.id, slot: whole('the slot')(slot!) };
  return await done(vm, vm.host.transport.call('removeDvd', { params }));
};
