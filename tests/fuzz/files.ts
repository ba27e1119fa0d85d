// Files that mean harm: kernel images and saved states with some of their bytes or values changed. Either a file is
// taken, or it is refused with the error that is meant for its user. `node tests/fuzz/files.ts --help`.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { isViridianError } from '../../src/contracts/errors.ts';
import { planBoot } from '../../src/firmware/detect.ts';
import {
  bzImage,
  concat,
  elf,
  multibootElf,
  multibootHeader,
  tinyVmlinux,
  u32,
} from '../../src/firmware/images.fixture.ts';
import type { LoadPlan } from '../../src/firmware/load-plan.ts';
import { KernelImageError } from '../../src/firmware/load-plan.ts';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { nodeServices } from '../../src/host/node/services.ts';
import { resetPowerUp } from '../../src/hypervisor/vp/reset.ts';
import { VpState } from '../../src/hypervisor/vp/state.ts';
import { crc32 } from '../../src/support/codec/crc32.ts';
import { applyInitialState } from '../../src/vmwp/initial-state.ts';
import { decodeSavedState } from '../../src/vmwp/saved-state.ts';
import { VmWorker } from '../../src/vmwp/worker.ts';
import { Random } from '../oracle/generate.ts';
import type { FuzzTarget } from './target.ts';

const MIB = 2 ** 20;
const MEMORY = 64 * MIB;

const IMAGES: readonly Uint8Array[] = [
  bzImage({ payload: tinyVmlinux() }),
  bzImage({ payload: new Uint8Array([0x1f, 0x8b, 8, 0, ...new Array(300).fill(7)]) }),
  multibootElf(),
  multibootElf(7),
  concat(multibootHeader(0x1_0003, 0x10_0000, 0x10_0000, 0, 0, 0x10_0020), new Uint8Array(4096)),
  elf({
    bits: 64,
    entry: 0x100_0000n,
    segments: [
      { virtual: 0xffff_ffff_8100_0000n, physical: 0x100_0000, bytes: new Uint8Array(64), memorySize: 0x3000 },
    ],
    note: { name: 'Xen', type: 18, description: u32(0x100_0000) },
  }),
];
const NUMBERS = [
  0, 1, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xffff_fff0, 0x10_0000, 0x400, 0xa_0000,
] as const;

/** The image with a few of its first bytes, or a few of its words, changed; or with its end missing. */
function mutatedImage(random: Random): Uint8Array {
  const image = random.pick(IMAGES).slice();
  const view = new DataView(image.buffer);
  const header = Math.min(image.length, random.oneIn(2) ? 0x280 : image.length);
  for (let n = 1 + random.below(6); n > 0; n--) {
    if (random.oneIn(2)) image[random.below(header)] = random.below(256);
    else
      view.setUint32(
        random.below(header / 4 - 1) * 4 + (random.oneIn(4) ? 1 : 0),
        random.oneIn(3) ? random.u32() : random.pick(NUMBERS),
        true,
      );
  }
  return random.oneIn(6) ? image.subarray(0, random.below(image.length)) : image;
}

/** Plans the start of a changed kernel. @throws what is no KernelImageError, or a plan outside memory. */
export async function fuzzImage(seed: number): Promise<'taken' | 'refused'> {
  const random = new Random(seed);
  const image = mutatedImage(random);
  let plan: LoadPlan;
  try {
    plan = await planBoot(image, {
      memory: random.oneIn(4) ? random.below(MEMORY / 4096) * 4096 : MEMORY,
      commandLine: 'console=ttyS0',
      codecs: nodeCodecs,
      rsdp: 0xe_0000,
      ...(random.oneIn(3) ? { initrd: new Uint8Array(random.below(10_000)) } : {}),
    });
  } catch (error) {
    if (error instanceof KernelImageError) return 'refused';
    throw error;
  }
  for (const { first, size } of [...plan.segments.map((s) => ({ first: s.gpa, size: s.bytes.length })), ...plan.zeroed])
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(size) || first < 0 || size < 0 || first + size > MEMORY)
      throw new RangeError(`the plan reaches 0x${first.toString(16)}+0x${size.toString(16)}`);
  applyInitialState(VpState.view(new ArrayBuffer(VpState.size)), plan.entry);
  return 'taken';
}

// ---------------------------------------------------------------------------------------------------- saved states

const STATE = new Uint8Array(readFileSync(new URL('../fixtures/state-v1.bin', import.meta.url)));
const PREFIX = 24;
const { compression } = nodeServices;

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const VALUES: readonly Json[] = [
  null,
  true,
  false,
  0,
  1,
  -1,
  0.5,
  1e9,
  4096,
  2 ** 31,
  2 ** 32,
  2 ** 40,
  2 ** 53,
  1e308,
  -0,
  '',
  'x',
  '0',
  '-1',
  '1e9',
  '18446744073709551615',
  '18446744073709551616',
  '99999999999999999999999999',
  '0n',
  '5n',
  [],
  {},
  [1],
  [null],
  ['x'],
  { length: 1e9 },
  { length: -1 },
  { length: 'x' },
  '__proto__',
];

/** Every place in a JSON value, as the object and the key. */
function places(value: Json, into: [Json[] | { [key: string]: Json }, string][] = []): typeof into {
  if (typeof value !== 'object' || value === null) return into;
  const keys = Object.keys(value);
  // Of long lists, a few.
  for (const key of keys.length > 40 ? keys.slice(0, 3) : keys) {
    const holder = value as { [key: string]: Json };
    into.push([holder, key]);
    places(holder[key]!, into);
  }
  return into;
}

let headerText: string | undefined;
function header(): Json {
  if (headerText === undefined) {
    const length = new DataView(STATE.buffer, STATE.byteOffset).getUint32(12, true);
    headerText = new TextDecoder().decode(compression.decompress(STATE.subarray(PREFIX, PREFIX + length), 2 ** 26));
  }
  return JSON.parse(headerText) as Json;
}

/** A state whose checksum is right and whose header is not. */
function withHeader(value: Json): Uint8Array {
  const length = new DataView(STATE.buffer, STATE.byteOffset).getUint32(12, true);
  const text = compression.compress(new TextEncoder().encode(JSON.stringify(value)));
  const body = STATE.subarray(PREFIX + length);
  const out = new Uint8Array(PREFIX + text.length + body.length);
  out.set(STATE.subarray(0, PREFIX));
  out.set(text, PREFIX);
  out.set(body, PREFIX + text.length);
  const view = new DataView(out.buffer);
  view.setUint32(12, text.length, true);
  view.setUint32(16, body.length, true);
  view.setUint32(20, crc32(out.subarray(PREFIX)), true);
  return out;
}

/** Changes some values of what a file says, takes some away, adds some. */
export function mutatePlain(random: Random, value: { [key: string]: Json }): void {
  for (let n = random.oneIn(2) ? 1 : 1 + random.below(3); n > 0; n--) {
    // The rooms of the header are as likely as each other, whatever their size.
    const room = random.pick(Object.keys(value));
    const [holder, key] = random.oneIn(8)
      ? ([value, room] as const)
      : random.pick([[value, room] as const, ...places(value[room]!)]);
    const at = holder as { [key: string]: Json };
    if (random.oneIn(8)) delete at[key];
    else if (random.oneIn(12) && !Array.isArray(holder)) at[`${key}x`] = 1;
    // A copy: a later change may go into it.
    else at[key] = structuredClone(random.pick(VALUES));
  }
}

function mutatedState(random: Random): Uint8Array {
  const value = header() as { [key: string]: Json };
  mutatePlain(random, value);
  return withHeader(value);
}

/** Restores a changed state. @throws what is no ViridianError. */
export async function fuzzState(seed: number): Promise<'taken' | 'refused'> {
  const random = new Random(seed);
  const bytes = mutatedState(random);
  let worker: VmWorker;
  try {
    const saved = decodeSavedState(bytes, compression);
    worker = new VmWorker({
      config: { memory: 16 * MIB, processors: 1, virtualTime: true, testDevice: true, vmbus: false },
      plan: { kind: 'multiboot', segments: [], zeroed: [], reserved: [], notes: [], entry: undefined as never },
      onReboot: 'restart',
      instructionLimit: undefined,
      trace: undefined,
      threads: [],
      interpreter: undefined as never,
      translatorEntry: new URL('file:///'),
      engine: 'interpreter',
      host: nodeServices,
      files: nodeDiskFiles,
      saved,
    });
    await worker.restore(saved);
  } catch (error) {
    if (isViridianError(error)) return 'refused';
    throw error;
  }
  await worker.inspect?.();
  // What a restart of the guest loads again.
  const { plan, config } = decodeSavedState(bytes, compression);
  for (const segment of plan.segments)
    if (!Number.isSafeInteger(segment.gpa) || segment.gpa < 0 || segment.gpa + segment.bytes.length > config.memory)
      throw new RangeError(`a segment at ${segment.gpa} is taken`);
  const vp = VpState.view(new ArrayBuffer(VpState.size));
  resetPowerUp(vp);
  applyInitialState(vp, plan.entry);
  return 'taken';
}

export const stateTarget: FuzzTarget = {
  about: 'saved states',
  covers: [
    'src/vmwp/saved-state.ts',
    'src/vmwp/initial-state.ts',
    'src/support/struct.ts',
    'src/hypervisor/memory/arena.ts',
  ],
  run: fuzzState,
};

// ---------------------------------------------------------------------------------------------------- as a command

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '2000' },
      seed: { type: 'string', default: '1' },
      what: { type: 'string', default: 'all' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(
      'Reads damaged files.\n\n  --count N  files of each kind (default 2000)\n  --seed S   of the first\n  --what W   images, states or all\n',
    );
    return 0;
  }
  let failures = 0;
  for (const [name, run] of [
    ['images', fuzzImage],
    ['states', fuzzState],
  ] as const) {
    if (values.what !== 'all' && values.what !== name) continue;
    const outcomes = { taken: 0, refused: 0 };
    const kinds = new Map<string, number>();
    for (let seed = Number(values.seed); seed < Number(values.seed) + Number(values.count); seed++) {
      try {
        outcomes[await run(seed)]++;
      } catch (error) {
        failures++;
        const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
        const kind = text.replace(/0x[0-9a-f]+|\d+/g, '#').slice(0, 300);
        if (!kinds.has(kind)) process.stderr.write(`${name}, seed ${seed}: ${text}\n`);
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      }
    }
    process.stdout.write(
      `${name}: ${outcomes.taken} taken, ${outcomes.refused} refused, ${[...kinds.values()].reduce((a, b) => a + b, 0)} failed\n`,
    );
  }
  return failures === 0 ? 0 : 1;
}

if (import.meta.main) process.exit(await main());
