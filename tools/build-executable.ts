/**
 * Builds the single executable: this Node with everything of ours in it (Node's single executable applications, docs/api/
 * single-executable-applications). Run: `npm run build:executable [-- FILE]`; default: build/hv.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';
import { THREADS } from '../src/host/node/program.ts';
import { generateInterpreter } from '../src/hypervisor/interpreter/generate.ts';
import { digestOf } from './build-id.ts';
import { buildManager } from './build-manager.ts';

const root = fileURLToPath(new URL('../', import.meta.url));
const output = resolve(process.argv[2] ?? join(root, 'build/hv'));
const scratch = mkdtempSync(join(tmpdir(), 'viridian-executable-'));

/** One script that loads nothing but Node. */
async function bundle(source: string, name: string): Promise<string> {
  const file = join(scratch, name);
  await build({
    input: join(root, source),
    platform: 'node',
    // Optional parts of the WebSocket library, compiled for each system.
    external: (id) => id.startsWith('node:') || ['bufferutil', 'utf-8-validate'].includes(id),
    cwd: root,
    // It is nowhere, and nobody asks where.
    transform: { define: { 'import.meta.url': '""' } },
    output: { file, format: 'cjs', codeSplitting: false, minify: true, sourcemap: false },
  });
  return file;
}

/** Every file of a folder, by the name under which it goes in. */
function filesOf(folder: string, prefix: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return Object.fromEntries(
    names
      .filter((name) => statSync(join(folder, name)).isFile())
      .map((name) => [`${prefix}/${name.replaceAll('\\', '/')}`, join(folder, name)]),
  );
}

try {
  const assets: Record<string, string> = {};
  for (const [name, source] of Object.entries(THREADS))
    assets[`${name}.js`] = await bundle(`src/${source}.ts`, `${name}.js`);
  assets['interpreter.wasm'] = join(scratch, 'interpreter.wasm');
  writeFileSync(assets['interpreter.wasm'], generateInterpreter());
  const translating = [assets['translator-thread.js'], assets['vp-thread.js'], assets['interpreter.wasm']];
  assets['build-id'] = join(scratch, 'build-id');
  writeFileSync(assets['build-id'], digestOf(translating.map((file) => readFileSync(file as string))));
  await buildManager(join(scratch, 'manager'));
  Object.assign(assets, filesOf(join(scratch, 'manager'), 'manager'));
  if (existsSync(join(root, 'guest/agent'))) Object.assign(assets, filesOf(join(root, 'guest/agent'), 'agent'));
  const configuration = {
    main: await bundle('src/cli/executable.ts', 'hv.js'),
    output,
    disableExperimentalSEAWarning: true,
    // Compiled already: half of the time that `hv ls` takes.
    useCodeCache: true,
    execArgv: ['--no-warnings'],
    // NODE_OPTIONS counts, as for `hv` from a package; no argument of hv is taken for one of Node's.
    execArgvExtension: 'env',
    assets,
  };
  mkdirSync(dirname(output), { recursive: true });
  rmSync(output, { force: true });
  writeFileSync(join(scratch, 'sea.json'), JSON.stringify(configuration));
  execFileSync(process.execPath, ['--build-sea', join(scratch, 'sea.json')], { stdio: ['ignore', 'ignore', 2] });
  console.error(`${output}: ${Math.round(statSync(output).size / 2 ** 20)} MiB`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
