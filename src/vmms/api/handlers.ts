/** What each operation of the API does: one function each, by the names of contracts/api/operations.ts. */
import { randomUUID } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { OperationBody, OperationQuery, OperationResult } from '../../contracts/api/operations.ts';
import type { OperationName } from '../../contracts/api/paths.ts';
import type { SignInLink } from '../../contracts/api/resources.ts';
import { ViridianError } from '../../contracts/errors.ts';
import type { KeyValuePool } from '../../contracts/partition.ts';
import { type Management, scratchFolder } from '../management.ts';
import { type Caller, demandVm, type Tokens } from './access.ts';

export interface Call<N extends OperationName> {
  readonly caller: Caller;
  readonly params: Readonly<Record<string, string>>;
  readonly query: OperationQuery<N>;
  readonly body: OperationBody<N>;
  readonly bytes: Uint8Array;
  /** Of If-Match. */
  readonly revision: number | undefined;
  readonly signal: AbortSignal;
}

export type ApiHandlers = {
  readonly [N in Exclude<OperationName, 'openSession' | 'closeSession'>]: (
    call: Call<N>,
  ) => OperationResult<N> | Promise<OperationResult<N>>;
};

export interface ServiceControl {
  /** A link into the web console for a caller. */
  link(caller: Caller): Promise<SignInLink>;
  /** The service ends, after this answer. */
  stop(stopVms: boolean): void;
}

/** A large file for a guest, and not the service's memory. */
export const LARGEST_UPLOAD = 256 * 2 ** 20;

export function apiHandlers(management: Management, tokens: Tokens, service: ServiceControl): ApiHandlers {
  const { context } = management;
  const { jobs, events, networks } = context;
  const seen = (caller: Caller, vm: string | null): boolean =>
    caller.vms === null || (vm !== null && caller.vms.includes(vm));
  const job = (caller: Caller, id: string): void => {
    if (!seen(caller, jobs.get(id).vm)) throw new ViridianError('notFound', `there is no job ${id}`);
  };
  /** Which VMs, by their names, a caller may know of. */
  const named =
    (caller: Caller) =>
    (name: string): boolean =>
      caller.vms === null || seen(caller, context.inventory.named(name)?.id ?? null);
  const checkpoints = management.checkpoints;

  return {
    getVersion: () => ({ name: 'viridian', version: management.version, api: 1, pid: process.pid }),
    getHost: () => management.host(),
    setHost: ({ body }) => management.setHost(body),
    measure: ({ caller }) => management.usage().filter(({ vm }) => seen(caller, vm)),
    stopService: ({ body }) => service.stop(body.stopVms ?? false) as undefined,

    listVms: ({ caller }) => management.vms().filter(({ id }) => seen(caller, id)),
    createVm: ({ body }) => management.create(body),
    importVm: ({ body }) => management.transfer.import(body),
    getVm: ({ params }) => management.vm(params.vm!),
    changeVm: ({ params, body, revision }) => management.change(params.vm!, body, revision),
    removeVm: ({ params, revision }) => management.remove(params.vm!, revision),
    startVm: ({ params }) => management.start(params.vm!),
    stopVm: ({ params, body }) => management.stop(params.vm!, body),
    pauseVm: ({ params }) => management.job(params.vm!, 'pause', 'pausing', (vm) => vm.pause()),
    resumeVm: ({ params }) => management.job(params.vm!, 'resume', 'resuming', (vm) => vm.resume()),
    saveVm: ({ params }) => management.job(params.vm!, 'save', 'saving', (vm, control) => vm.save(control)),
    discardSavedState: ({ params }) =>
      management.job(params.vm!, 'discardSavedState', 'discarding the saved state', (vm) => vm.discardSavedState()),
    restartVm: ({ params, body }) =>
      management.job(params.vm!, 'restart', 'restarting', (vm) => (body.reset ? vm.reset() : vm.restart(body))),
    injectNmi: ({ params }) => management.job(params.vm!, 'nmi', 'sending an NMI', (vm) => vm.nmi()),
    exportVm: ({ params, body }) => management.transfer.export(params.vm!, body.folder),
    cloneVm: ({ params, body }) => management.transfer.clone(params.vm!, body),
    getVmMetrics: async ({ params }) => {
      const machine = management.machine(params.vm!);
      const metrics = await machine.ask('metrics', undefined, 10);
      machine.meter.take(metrics);
      return metrics;
    },
    inspectVm: async ({ params }) =>
      (await management.machine(params.vm!).ask('inspect', undefined)) as Record<string, unknown>,

    addDisk: ({ params, body }) => management.addDisk(params.vm!, body),
    removeDisk: ({ params }) => management.removeDisk(params.vm!, Number(params.slot)),
    addDvd: ({ params, body }) => management.addDvd(params.vm!, body),
    setDvd: ({ params, body }) => management.setDvd(params.vm!, Number(params.slot), body.file),
    removeDvd: ({ params }) => management.removeDvd(params.vm!, Number(params.slot)),
    addNic: ({ params, body }) => management.addNic(params.vm!, body),
    changeNic: ({ params, body }) => management.changeNic(params.vm!, params.nic!, body),
    removeNic: ({ params }) => management.removeNic(params.vm!, params.nic!),

    listCheckpoints: ({ params }) => checkpoints.list(params.vm!),
    createCheckpoint: ({ params, body }) => checkpoints.create(params.vm!, body),
    renameCheckpoint: ({ params, body }) => checkpoints.rename(params.vm!, params.checkpoint!, body.name),
    applyCheckpoint: ({ params, body }) => checkpoints.apply(params.vm!, params.checkpoint!, body),
    removeCheckpoint: ({ params, query }) =>
      checkpoints.remove(params.vm!, params.checkpoint!, query.subtree === 'true'),
    forkCheckpoint: ({ params, body }) => checkpoints.fork(params.vm!, params.checkpoint!, body),
    exportCheckpoint: ({ params, body }) => checkpoints.export(params.vm!, params.checkpoint!, body.folder),

    getScreen: async ({ params }) => {
      const { png } = await management.machine(params.vm!).ask('screenshot', undefined);
      if (png === null) throw new ViridianError('wrongState', 'the guest shows nothing on its screen');
      return Buffer.from(png, 'base64');
    },
    sendKeys: async ({ params, body }) => {
      const machine = management.machine(params.vm!);
      const { keys = [], text } = body;
      const pressed = async (code: string, down: boolean): Promise<void> => {
        const { taken } = await machine.ask('key', { code, down });
        if (!taken)
          throw new ViridianError(
            'wrongState',
            `the guest does not take the key '${code}': it has no driver for the keyboard, or there is no such key`,
          );
      };
      for (const code of keys) await pressed(code, true);
      for (const code of keys.toReversed()) await pressed(code, false);
      return text === undefined ? { untyped: '' } : await machine.ask('type', { text });
    },
    getIntegration: ({ params }) => management.machine(params.vm!).ask('integration', undefined),
    setTime: async ({ params }) => {
      await management.machine(params.vm!).ask('setTime', undefined);
      return undefined;
    },
    setFrozen: async ({ params, body }) => {
      await management.machine(params.vm!).ask('freeze', body, 120);
      return undefined;
    },
    listKvp: ({ params }) => management.machine(params.vm!).ask('kvpList', { pool: params.pool as KeyValuePool }),
    setKvp: async ({ params, body }) => {
      const pool = params.pool as KeyValuePool;
      await management.machine(params.vm!).ask('kvpSet', { pool, key: params.key!, value: body.value });
      return undefined;
    },
    removeKvp: async ({ params }) => {
      const pool = params.pool as KeyValuePool;
      const { there } = await management.machine(params.vm!).ask('kvpRemove', { pool, key: params.key! });
      if (!there) throw new ViridianError('notFound', `there is no key '${params.key}' in ${pool}`);
      return undefined;
    },
    copyFile: async ({ params, query, bytes }) => {
      const file = join(scratchFolder(context), `upload-${randomUUID()}`);
      try {
        await writeFile(file, bytes, { mode: 0o600 });
        const request = {
          path: query.path,
          file,
          overwrite: query.overwrite === 'true',
          createFolders: query.folders === 'true',
        };
        await management.machine(params.vm!).ask('copyFile', request, 0);
      } finally {
        await rm(file, { force: true });
      }
      return undefined;
    },

    listJobs: ({ caller }) => jobs.list().filter(({ vm }) => seen(caller, vm)),
    getJob: async ({ caller, params, query }) => {
      job(caller, params.job!);
      return query.wait === undefined ? jobs.get(params.job!) : await jobs.wait(params.job!, query.wait, query.after);
    },
    cancelJob: ({ caller, params }) => {
      job(caller, params.job!);
      return jobs.cancel(params.job!);
    },

    listEvents: ({ caller, query }) => {
      const { after, last, vm } = query;
      // Events of a VM that has been removed are there still, by its id.
      const found =
        vm === undefined
          ? undefined
          : (context.inventory.list().find(({ id, configuration }) => id === vm || configuration.name === vm)?.id ??
            vm);
      const wanted = {
        ...(after === undefined ? {} : { after }),
        ...(last === undefined ? {} : { last }),
        ...(found === undefined ? {} : { vm: found }),
      };
      return events.list(wanted).filter((event) => seen(caller, event.vm));
    },

    listSwitches: ({ caller }) => networks.list(named(caller)),
    createSwitch: ({ body }) => networks.create(body),
    getSwitch: ({ caller, params }) => networks.detail(params.switch!, named(caller)),
    changeSwitch: ({ params, body }) => networks.change(params.switch!, body),
    removeSwitch: async ({ params }) => {
      await networks.remove(params.switch!);
      return undefined;
    },
    removeLease: async ({ params }) => {
      await networks.forgetLease(params.switch!, params.owner!);
      return undefined;
    },

    listTokens: () => tokens.list(),
    createToken: ({ body }) => {
      for (const vm of body.vms ?? []) context.inventory.find(vm);
      const token = tokens.add(body);
      events.add({ kind: 'token.created', text: `the token ${body.name} (${body.role}) was created` });
      return token;
    },
    removeToken: ({ params }) => {
      tokens.remove(params.token!);
      events.add({ kind: 'token.removed', text: 'a token was revoked' });
      return undefined;
    },
    createSignInLink: ({ caller, body }) => {
      const role = body.role ?? 'administrator';
      return service.link({ ...caller, role });
    },
    getSession: ({ caller }) => ({
      name: caller.name,
      role: caller.role,
      vms: caller.vms === null ? null : [...caller.vms],
    }),
  };
}

/** The VM that an operation is about must be the caller's to see. */
export function demandOwnVm(management: Management, caller: Caller, params: Readonly<Record<string, string>>): void {
  if (params.vm !== undefined) demandVm(caller, management.context.inventory.find(params.vm), params.vm);
}
