/** `hv host ...`, `hv service ...`, `hv token ...`, `hv job ...`: what they do. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import manifest from '../../../../package.json' with { type: 'json' };
import { connect } from '../../../client/index.ts';
import type { OperationBody } from '../../../contracts/api/operations.ts';
import { isViridianError, ViridianError } from '../../../contracts/errors.ts';
import { EXIT } from '../../../contracts/exit-codes.ts';
import { say } from '../../say.ts';
import type { Action } from '../command-row.ts';
import { bytes, duration, list, showOne, showRows } from '../output.ts';
import { onlyAsked, service } from '../session.ts';

/** Milliseconds that a service which answers no more has to end in. */
const END_PATIENCE = 10_000;

export const showHost: Action = async (_args, flags) => {
  const host = await (await service()).info();
  await showOne(
    host,
    flags,
    () => {
      const limit = host.memoryLimit === null ? "the host's memory" : bytes(host.memoryLimit);
      const facts = list([
        ['name', host.name],
        ['version', host.version],
        ['edition', host.edition],
        ['limit for VMs', limit],
        [
          'memory',
          `${bytes(host.memory)}, ${bytes(host.memoryAvailable)} available, ${bytes(host.memoryAssigned)} assigned`,
        ],
        ['processors', `${host.processors}, ${host.processorModel}`],
        ['virtual machines', `${host.virtualMachines}, ${host.running} running`],
        ['data', host.dataFolder],
        ['service', `up ${duration((Date.now() - Date.parse(host.startedAt)) / 1000)}`],
      ]);
      const checks = host.requirements.map(
        ({ name, met, required, text }) => `  ${met ? 'ok     ' : required ? 'MISSING' : '-      '} ${name}: ${text}`,
      );
      return `${facts}\n\nrequirements\n${checks.join('\n')}`;
    },
    host.name,
  );
  return undefined;
};

export const setHost: Action = async (_args, flags) => {
  if (flags.edition === undefined) throw new ViridianError('invalid', "nothing to set: see 'hv host set --help'");
  if (onlyAsked(flags, `set the edition to ${flags.edition as string}`)) return undefined;
  const host = await (await service()).set({ edition: flags.edition } as OperationBody<'setHost'>);
  const over = host.memoryLimit !== null && host.memoryAssigned > host.memoryLimit;
  if (over)
    say(
      `hv: VMs that run have ${bytes(host.memoryAssigned)} already: they go on, and none is started until there is room`,
    );
  return undefined;
};

export const runService: Action = async (_args, flags) => {
  const { runService: run } = await import('../../../vmms/index.ts');
  const {
    tlsCert: certificate,
    tlsKey: key,
    allowHost: allowHosts,
  } = flags as {
    tlsCert?: string;
    tlsKey?: string;
    allowHost?: string[];
  };
  const tcp =
    flags.listen === undefined ? undefined : { ...address(flags.listen as string), certificate, key, allowHosts };
  await run({
    version: manifest.version,
    tcp,
    listening: (socket, port, pages) => {
      say(`hv: the service listens on ${socket}`);
      if (port !== undefined)
        say(`hv: and on ${certificate ? 'https' : 'http'}://${tcp!.host}:${port}; 'hv token create' lets somebody in`);
      say(
        pages
          ? "hv: 'hv manager' opens the web console"
          : "hv: the web console is not built yet: 'hv manager' or 'npm run build' does it",
      );
    },
  });
  return undefined;
};

function address(text: string): { readonly host: string; readonly port: number } {
  const match = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(text);
  if (!match || Number(match[2]) > 65535)
    throw new ViridianError('invalid', `--listen must be HOST:PORT, as 127.0.0.1:8006, not '${text}'`);
  return { host: match[1]!, port: Number(match[2]) };
}

/** A package has the web console; a checkout has what it is built of. */
async function buildPages(): Promise<void> {
  // In the executable it is nowhere.
  if (!import.meta.url.endsWith('.ts')) return;
  const root = fileURLToPath(new URL('../../../../', import.meta.url));
  if (existsSync(join(root, 'dist/manager/index.html'))) return;
  say('hv: building the web console, this once');
  const { execFile } = await import('node:child_process');
  const { promisify } = await import('node:util');
  await promisify(execFile)(process.execPath, [join(root, 'tools/build-manager.ts')]).catch((cause: unknown) => {
    throw new ViridianError('failure', "the web console could not be built: 'npm ci && npm run build' says why", {
      cause,
    });
  });
}

/** Prints the link, and has the desktop open it where there is one. */
export const openManager: Action = async (_args, flags) => {
  await buildPages();
  const host = await service();
  const role = flags.role as 'viewer' | undefined;
  const link = await host.transport.call('createSignInLink', { body: role === undefined ? {} : { role } });
  await showOne(link, flags, () => link.url, link.url);
  if (flags.print || flags.json || flags.quiet || flags.output !== undefined || !process.stdout.isTTY) return undefined;
  say('hv: it signs in once, within a minute');
  const { findCommand } = await import('../../../host/node/command.ts');
  const opener = findCommand('xdg-open');
  if (opener === undefined || (process.env.DISPLAY ?? process.env.WAYLAND_DISPLAY) === undefined) return undefined;
  const { spawn } = await import('node:child_process');
  const child = spawn(opener, [link.url], { detached: true, stdio: 'ignore' });
  child.on('error', () => say('hv: no browser could be started: open the link by hand'));
  child.unref();
  return undefined;
};

export const serviceStatus: Action = async (_args, flags) => {
  try {
    const host = await connect({ start: false });
    const version = await host.transport.call('getVersion');
    await showOne(version, flags, () => `running, process ${version.pid}, version ${version.version}`, 'running');
    return undefined;
  } catch (error) {
    if (!isViridianError(error) || error.code !== 'failure') throw error;
    say(`hv: ${error.message}`);
    return EXIT.failure;
  }
};

export const stopService: Action = async (_args, flags) => {
  if (onlyAsked(flags, 'end the service')) return undefined;
  const host = await connect({ start: false });
  const { pid } = await host.transport.call('getVersion');
  await host.transport.call('stopService', { body: flags.vms ? { stopVms: true } : {} });
  // It has ended when it answers no more; saving VMs takes its time.
  for (;;) {
    const answer = await host.transport.call('getVersion').catch(() => undefined);
    if (answer?.pid !== pid) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  // One of this host has closed its files only when its process is gone.
  const end = Date.now() + END_PATIENCE;
  while (host.transport.isLocal && isThere(pid) && Date.now() < end)
    await new Promise((resolve) => setTimeout(resolve, 5));
  return undefined;
};

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

export const createToken: Action = async ([name], flags) => {
  const role = (flags.role as 'viewer' | undefined) ?? 'viewer';
  if (onlyAsked(flags, `make a token for ${name} (${role})`)) return undefined;
  const host = await service();
  const names = flags.vm as string[] | undefined;
  const vms = names === undefined ? null : await Promise.all(names.map(async (each) => (await host.get(each)).id));
  const made = await host.transport.call('createToken', { body: { name: name!, role, vms } });
  await showOne(made, flags, () => made.secret, made.secret);
  return undefined;
};

export const listTokens: Action = async (_args, flags) => {
  await showRows(await (await service()).transport.call('listTokens'), flags, {
    name: (token) => token.name,
    none: 'no tokens: nobody can use the service over TCP',
    columns: [
      { title: 'NAME', value: (token) => token.name },
      { title: 'ROLE', value: (token) => token.role },
      { title: 'VMS', value: (token) => (token.vms === null ? 'all' : String(token.vms.length)) },
      { title: 'MADE', value: (token) => token.createdAt },
    ],
  });
  return undefined;
};

export const removeToken: Action = async ([name], flags) => {
  const host = await service();
  const found = (await host.transport.call('listTokens')).find((token) => token.name === name || token.id === name);
  if (found === undefined) throw new ViridianError('notFound', `there is no token '${name}'`);
  if (onlyAsked(flags, `revoke the token ${name}`)) return undefined;
  await host.transport.call('removeToken', { params: { token: found.id } });
  return undefined;
};

export const listJobs: Action = async (_args, flags) => {
  await showRows(await (await service()).transport.call('listJobs'), flags, {
    name: (job) => job.id,
    none: 'no jobs',
    columns: [
      { title: 'KIND', value: (job) => job.kind },
      { title: 'VM', value: (job) => job.vmName ?? '-' },
      { title: 'STATE', value: (job) => job.state },
      { title: '%', value: (job) => String(Math.floor(job.progress * 100)), right: true },
      { title: 'STARTED', value: (job) => job.createdAt },
      { title: 'ID', value: (job) => job.id },
      { title: 'TEXT', value: (job) => job.error?.message ?? job.text },
    ],
  });
  return undefined;
};

export const cancelJob: Action = async ([id], flags) => {
  if (onlyAsked(flags, `cancel the job ${id}`)) return undefined;
  await (await service()).transport.call('cancelJob', { params: { job: id! } });
  return undefined;
};
