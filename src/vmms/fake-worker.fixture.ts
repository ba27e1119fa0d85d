/**
 * A worker process without a processor, for tests of everything around it: the console echoes, a few letters make it end, and
 * its state is what has been typed; programs in the guest run on this machine. `FAKE_START_DELAY` in the command line (append) makes it slow to start.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { agentHere } from '../contracts/agent.fixture.ts';
import type { DiskFile, StoragePlace } from '../contracts/block-device.ts';
import { ViridianError } from '../contracts/errors.ts';
import { EXEC_PORT } from '../contracts/exec.ts';
import type { NetworkPort, NicOptions } from '../contracts/network.ts';
import type { Partition, PartitionOptions, StopReason, StorageUnit } from '../contracts/partition.ts';
import { writeOutput } from '../host/node/files.ts';
import { runWorker, untilWanted } from '../vmwp/node/worker.ts';

/** Remembers what is where. */
function fakeStorage({ disks = [], dvds = [] }: PartitionOptions): Partition['storage'] {
  const units = new Map<number, StorageUnit>();
  const put = (kind: 'disk' | 'dvd', lun: number, file: string | undefined): Promise<StoragePlace> => {
    if (file?.includes('refused')) return Promise.reject(new Error('refused'));
    units.set(lun, { kind, controller: 0, lun, file, format: undefined, size: 0, writable: true });
    return Promise.resolve({ controller: 0, lun });
  };
  const take = ({ lun }: StoragePlace): Promise<void> => {
    units.delete(lun);
    return Promise.resolve();
  };
  for (const disk of disks as (DiskFile & { lun: number })[]) void put('disk', disk.lun, disk.file);
  for (const dvd of dvds) void put('dvd', dvd.lun!, dvd.file);
  const nothing = (): Promise<void> => Promise.resolve();
  return {
    list: () => [...units.values()],
    attachDisk: (disk) => put('disk', (disk as DiskFile).lun!, (disk as DiskFile).file),
    detachDisk: take,
    resizeDisk: nothing,
    attachDvdDrive: (drive) => put('dvd', drive!.lun!, drive!.file),
    detachDvdDrive: take,
    insertDvd: async ({ lun }, file) => void (await put('dvd', lun, file)),
    ejectDvd: async ({ lun }) => void (await put('dvd', lun, undefined)),
    releaseFiles: nothing,
    reopenFiles: nothing,
  };
}

/** What this process can do with a file from each of its threads, and what else of the host it can reach. */
async function reach(path: string): Promise<string> {
  const code = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error);
  const now = (work: () => unknown): string => {
    try {
      work();
      return 'ok';
    } catch (error) {
      return code(error);
    }
  };
  const source = `const { parentPort, workerData } = require('node:worker_threads');
    let code = 'ok';
    try { require('node:fs').readFileSync(workerData); } catch (error) { code = error.code; }
    parentPort.postMessage(code);`;
  const worker = new Worker(source, { eval: true, workerData: path });
  const results = {
    main: now(() => readFileSync(path)),
    async: await readFile(path).then(() => 'ok', code),
    thread: await new Promise<string>((resolve) => worker.once('message', resolve)),
    write: now(() => appendFileSync(path, '')),
    beside: now(() => writeFileSync(`${path}.new`, '')),
    list: now(() => readdirSync(dirname(path))),
    execute: code(spawnSync('/bin/true').error ?? { code: 'ok' }),
    signal: now(() => process.kill(process.ppid, 0)),
    temporary: now(() => writeFileSync(join(tmpdir(), 'x'), '')),
  };
  return `${JSON.stringify(results)}\n`;
}

/** Adapters whose guest shows what it hears, and shouts what it is told to: `!shout nic0 TEXT.` */
class FakeNics {
  readonly #ports = new Map<string, { readonly port: NetworkPort; readonly mac: string; up: boolean }>();
  readonly #say: (text: string) => void;

  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  attach({ name = '', mac = '', network }: NicOptions): void {
    if (typeof network === 'string') throw new Error('a network of its own');
    const nic = { port: network, mac, up: false };
    this.#ports.set(name, nic);
    network.onLink((up) => {
      nic.up = up;
    });
    network.onFrame(({ bytes }) => {
      this.#say(`[${name} heard ${Buffer.from(bytes.subarray(14)).toString('latin1')}]`);
      return true;
    });
  }

  detach(name: string): void {
    this.#ports.get(name)?.port.close();
    this.#ports.delete(name);
  }

  shout(name: string, text: string): void {
    const { port, mac } = this.#ports.get(name)!;
    const bytes = Buffer.concat([
      Buffer.from('ffffffffffff', 'hex'),
      Buffer.from(mac.replaceAll(':', ''), 'hex'),
      Buffer.from([0x88, 0xb5]),
      Buffer.from(text),
    ]);
    port.send({ bytes, segmentSize: 0, checksum: 'complete' });
  }

  get text(): string {
    return [...this.#ports].map(([name, { mac, up }]) => `${name}=${mac}${up ? '' : ' down'}`).join(' ');
  }

  close(): void {
    for (const name of [...this.#ports.keys()]) this.detach(name);
  }
}

async function createFakePartition(options: PartitionOptions): Promise<Partition> {
  const stopped = Promise.withResolvers<StopReason>();
  let output: (bytes: Uint8Array) => void = () => {};
  let typed = typeof options.restore === 'string' ? readFileSync(options.restore, 'utf8') : '';
  const delay = /FAKE_START_DELAY=(\d+)/.exec(options.append ?? '')?.[1];
  if (delay !== undefined) await new Promise((resolve) => setTimeout(resolve, Number(delay)));
  if (options.append?.includes('FAKE_NO_START')) throw new Error('out of luck');
  const storage = fakeStorage(options);
  const say = (text: string): void => output(Buffer.from(text));
  const alive = setInterval(() => {}, 1000);
  const nics = new FakeNics(say);
  for (const nic of options.nics ?? []) nics.attach(nic);
  return {
    console: {
      write(bytes) {
        const text = Buffer.from(bytes).toString('latin1');
        typed += text;
        if (text.includes('!abort')) process.abort();
        if (text.includes('!off')) stopped.resolve({ kind: 'powerOff' });
        if (text.includes('!panic')) stopped.resolve({ kind: 'crash', parameters: [1n], message: 'no init' });
        if (text.includes('!state')) say(`<${typed}>`);
        else if (/!shout (\w+) (\w+)\./.test(text)) {
          const [, name, words] = /!shout (\w+) (\w+)\./.exec(text)!;
          nics.shout(name!, words!);
        } else if (text.startsWith('!reach ')) void reach(text.slice(7)).then(say);
        else if (text.includes('!flood')) for (let i = 0; i < 64; i++) say('x'.repeat(2 ** 20));
        else say(text);
        return Promise.resolve();
      },
      onData(callback) {
        output = callback;
      },
    },
    start: () => say('ready\n'),
    stopped: stopped.promise,
    turnOff: () => stopped.resolve({ kind: 'turnedOff' }),
    shutdown: ({ restart } = {}) => {
      if (restart) say('restarted\n');
      else if (!typed.includes('!deaf')) setTimeout(() => stopped.resolve({ kind: 'powerOff' }), 20);
      return Promise.resolve();
    },
    integration: {
      heartbeat: () => 'OK' as const,
      addresses: () => Promise.resolve(['10.0.0.10', 'fe80::1', 'fd00::5']),
    } as unknown as Partition['integration'],
    storage,
    attachNic: (nic) => {
      nics.attach(nic);
      return Promise.resolve(nic.name!);
    },
    detachNic: (name) => nics.detach(name),
    setLink: () => undefined,
    // The agent runs on this machine.
    connect: (port) =>
      port === EXEC_PORT && !options.append?.includes('FAKE_NO_AGENT')
        ? agentHere()
        : Promise.reject(new ViridianError('timeout', `nothing accepts port ${port}`)),
    listen: () => ({ close: () => undefined }),
    exec: () => Promise.reject(new Error('no guest')),
    keyboard: undefined,
    mouse: undefined,
    memory: undefined,
    screenshot: () => Promise.resolve(Uint8Array.of(0x89, 0x50)),
    screenChanges: (after) =>
      Promise.resolve(
        after >= 1
          ? null
          : { change: 1, x: 32, y: 64, screenWidth: 640, screenHeight: 480, png: Uint8Array.of(0x89, 0x50) },
      ),
    pause: () => Promise.resolve(),
    resume: () => say('resumed\n'),
    reset: () => Promise.resolve(say('reset\n')),
    injectNmi: () => say('nmi\n'),
    save: () => Promise.resolve(Buffer.from(typed)),
    saveTo: (file) => {
      let taken = '';
      return {
        ready: Promise.resolve(),
        take: () => {
          taken = typed;
          return Promise.resolve();
        },
        finish: async () => {
          await writeOutput('saved state', file, Buffer.from(taken));
          return { bytes: taken.length, rounds: 1, written: taken.length, putAside: 0 };
        },
        cancel: () => Promise.resolve(),
      };
    },
    digest: () => Promise.resolve({ instructions: 0n, registers: '', memory: '', devices: '' }),
    inspect: () =>
      Promise.resolve({
        rip: 0x10n,
        nics: nics.text,
        files: storage
          .list()
          .map(({ kind, lun, file }) => `${kind}${lun}=${basename(file ?? '')}`)
          .join(' '),
      }),
    stats: () => ({ instructions: 5n, busySeconds: 2, counters: {} }),
    [Symbol.asyncDispose]: () => {
      clearInterval(alive);
      nics.close();
      return Promise.resolve();
    },
  };
}

await untilWanted();
process.exit(await runWorker(process.argv[2]!, createFakePartition));
