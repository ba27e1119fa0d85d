/**
 * Holds the import rules of ARCHITECTURE.md: which room may import which, and that everything is host-neutral (no Node,
 * no DOM) unless its path has `/node/` or `/browser/` in it. Tests are exempt. Run: `npm run layers`.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const base = ['support', 'contracts', 'host'];
const below = [...base, 'hypervisor', 'vid'];

/** Room -> the rooms it may import, besides itself. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  support: [],
  contracts: ['support'],
  host: ['support', 'contracts'],
  hypervisor: base,
  vid: [...base, 'hypervisor'],
  chipset: below,
  firmware: below,
  vmbus: below,
  storage: base,
  vswitch: base,
  vsp: [...below, 'vmbus', 'storage', 'vswitch'],
  ic: [...below, 'vmbus', 'storage', 'vswitch'],
  vmwp: [...below, 'chipset', 'firmware', 'vmbus', 'storage', 'vswitch', 'vsp', 'ic'],
  images: [...base, 'storage'],
  vmms: [...base, 'storage', 'vswitch', 'images'],
  // How programs, the command among them, reach VMMS: the API's contracts over a socket.
  client: base,
  cli: [...base, 'client'],
  manager: ['support', 'contracts'],
};

/** Single permissions: [importing file or folder, imported file, why]. */
const exceptions: readonly (readonly [string, string, string])[] = [
  ['src/cli/', 'src/vmwp/index.ts', 'hv run loads a worker in-process, through the library'],
  ['src/cli/run.ts', 'src/vmwp/processor-threads.ts', 'their start takes longest, and comes before the library'],
  ['src/cli/main.ts', 'src/vmwp/processor-threads.ts', 'and before the words are read'],
  ['src/cli/vhd/', 'src/storage/index.ts', 'hv vhd works on files, with no service in between'],
  ['src/cli/image/', 'src/images/index.ts', 'hv image makes files, with no service in between'],
  ['src/cli/', 'package.json', 'hv --version, and what the service says of itself'],
  ['src/cli/', 'src/vmms/index.ts', 'hv service run is the service'],
  ['src/cli/executable.ts', 'src/vmms/service-process.ts', 'one executable is all processes'],
  ['src/cli/executable.ts', 'src/vmwp/node/worker-process.ts', 'one executable is all processes'],
  ['src/cli/executable.ts', 'src/vswitch/node/switch-process.ts', 'one executable is all processes'],
  ['src/vmms/service-process.ts', 'package.json', 'the version that it serves'],
];

/** Paths that belong to one environment, besides those with /node/ or /browser/ in them. */
const environments: readonly (readonly [string, string])[] = [
  ['src/cli/', 'the command runs in Node only'],
  ['src/vmms/', 'the management service runs in Node only'],
  ['src/client/', 'the client of the management service runs in Node only'],
  ['src/manager/', 'the web console runs in a browser only'],
  ['src/images/index.ts', 'the entry: building an image runs tools of the host'],
  ['src/vmwp/index.ts', 'the library entry for Node: hands the host to what is neutral'],
  ['src/vmwp/processor-threads.ts', 'starts the threads in Node'],
  ['src/vmwp/vp-thread.ts', 'the thread entry for Node'],
  ['src/vmwp/translator-thread.ts', 'the thread entry for Node'],
];

const hostGlobals = /(?<![\w.$'`/])(?:process|Buffer|window|document|__dirname|require|setImmediate)(?:\.|\()/;

/** Every complaint about one file; `path` is relative to the repository, with slashes. */
export function checkFile(path: string, source: string): string[] {
  const complaints: string[] = [];
  const code = source
    .replace(/\/\*[\s\S]*?\*\//g, (text) => text.replace(/[^\n]/g, ' '))
    .replace(/(^|\s)\/\/.*$/gm, '$1');
  const room = path.split('/')[1] ?? '';
  const allowed = rooms[room];
  if (allowed === undefined) return [`${path}: src/${room} is no room: name it in tools/check-layers.ts`];
  const bound = /\/(node|browser)\//.test(path) || environments.some(([prefix]) => path.startsWith(prefix));

  for (const match of code.matchAll(/\b(?:from|import)\s*\(?\s*'([^']+)'/g)) {
    const specifier = match[1]!;
    if (specifier.startsWith('node:')) {
      if (!bound) complaints.push(`${path}: imports ${specifier}, but only /node/ paths know Node`);
      continue;
    }
    if (!specifier.startsWith('.')) continue;
    const target = posix.join(posix.dirname(path), specifier);
    const targetRoom = target.split('/')[1] ?? '';
    if (exceptions.some(([from, to]) => path.startsWith(from) && target === to)) continue;
    if (!target.startsWith('src/')) complaints.push(`${path}: imports ${target}, outside src`);
    else if (targetRoom !== room && !allowed.includes(targetRoom)) {
      complaints.push(`${path}: ${room} may not import ${targetRoom} (${target})`);
    }
    if (!bound && /\/(node|browser)\//.test(target)) {
      complaints.push(`${path}: is host-neutral, but imports ${target}`);
    }
  }
  const global = bound ? null : hostGlobals.exec(code);
  if (global) complaints.push(`${path}: uses ${global[0]}, but is host-neutral`);
  return complaints;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('../', import.meta.url));
  const files = readdirSync(`${root}src`, { recursive: true, encoding: 'utf8' })
    .map((name) => `src/${name.replaceAll('\\', '/')}`)
    .filter((name) => /\.tsx?$/.test(name) && !/\.test\.ts$|\.fixture\.ts$|\/fixtures\//.test(name));
  const complaints = files.flatMap((name) => checkFile(name, readFileSync(root + name, 'utf8')));
  for (const complaint of complaints) console.error(complaint);
  console.error(`layers: ${files.length} files, ${complaints.length} complaints`);
  process.exitCode = complaints.length > 0 ? 1 : 0;
}
