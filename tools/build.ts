/**
 * Builds what ships into dist/: plain JavaScript, one bundle per entry (Node refuses .ts files under node_modules, and
 * each thread would load a hundred small modules), and the library's type declarations. Run: `npm run build`.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'rolldown';
import { generateInterpreter } from '../src/hypervisor/interpreter/generate.ts';
import { digestOf } from './build-id.ts';
import { buildManager } from './build-manager.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const dist = join(root, 'dist');

/**
 * The command and the library share what they have in common as chunks beside them. A thread's entry is one file, loaded
 * by URL: everything lies flat in dist/, so `new URL('./vp-thread.js', import.meta.url)` is right from any chunk.
 */
const bundles: readonly Readonly<Record<string, string>>[] = [
  {
    main: 'src/cli/main.ts',
    index: 'src/vmwp/index.ts',
    client: 'src/client/index.ts',
    'worker-process': 'src/vmwp/node/worker-process.ts',
    'service-process': 'src/vmms/service-process.ts',
    'switch-process': 'src/vswitch/node/switch-process.ts',
  },
  { 'vp-thread': 'src/vmwp/vp-thread.ts' },
  { 'translator-thread': 'src/vmwp/translator-thread.ts' },
];

/** Tables of commands, and what those have in common that speak with the service. */
const MANAGEMENT =
  /src\/(cli\/(nouns\/([\w-]+|\w+\/commands|vm\/actions)|arguments|inspect-text|say)|client\/\w+)\.ts$/;

/**
 * What commander imports of Node, at less cost: an import reads everything that the module exports, which for node:process
 * opens all streams, and child_process is for programs that are made of several.
 */
const CHEAPER: Readonly<Record<string, string>> = {
  'node:process': 'export default process;',
  'node:child_process':
    "export default { get spawn() { return process.getBuiltinModule('node:child_process').spawn; } };",
};
const cheaperCommander: Plugin = {
  name: 'cheaper-commander',
  resolveId: (id, importer) => {
    if (!(id in CHEAPER)) return undefined;
    return importer?.includes('/commander/') ? `\0${id}` : { id, external: true };
  },
  load: (id) => CHEAPER[id.slice(1)],
};

rmSync(dist, { recursive: true, force: true });
for (const input of bundles) {
  await build({
    input: Object.fromEntries(Object.entries(input).map(([name, path]) => [name, join(root, path)])),
    platform: 'node',
    // Packages stay packages, package.json names them. But what every command needs is in it: files are most of its start.
    external: (id) => !/^(\.|\/|\0|commander$)/.test(id) && !(id in CHEAPER),
    plugins: [cheaperCommander],
    cwd: root,
    // Imported literals stand where they are used: what runs before it is optimized pays for each load.
    optimization: { inlineConst: true },
    output: {
      dir: dist,
      format: 'esm',
      entryFileNames: '[name].js',
      chunkFileNames: 'shared-[name]-[hash].js',
      // What most commands load is one file; a file each costs half a millisecond.
      codeSplitting: {
        groups: [
          { name: 'errors', test: /src\/contracts\/errors\.ts$/, priority: 1 },
          { name: 'management', test: MANAGEMENT },
        ],
      },
      sourcemap: false,
      minify: false,
    },
  });
}
writeFileSync(join(dist, 'interpreter.wasm'), generateInterpreter());
// Of everything that translates guest code: translations of one build are not for another.
const translating = ['translator-thread.js', 'vp-thread.js', 'interpreter.wasm'];
writeFileSync(join(dist, 'build-id'), digestOf(translating.map((name) => readFileSync(join(dist, name)))));
await buildManager();
// What images of ours have for the host to speak to.
if (existsSync(join(root, 'guest/agent'))) cpSync(join(root, 'guest/agent'), join(dist, 'agent'), { recursive: true });
emitTypes(['src/vmwp/index.ts', 'src/client/index.ts']);

/** Declarations of the library's entries, and of the modules those mention. */
function emitTypes(entries: readonly string[]): void {
  const scratch = join(dist, 'all-types');
  const ambient = join(root, 'src/support/webassembly.d.ts');
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const options = [
    '--ignoreConfig',
    '--declaration',
    '--emitDeclarationOnly',
    '--noEmit',
    'false',
    '--outDir',
    scratch,
  ];
  const { compilerOptions } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'));
  const kept = ['target', 'module', 'moduleResolution', 'strict', 'exactOptionalPropertyTypes', 'skipLibCheck'];
  for (const name of [...kept, 'allowImportingTsExtensions', 'resolveJsonModule']) {
    if (name in compilerOptions) options.push(`--${name}`, String(compilerOptions[name]));
  }
  options.push('--lib', compilerOptions.lib.join(','), '--types', 'node', '--rootDir', join(root, 'src'));
  execFileSync(process.execPath, [tsc, ...options, ...entries.map((path) => join(root, path)), ambient], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });

  const copied = new Set<string>();
  const copy = (path: string): void => {
    if (copied.has(path)) return;
    copied.add(path);
    const source = join(scratch, path);
    const target = join(dist, 'types', path);
    mkdirSync(dirname(target), { recursive: true });
    cpSync(source, target);
    for (const match of readFileSync(source, 'utf8').matchAll(/(?:from |import\()["'](\.[^"']+)\.ts["']/g)) {
      copy(join(dirname(path), `${match[1]}.d.ts`));
    }
  };
  for (const entry of entries) {
    const path = entry.replace(/^src\/(.*)\.ts$/, '$1.d.ts');
    copy(path);
    if (!existsSync(join(dist, 'types', path))) throw new Error(`no declarations for ${entry}`);
  }
  rmSync(scratch, { recursive: true });
}
