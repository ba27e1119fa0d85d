/**
 * `hv quickstart` (and `npm start`): an unmodified Debian kernel with a busybox shell on this terminal. The first run
 * fetches both with apt-get; later ones need no network.
 */
import { existsSync } from 'node:fs';
import { isViridianError, ViridianError } from '../../contracts/errors.ts';
import type { CreatePartition } from '../../contracts/partition.ts';
import { resolvePartitionOptions } from '../../contracts/partition-options.ts';
import { readInput } from '../../host/node/files.ts';
import { cacheFolder } from '../../host/node/folders.ts';
import type { QuickstartFlags } from '../flags.ts';
import { library, machineOptionsOf, requestOf } from '../run.ts';
import { runPartition } from '../run-partition.ts';
import { say } from '../say.ts';
import {
  type CachedFile,
  type CachedFiles,
  cachedFiles,
  DebianPackages,
  damagedFiles,
  rememberFiles,
  type Wanted,
} from './debian.ts';
import { buildInitramfs, NETWORK } from './initramfs.ts';

const TITLES: Readonly<Record<Wanted, string>> = { kernel: "Debian's kernel", busybox: "Debian's busybox" };

const HV = import.meta.url.endsWith('.ts') ? 'bin/hv' : 'hv';
/** Where the Manager listens when the port is free. */
const NEXT = `hv: for machines that outlive the terminal, '${HV} manager' opens the Manager in the browser: http://127.0.0.1:8006`;

/** @param create For tests; else the library's. */
export async function quickstart(flags: QuickstartFlags, create?: CreatePartition): Promise<number> {
  if (flags.debian) {
    const { debianMachine } = await import('../image/machine.ts');
    return await debianMachine(flags, create);
  }
  const machine = machineOptionsOf(flags);
  resolvePartitionOptions({ ...machine, kernel: 'debian' });
  for (const [option, path] of [['--kernel', flags.kernel] as const, ['--busybox', flags.busybox] as const]) {
    if (path !== undefined && !existsSync(path)) throw new ViridianError('notFound', `${option} ${path}: no such file`);
  }

  const files = await findFiles(flags);
  if (process.stderr.isTTY)
    say(
      'hv: a kernel and a shell; for a whole Debian with a network, some minutes: hv quickstart --debian (npm run debian)',
    );
  const base = buildInitramfs({
    busybox: await readInput('busybox', files.busybox),
    files: flags.nic !== undefined || flags.publish !== undefined ? { 'etc/network': NETWORK } : {},
  });
  // A disk or a network is of no use without them.
  const attached = flags.disk ?? flags.dvd ?? flags.nic ?? flags.publish;
  const wanted = flags.drivers ?? (attached !== undefined && flags.kernel === undefined);
  const drivers = wanted ? await findDrivers(flags) : undefined;
  // The kernel unpacks one archive after the other.
  const initrd = drivers ? Buffer.concat([base, drivers]) : base;
  const options = {
    ...machine,
    kernel: files.kernel,
    initrd,
    append: `console=ttyS0 ${terminalParameters()} ${flags.append ?? ''}`.replace(/ +/g, ' ').trim(),
  };
  const code = await runPartition(
    requestOf(flags, options),
    create ?? (await library(flags.check ? 0 : flags.processors)),
  );
  // For a person who is about to wonder what else there is.
  if (process.stdin.isTTY && process.stderr.isTTY) say(NEXT);
  return code;
}

/** The paths of both files: as given, from the cache, or fetched now. */
async function findFiles(flags: QuickstartFlags): Promise<Record<Wanted, string>> {
  const given = { kernel: flags.kernel, busybox: flags.busybox };
  if (given.kernel !== undefined && given.busybox !== undefined)
    return { kernel: given.kernel, busybox: given.busybox };

  const cache = cacheFolder();
  let files = flags.refresh ? undefined : cachedFiles(cache);
  if (files === undefined) {
    const damaged = damagedFiles(cache);
    files = await fetchFiles(cache).catch((error: unknown) => {
      throw damaged.length > 0 && isViridianError(error) ? damagedCache(damaged, error) : error;
    });
  } else say(`hv: ${files.kernel.package} ${files.kernel.version} (from the cache; --refresh looks for a newer one)`);
  return { kernel: given.kernel ?? files.kernel.path, busybox: given.busybox ?? files.busybox.path };
}

/** The modules of Debian's kernel; other kernels have others. */
async function findDrivers(flags: QuickstartFlags): Promise<Uint8Array> {
  if (flags.kernel !== undefined)
    throw new ViridianError('invalid', "--drivers has those of Debian's kernel: leave --kernel out");
  const cache = cacheFolder();
  const files = cachedFiles(cache) as CachedFiles;
  if (files.modules) return await readInput('modules', files.modules.path);
  say("hv: fetching the kernel's modules");
  const modules = await new DebianPackages(cache).fetchModules(files.kernel);
  rememberFiles(cache, { ...files, modules });
  return await readInput('modules', modules.path);
}

export function damagedCache(paths: readonly string[], reason: ViridianError): ViridianError {
  const line = `the cache is damaged (${paths.join(', ')}) and fetching it again failed; when that can work, give --refresh`;
  return new ViridianError(reason.code, `${line}. ${reason.message}`, { cause: reason });
}

async function fetchFiles(cache: string): Promise<CachedFiles> {
  const { Listr, ListrLogger, ProcessOutput } = await import('listr2');
  const packages = new DebianPackages(cache);
  const found: Partial<Record<Wanted, CachedFile>> = {};
  let failure: unknown;
  const fetchOne = async (wanted: Wanted, task: { title: string; output: string }): Promise<void> => {
    let shown = '';
    const file = await packages.fetch(wanted, (text) => {
      // In a log rather than on a terminal each step is said once, not each megabyte.
      const step = process.stderr.isTTY ? text : text.replace(/: [\d.]+ MB of/, ':');
      if (step !== shown) task.output = shown = step;
    });
    found[wanted] = file;
    task.title = `${TITLES[wanted]}: ${file.package} ${file.version}`;
  };
  // stdout is the guest's.
  const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
  const tasks = new Listr(
    (Object.keys(TITLES) as Wanted[]).map((wanted) => ({
      title: TITLES[wanted],
      task: (_: unknown, task: { title: string; output: string }) =>
        fetchOne(wanted, task).catch((error: unknown) => {
          failure = error;
          throw new Error('the reason is below');
        }),
    })),
    {
      renderer: process.stderr.isTTY ? 'default' : 'simple',
      rendererOptions: { logger },
      fallbackRendererOptions: { logger },
    },
  );
  await tasks.run().catch((error: unknown) => {
    throw failure ?? error;
  });
  const files = found as CachedFiles;
  rememberFiles(cache, files);
  return files;
}

/** The kernel hands `name=value` that it does not know to the first process as environment. */
function terminalParameters(): string {
  const parameters: string[] = [];
  const term = process.env.TERM;
  if (term !== undefined && /^[\w.+-]{1,32}$/.test(term) && process.stdin.isTTY) parameters.push(`TERM=${term}`);
  const { columns, rows } = process.stdout;
  if (process.stdout.isTTY && columns > 0 && rows > 0) parameters.push(`LINES=${rows}`, `COLUMNS=${columns}`);
  return parameters.join(' ');
}
