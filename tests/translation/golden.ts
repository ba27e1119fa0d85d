/**
 * The WebAssembly that chosen sequences of instructions are translated to, as text in tests/golden/: a change of the translator
 * shows there, and is looked at. `npm run golden` compares, `npm run golden -- --accept` writes what there is now.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import wabt from 'wabt';
import { compileInterpreter } from '../../src/hypervisor/interpreter/generate.ts';
import type { InterpreterModule } from '../../src/hypervisor/interpreter/interpreter.ts';
import { generate, translate } from '../../src/hypervisor/translator/service.ts';
import { VpState } from '../../src/hypervisor/vp/state.ts';
import { SteppedMachine, type Translate } from '../../src/vmwp/stepped-machine.ts';
import { assembled, barePlan, CODE, MEMORY } from '../fixtures/bare.ts';
import { withPlainTables } from './plain-tables.ts';
import { SEQUENCES, type Sequence } from './sequences.ts';

const FOLDER = join(import.meta.dirname, '../golden');
/** So often has a sequence been executed when it is translated. */
const HOT = 100;
const INSTRUCTIONS = 200_000n;

/** Names the fields of VpState in `offset=`: no other load or store of translated code has so small an offset. */
function named(text: string): string {
  const fields = Object.entries(VpState.fields).map(([name, type]) => {
    const from = VpState.offset(name as keyof typeof VpState.fields);
    const width = (typeof type === 'string' ? type : type.of) === 'u64' ? 8 : 4;
    return {
      name,
      from,
      width,
      to: from + width * (typeof type === 'string' ? 1 : type.count),
      one: typeof type === 'string',
    };
  });
  return text.replace(/ offset=(\d+)/g, (whole, digits: string) => {
    const offset = Number(digits);
    const field = fields.find(({ from, to }) => offset >= from && offset < to);
    if (!field) return whole;
    const { name, from, width, one } = field;
    const within = (offset - from) % width;
    return ` offset=$${name}${one ? '' : `[${Math.floor((offset - from) / width)}]`}${within ? `+${within}` : ''}`;
  });
}

/** The functions of the module that a sequence's region is in, with its listing in front. */
export async function textOf(sequence: Sequence, interpreter: InterpreterModule): Promise<string> {
  const { at, entry, listing, what, exact = false } = sequence;
  const code = assembled(listing);
  let bytes: Uint8Array | undefined;
  const entries: number[] = [];
  const watched: Translate = (request, memory) => {
    const made = generate(request, memory, { exact });
    for (const region of made.regions) if (region) entries.push(region.entry);
    if (!bytes && made.regions.some((region) => region?.entry === entry)) ({ bytes } = made);
    return translate(request, memory, { exact });
  };
  const machine = new SteppedMachine({
    memory: MEMORY,
    plan: barePlan(code, CODE + at),
    interpreter,
    translated: true,
    hotAfter: HOT,
    translate: watched,
  });
  machine.runTo(INSTRUCTIONS);
  if (!bytes) throw new Error(`${sequence.name}: nothing was translated at ${entry}, but at ${entries}`);
  const module = (await wabt()).readWasm(withPlainTables(bytes), { readDebugNames: false, ...FEATURES });
  const text = module.toText({ foldExprs: true, inlineExport: false });
  module.destroy();
  const width = Math.max(...listing.map(([line]) => line.length));
  const source = listing.map(([line, hex]) => `;; ${line.padEnd(width)}  ${hex}\n`).join('');
  return `${what ? `;; ${what}\n` : ''}${source}${named(text)}`;
}
const FEATURES = { threads: true, simd: true, tail_call: true, sign_extension: true };

export function goldenPath(name: string): string {
  return join(FOLDER, `${name}.wat`);
}
export function goldenText(name: string): string | undefined {
  return existsSync(goldenPath(name)) ? readFileSync(goldenPath(name), 'utf8') : undefined;
}
/** Names of the texts that are there. */
export function goldenNames(): string[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.wat'))
    .map((name) => name.slice(0, -'.wat'.length));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const accept = process.argv.includes('--accept');
  const interpreter = compileInterpreter();
  mkdirSync(FOLDER, { recursive: true });
  const changed: string[] = [];
  for (const sequence of SEQUENCES) {
    const text = await textOf(sequence, interpreter);
    if (text === goldenText(sequence.name)) continue;
    changed.push(sequence.name);
    if (accept) writeFileSync(goldenPath(sequence.name), text);
  }
  for (const name of goldenNames()) {
    if (SEQUENCES.some((sequence) => sequence.name === name)) continue;
    changed.push(name);
    if (accept) rmSync(goldenPath(name));
  }
  const verb = accept ? 'accepted' : 'different (--accept takes them)';
  console.error(changed.length > 0 ? `${verb}: ${changed.join(' ')}` : 'nothing has changed');
  process.exitCode = changed.length > 0 && !accept ? 1 : 0;
}
