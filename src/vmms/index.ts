/** The management service as a process: `hv service run`, or started by the command when it is not there. */
import { dataFolder, runtimeFolder, serviceSocket } from '../host/node/folders.ts';
import { processArguments, programFiles } from '../host/node/program.ts';
import type { TcpOptions } from './api/server.ts';
import { Service } from './service.ts';

export interface RunServiceOptions {
  readonly version: string;
  readonly tcp?: TcpOptions | undefined;
  /** Told where it listens, and whether there is a web console to serve. */
  readonly listening?: ((socket: string, port: number | undefined, pages: boolean) => void) | undefined;
}

/** Resolves when the service has ended. VMs go on. @throws ViridianError */
export async function runService({ version, tcp, listening }: RunServiceOptions): Promise<void> {
  process.umask(0o077);
  const pages = programFiles('manager', 'dist/manager');
  const { service, port } = await Service.start({
    dataFolder: dataFolder(),
    runtimeFolder: runtimeFolder(),
    socket: serviceSocket(),
    workerEntry: processArguments('worker-process'),
    switchEntry: processArguments('switch-process'),
    version,
    tcp,
    pages,
  });
  listening?.(serviceSocket(), port, pages.read('index.html') !== undefined);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void service.stop());
  await service.ended;
}
