/** `hv disk ...`, `hv dvd ...`, `hv nic ...`, `hv switch ...`: what they do. */
import { resolve } from 'node:path';
import type { Job, Vm } from '../../../client/index.ts';
import type { Action } from '../command-row.ts';
import { showRows } from '../output.ts';
import { onlyAsked, service, vmOf } from '../session.ts';
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

export const addNic: Action = async ([name, to], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `add a network adapter to ${vm.name}`)) return undefined;
  const { id, mac } = flags as { id?: string; mac?: string };
  const body = {
    switch: to ?? null,
    ...(id === undefined ? {} : { id }),
    ...(mac === undefined ? {} : { macAddress: mac }),
  };
  return await done(vm, vm.host.transport.call('addNic', { params: { vm: vm.id }, body }));
};

export const removeNic: Action = async ([name, nic], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `remove ${nic} of ${vm.name}`)) return undefined;
  return await done(vm, vm.host.transport.call('removeNic', { params: { vm: vm.id, nic: nic! } }));
};

export const listNics: Action = async ([name], flags) => {
  const { configuration } = (await vmOf(name)).info;
  await showRows(configuration.nics, flags, {
    name: (nic) => nic.id,
    none: `${name} has no network adapters`,
    columns: [
      { title: 'ID', value: (nic) => nic.id },
      { title: 'SWITCH', value: (nic) => nic.switch ?? '-' },
      { title: 'MAC', value: (nic) => nic.macAddress ?? 'dynamic' },
    ],
  });
  return undefined;
};

export const createSwitch: Action = async ([name], flags) => {
  const kind = (flags.kind as 'NAT' | undefined) ?? 'NAT';
  if (onlyAsked(flags, `make the switch ${name} (${kind})`)) return undefined;
  const notes = flags.notes as string | undefined;
  const body = { name: name!, kind, ...(notes === undefined ? {} : { notes }) };
  await (await service()).transport.call('createSwitch', { body });
  return undefined;
};

export const listSwitches: Action = async (_args, flags) => {
  const all = await (await service()).transport.call('listSwitches');
  await showRows(all, flags, {
    name: (each) => each.name,
    none: "no switches; make one with 'hv switch create'",
    columns: [
      { title: 'NAME', value: (each) => each.name },
      { title: 'KIND', value: (each) => each.kind },
      { title: 'VMS', value: (each) => each.vms.join(' ') || '-' },
      { title: 'NOTES', value: (each) => each.notes },
    ],
  });
  return undefined;
};

export const removeSwitch: Action = async ([name], flags) => {
  if (onlyAsked(flags, `remove the switch ${name}`)) return undefined;
  await (await service()).transport.call('removeSwitch', { params: { switch: name! } });
  return undefined;
};
