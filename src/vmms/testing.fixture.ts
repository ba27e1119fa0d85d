/** A service in a folder of its own, with workers that only pretend, and a client of it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { Host, type Vm } from '../client/index.ts';
import { Transport } from '../client/transport.ts';
import type { NewVm } from '../contracts/api/vm.ts';
import { hostFacts } from './host-facts.ts';
import { Service, type ServiceOptions } from './service.ts';

const GIB = 2 ** 30;
const folders: string[] = [];
const services = new Set<Service>();
/** Nothing outlives a test file. */
afterAll(async () => {
  for (const service of services) {
    for (const machine of service.management.machines) await machine.turnOff().catch(() => {});
    await service.stop();
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export interface TestHost {
  readonly folder: string;
  readonly options: ServiceOptions;
  service: Service;
  readonly host: Host;
  readonly port: number | undefined;
  /** The service ends, VMs go on, another service comes. */
  restart(more?: Partial<ServiceOptions>): Promise<void>;
  /** A VM that could start. */
  vm(name: string, more?: Partial<NewVm>): Promise<Vm>;
}

export async function testHost(more: Partial<ServiceOptions> = {}): Promise<TestHost> {
  const folder = mkdtempSync(join(tmpdir(), 'vir-'));
  folders.push(folder);
  const kernel = join(folder, 'kernel');
  writeFileSync(kernel, 'not really');
  const options: ServiceOptions = {
    dataFolder: join(folder, 'data'),
    runtimeFolder: join(folder, 'run'),
    socket: join(folder, 'run/vmms.sock'),
    workerEntry: fileURLToPath(new URL('fake-worker.fixture.ts', import.meta.url)),
    switchEntry: fileURLToPath(new URL('../vswitch/node/switch-process.ts', import.meta.url)),
    version: '0.0.0-test',
    facts: { ...hostFacts(), architecture: 'x64', memory: 64 * GIB, flags: new Set(['nx']) },
    ...more,
  };
  const started = await Service.start(options);
  services.add(started.service);
  const host = new Host(new Transport({ socket: options.socket }));
  const test: TestHost = {
    folder,
    options,
    service: started.service,
    host,
    port: started.port,
    restart: async (other = {}) => {
      await test.service.stop();
      services.delete(test.service);
      test.service = (await Service.start({ ...options, ...other })).service;
      services.add(test.service);
    },
    vm: async (name, extra = {}) => {
      return await host.create({ name, memory: 64 * 2 ** 20, boot: { kernel }, ...extra });
    },
  };
  return test;
}

/** What a console shows up to a text. */
export async function until(stream: AsyncIterable<Buffer>, text: string): Promise<string> {
  let shown = '';
  for await (const bytes of stream) {
    shown += bytes.toString('latin1');
    if (shown.includes(text)) return shown;
  }
  throw new Error(`the console ended without '${text}': ${shown}`);
}
