/** The management service as a process: `hv service run`, or started by the command when it is not there. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { dataFolder, runtimeFolder, serviceSocket } from '../host/node/folders.ts';
import type { TcpOptions } from './api/server.ts';
import { Service } from './service.ts';

const IN_CHECKOUT = import.meta.url.endsWith('.ts');

export interface RunServiceOptions {
  readonly version: string;
  readonly tcp?: TcpOptions | undefined;
  /** Told where it listens, and whether there is a web console to serve. */
  readonly listening?: ((socket: string, port: number | undefined, pages: boolean) => void) | undefined;
}

/** Resolves when the service has ended. VMs go on. @throws ViridianError */
export async function runService({ version, tcp, listening }: RunServiceOptions): Promise<void> {
  process.umask(0o077);
  const { service, port } = await Service.start({
    dataFolder: dataFolder(),
    runtimeFolder: runtimeFolder(),
    socket: serviceSocket(),
    workerEntry: entry('../vmwp/node/worker-process.ts', './worker-process.js'),
    switchEntry: entry('../vswitch/node/switch-process.ts', './switch-process.js'),
    version,
    tcp,
    pages: pages(),
  });
  listening?.(serviceSocket(), port, pages() !== undefined);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void service.stop());
  await service.ended;
}

/** A source file in a checkout, a bundle in a package. */
function entry(source: string, bundle: string): string {
  return fileURLToPath(new URL(IN_CHECKOUT ? source : bundle, import.meta.url));
}

/** Undefined where the web console has not been built. */
function pages(): string | undefined {
  const folder = fileURLToPath(new URL(IN_CHECKOUT ? '../../dist/manager' : './manager', import.meta.url));
  return existsSync(folder) ? folder : undefined;
}
