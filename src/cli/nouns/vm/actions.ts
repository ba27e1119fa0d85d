/** `hv vm ...`: what it does. */
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import type { NewVm, Vm, VmChange, VmInfo } from '../../../client/index.ts';
import { ViridianError } from '../../../contracts/errors.ts';
import type { PortForward } from '../../../contracts/network.ts';
import { parseMemory } from '../../arguments.ts';
import { inspectText } from '../../inspect-text.ts';
import type { Action, Flags } from '../command-row.ts';
import { bytes, duration, list, showOne, showRows, write } from '../output.ts';
import { confirm, forEach, onlyAsked, service, told, vmOf, withProgress } from '../session.ts';
import type { DiskValue, NicValue } from '../values.ts';

/** Options as settings; what was not given is not there. */
function settings(flags: Flags): VmChange {
  const given = (names: Readonly<Record<string, string>>): Record<string, unknown> =>
    Object.fromEntries(
      Object.entries(names).flatMap(([flag, name]) => (flags[flag] === undefined ? [] : [[name, flags[flag]]])),
    );
  const boot = given({ kernel: 'kernel', initrd: 'initrd', append: 'append' });
  return {
    ...given({
      memory: 'memory',
      processors: 'processors',
      notes: 'notes',
      tag: 'tags',
      engine: 'engine',
      processorWeight: 'processorWeight',
      processorMaximum: 'processorMaximum',
      storageMaximum: 'storageMaximum',
      networkMaximum: 'networkMaximum',
      automaticStartAction: 'automaticStartAction',
      automaticStartDelay: 'automaticStartDelay',
      automaticStartOrder: 'automaticStartOrder',
      automaticStopAction: 'automaticStopAction',
      crashPolicy: 'crashPolicy',
      guestReset: 'guestReset',
      checkpointType: 'checkpointType',
    }),
    ...(Object.keys(boot).length > 0 ? { boot } : {}),
  };
}

export const create: Action = async ([name], flags) => {
  const fromFile = flags.file === undefined ? {} : await readConfiguration(flags.file as string);
  const change = settings(flags);
  const disks = (flags.disk as DiskValue[] | undefined)?.map((disk, i) => ({ ...disk, slot: disk.slot ?? i }));
  const nics = nicsOf(flags, fromFile.nics);
  const dvds = (flags.dvd as string[] | undefined)?.map((file, i) => ({ file, slot: (disks?.length ?? 0) + i }));
  const wanted = {
    ...fromFile,
    ...change,
    ...(change.boot || fromFile.boot ? { boot: { ...fromFile.boot, ...change.boot } } : {}),
    ...(disks ? { disks } : {}),
    ...(nics ? { nics } : {}),
    ...(dvds ? { dvds } : {}),
    ...(name === undefined ? {} : { name }),
  };
  if (wanted.name === undefined)
    throw new ViridianError('invalid', "it needs a name: 'hv vm new NAME', or 'name:' in the file");
  const configuration: NewVm = { ...wanted, name: wanted.name };
  if (onlyAsked(flags, `make ${configuration.name}: ${JSON.stringify(configuration)}`)) return undefined;
  const vm = await (await service()).create(configuration);
  if (flags.start) await withProgress(`starting ${vm.name}`, (options) => vm.start(options));
  await showOne(await vm.refresh(), flags, () => `${vm.name} ${vm.info.state}`, vm.name);
  return undefined;
};

/** Adapters of `--nic`, else of the file; `--publish` is the first one's. */
function nicsOf(flags: Flags, ofFile: NewVm['nics']): NewVm['nics'] {
  const given = (flags.nic as NicValue[] | undefined)?.map((nic, i) => ({ ...nic, id: `nic${i}` }));
  const nics: NewVm['nics'] = given ?? ofFile;
  const forwards = flags.publish as PortForward[] | undefined;
  if (forwards === undefined) return nics;
  if (nics === undefined || nics.length === 0)
    throw new ViridianError('invalid', "--publish needs a network: give '--nic SWITCH', with a switch of kind NAT");
  return nics.map((nic, i) => (i === 0 ? { ...nic, forwards: [...(nic.forwards ?? []), ...forwards] } : nic));
}

/** YAML, of which JSON is a part. Sizes may be written as people write them, paths are relative to the file. */
async function readConfiguration(file: string): Promise<Partial<NewVm>> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new ViridianError('notFound', `${file}: cannot be read`, { cause });
  });
  const { parse } = await import('yaml');
  let plain: unknown;
  try {
    plain = parse(text);
  } catch (cause) {
    const line = cause instanceof Error ? cause.message.split('\n')[0] : '';
    throw new ViridianError('badFile', `${file}: is no YAML: ${line}`, { cause });
  }
  if (typeof plain !== 'object' || plain === null || Array.isArray(plain))
    throw new ViridianError('badFile', `${file}: says no settings: it should begin with 'name: ...'`);
  const given = plain as Partial<NewVm> & { memory?: unknown };
  for (const name of ['disks', 'dvds', 'nics'] as const)
    if (!(given[name] === undefined || isList(given[name])))
      throw new ViridianError('badFile', `${file}: ${name}: must be a list, each with what is its own`);
  const folder = dirname(file);
  const locate = <T extends string | null | undefined>(path: T): T =>
    (typeof path === 'string' && !isAbsolute(path) ? resolve(folder, path) : path) as T;
  return {
    ...given,
    ...(typeof given.memory === 'string' ? { memory: parseMemory('memory')(given.memory) } : {}),
    ...(given.boot
      ? { boot: { ...given.boot, kernel: locate(given.boot.kernel), initrd: locate(given.boot.initrd) } }
      : {}),
    ...(given.disks
      ? { disks: given.disks.map((disk, i) => ({ ...disk, slot: disk.slot ?? i, file: locate(disk.file) })) }
      : {}),
    ...(given.dvds ? { dvds: given.dvds.map((dvd) => ({ ...dvd, file: locate(dvd.file) })) } : {}),
  };
}

function isList(value: unknown): boolean {
  return Array.isArray(value) && value.every((each) => typeof each === 'object' && each !== null);
}

export const ls: Action = async (names, flags) => {
  const tags = (flags.tag as string[] | undefined) ?? [];
  const state = flags.state as string | undefined;
  const host = await service();
  const all = await (names.length > 0 ? Promise.all(names.map((name) => host.get(name))) : host.list());
  const vms = all
    .map((vm) => vm.info)
    .filter(({ configuration }) => tags.every((tag) => configuration.tags.includes(tag)))
    .filter((vm) => state === undefined || vm.state === state);
  await showRows(vms, flags, {
    name: (vm) => vm.name,
    none:
      all.length > 0
        ? 'none of the virtual machines is like that'
        : "no virtual machines; make one with 'hv vm new', or look at 'hv vm new --help'",
    columns: [
      { title: 'NAME', value: (vm) => vm.name },
      { title: 'STATE', value: (vm) => vm.state },
      { title: 'CPUS', value: (vm) => String(vm.configuration.processors), right: true },
      { title: 'MEMORY', value: (vm) => bytes(vm.configuration.memory), right: true },
      { title: 'UPTIME', value: (vm) => (vm.uptime > 0 ? duration(vm.uptime) : '-'), right: true },
      { title: 'STATUS', value: (vm) => vm.status },
    ],
  });
  return undefined;
};

export const show: Action = async ([name], flags) => {
  const { info } = await vmOf(name);
  await showOne(info, flags, () => describe(info), info.name);
  return undefined;
};

function describe(vm: VmInfo): string {
  const c = vm.configuration;
  const lines: (readonly [string, string])[] = [
    ['name', vm.name],
    ['id', vm.id],
    ['state', vm.state],
    ['status', vm.status || '-'],
    ['uptime', vm.uptime > 0 ? duration(vm.uptime) : '-'],
    ['process', vm.worker === null ? '-' : String(vm.worker.pid)],
    ...(vm.worker?.isolation ?? []).map(
      ({ name, active, detail }) => [name, `${active ? 'on' : 'off'}: ${detail}`] as const,
    ),
    [
      'processors',
      `${c.processors}${c.processorWeight === 100 ? '' : `, weight ${c.processorWeight}`}${c.processorMaximum === 100 ? '' : `, ${c.processorMaximum} % each at most`}`,
    ],
    ['storage', c.storageMaximum === null ? '-' : `${bytes(c.storageMaximum)}/s at most`],
    ['network', c.networkMaximum === null ? '-' : `${c.networkMaximum / 1e6} Mbit/s at most`],
    ['memory', bytes(c.memory)],
    ['engine', c.engine],
    ['kernel', c.boot.kernel ?? '-'],
    ['initrd', c.boot.initrd ?? '-'],
    ['append', c.boot.append || '-'],
    ...c.disks.map((disk) => [`disk ${disk.slot}`, diskText(disk)] as const),
    ...c.dvds.map((dvd) => [`dvd ${dvd.slot}`, dvd.file ?? 'empty'] as const),
    ...vm.adapters.map(
      ({ id, switch: to, macAddress, address }) =>
        [`nic ${id}`, [to ?? 'not connected', macAddress ?? '', address ?? ''].join(' ').trimEnd()] as const,
    ),
    ['checkpoint', vm.currentCheckpoint ?? '-'],
    ['starts', `${c.automaticStartAction}, delay ${c.automaticStartDelay} s, order ${c.automaticStartOrder}`],
    ['stops', c.automaticStopAction],
    ['after a crash', c.crashPolicy],
    ['last end', vm.lastExit === null ? '-' : `${vm.lastExit.kind} ${vm.lastExit.time} ${vm.lastExit.message}`],
    ['tags', c.tags.join(' ') || '-'],
    ['notes', c.notes || '-'],
    ['made', vm.createdAt],
  ];
  return list(lines);
}

function diskText({ file, format, readOnly, discard }: VmInfo['configuration']['disks'][number]): string {
  return [file, format ?? '', readOnly ? 'read-only' : '', discard ? 'discarded' : ''].filter(Boolean).join(', ');
}

export const set: Action = async ([name], flags) => {
  const change = settings(flags);
  if (Object.keys(change).length === 0) throw new ViridianError('invalid', "nothing to set: see 'hv vm set --help'");
  const vm = await vmOf(name);
  if (onlyAsked(flags, `set ${JSON.stringify(change)} of ${vm.name}`)) return undefined;
  await vm.set(change);
  return undefined;
};

/** An action on each of several VMs. @param done what one is then, after its name. */
function onEach(doing: string, done: string, work: (vm: Vm, flags: Flags) => Promise<unknown>): Action {
  return (names, flags) =>
    forEach(names, async (vm) => {
      if (onlyAsked(flags, `${doing} ${vm.name}`)) return;
      await work(vm, flags);
      told(`${vm.name} ${done}`);
    });
}

export const start: Action = async (names, flags) => {
  const work = (vm: Vm) => withProgress(`starting ${vm.name}`, (options) => vm.start(options));
  const code = await onEach('start', 'is running', work)(names, flags);
  if (code !== undefined || !flags.console || flags.whatIf) return code;
  const { console } = await import('../guest/console.ts');
  return await console([names[0]!], {});
};

export const stop = onEach('stop', 'is off', (vm, flags) =>
  withProgress(`stopping ${vm.name}`, (options) => {
    const { turnOff, force, timeout } = flags as { turnOff?: boolean; force?: boolean; timeout?: number };
    return vm.stop(
      { ...(turnOff ? { turnOff } : {}), ...(force ? { force } : {}), ...(timeout ? { timeout } : {}) },
      options,
    );
  }),
);
export const pause = onEach('pause', 'is paused', (vm) => vm.pause());
export const resume = onEach('resume', 'is running', (vm) => vm.resume());
export const save = onEach('save', 'is saved', (vm) =>
  withProgress(`saving ${vm.name}`, (options) => vm.save(options)),
);
export const restart = onEach('restart', 'is restarting', (vm, flags) =>
  vm.restart({ ...(flags.reset ? { reset: true } : {}), ...(flags.force ? { force: true } : {}) }),
);
export const nmi = onEach('send an NMI to', 'has got an NMI', (vm) => vm.injectNmi());

export const discardState: Action = async (names, flags) => {
  if (names.length === 1) await vmOf(names[0]);
  if (!flags.whatIf) await confirm(flags, `Forget the saved state of ${names.join(', ')}?`);
  return await onEach('forget the saved state of', 'is off', (vm) => vm.discardSavedState())(names, flags);
};

export const rm: Action = async (names, flags) => {
  // Nobody is asked about what is not there.
  if (names.length === 1) await vmOf(names[0]);
  if (!flags.whatIf) await confirm(flags, `Remove ${names.join(', ')}, with checkpoints and saved states?`);
  return await onEach('remove', 'is removed', (vm) => vm.remove())(names, flags);
};

export const rename: Action = async ([name, to], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `call ${vm.name} ${to}`)) return undefined;
  await vm.set({ name: to! });
  return undefined;
};

export const exportVm: Action = async ([name, folder], flags) => {
  const vm = await vmOf(name);
  const to = resolve(folder!);
  if (onlyAsked(flags, `export ${vm.name} to ${to}`)) return undefined;
  await withProgress(`exporting ${vm.name}`, (options) => vm.export(to, options));
  return undefined;
};

export const importVm: Action = async ([folder], flags) => {
  const from = resolve(folder!);
  if (onlyAsked(flags, `import ${from}`)) return undefined;
  const host = await service();
  const body = {
    folder: from,
    ...(flags.name === undefined ? {} : { name: flags.name as string }),
    ...(flags.register ? { mode: 'register' as const } : {}),
  };
  const vm = await withProgress('importing', (options) => host.import(body, options));
  await showOne(vm.info, flags, () => `${vm.name} ${vm.info.state}`, vm.name);
  return undefined;
};

export const clone: Action = async ([name, to], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `clone ${vm.name} as ${to}`)) return undefined;
  await withProgress(`cloning ${vm.name}`, (options) =>
    vm.clone({ name: to!, ...(flags.linked ? { linked: true } : {}) }, options),
  );
  return undefined;
};

export const fork: Action = async ([name, checkpoint, to], flags) => {
  const vm = await vmOf(name);
  if (onlyAsked(flags, `fork ${vm.name} at ${checkpoint} as ${to}`)) return undefined;
  const body = { name: to!, ...(flags.start === false ? { start: false } : {}) };
  await withProgress(`forking ${vm.name}`, (options) => vm.fork(checkpoint!, body, options));
  return undefined;
};

export const inspect: Action = async ([name], flags) => {
  const vm = await vmOf(name);
  const tree = await vm.host.transport.call('inspectVm', { params: { vm: vm.id } });
  if (flags.json || flags.output === 'json' || flags.output === 'yaml') await showOne(tree, flags, () => '', vm.name);
  else write(inspectText(tree as never));
  return undefined;
};
