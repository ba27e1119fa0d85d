/**
 * `npm run bench`: boots the same kernel and runs the same workloads here and under QEMU TCG, side by side.
 *
 *   --rounds N     rounds, alternating which machine goes first (default 3)
 *   --anew         each time as on a host that has never run this guest; without, as where it has been run before: runs
 *                  that are not measured leave their translations first
 *   --only NAMES   some workloads, separated by commas; `boot` is the boot itself
 *   --kernel FILE, --busybox FILE   instead of Debian's, which are fetched as the quickstart does
 *   --alone        ours only, without QEMU
 *   --json         results as JSON on stdout
 *   --list         names the workloads
 *   --profile      of our boot, or of the workload that --only names: distinct instructions and blocks, the hot share,
 *                  handlers, exits
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cachedFiles, DebianPackages, rememberFiles, type Wanted } from '../../src/cli/quickstart/debian.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { assemblePrograms, bootImage, workloadImage } from './image.ts';
import { type Guest, type Machine, type Outcome, ours, oursAnew, qemu, qemuVersion, WARM_UP } from './machines.ts';
import { type DebianRoot, debianRoot, Unavailable } from './packages.ts';
import { profileOf, profileText } from './profile.ts';
import { checksumTrouble, geometricMean, type Result, type Sample, summarize, table } from './results.ts';
import { GROUPS, PACKAGES, WORKLOADS, type Workload } from './workloads.ts';

const BOOT = [
  { name: 'boot', about: 'start to shell' },
  { name: 'boot+off', about: 'start to power-off' },
] as const;
const TIMEOUT = { boot: 300, workloads: 1800 } as const;
/** Quiet: the serial port's speed is not the subject. The same for both machines. */
const APPEND = 'console=ttyS0 quiet';

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

interface Flags {
  readonly rounds: number;
  readonly only: readonly string[] | undefined;
  readonly kernel: string | undefined;
  readonly busybox: string | undefined;
  readonly alone: boolean;
  readonly anew: boolean;
  readonly json: boolean;
  readonly list: boolean;
  readonly profile: boolean;
}

function flagsOf(args: string[]): Flags {
  const { values } = parseArgs({
    args,
    options: {
      rounds: { type: 'string', default: '3' },
      only: { type: 'string', multiple: true },
      kernel: { type: 'string' },
      busybox: { type: 'string' },
      alone: { type: 'boolean', default: false },
      anew: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
    },
  });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds ${values.rounds}: give a number from 1 on`);
  const only = values.only?.flatMap((names) => names.split(','));
  const names = ['boot', ...WORKLOADS.map((w) => w.name)];
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: the workloads are ${names.join(', ')}`);
  const { kernel, busybox, alone, anew, json, list, profile } = values;
  return { rounds, only, kernel, busybox, alone, anew, json, list, profile };
}

/** The kernel and busybox: as given, from the quickstart's cache, or fetched. */
async function guestFiles(flags: Flags, cache: string): Promise<Record<Wanted, string>> {
  const found: Partial<Record<Wanted, string>> = {};
  if (flags.kernel !== undefined) found.kernel = flags.kernel;
  if (flags.busybox !== undefined) found.busybox = flags.busybox;
  if (found.kernel === undefined || found.busybox === undefined) {
    let cached = cachedFiles(cache);
    if (cached === undefined) {
      say("bench: fetching Debian's kernel and busybox");
      const packages = new DebianPackages(cache);
      cached = { kernel: await packages.fetch('kernel'), busybox: await packages.fetch('busybox') };
      rememberFiles(cache, cached);
    }
    found.kernel ??= cached.kernel.path;
    found.busybox ??= cached.busybox.path;
  }
  return found as Record<Wanted, string>;
}

/** Undefined, with the reason said, for what this machine cannot do. */
async function orSkip<T>(make: () => Promise<T>): Promise<T | undefined> {
  try {
    return await make();
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    say(`bench: skipped: ${error.message}`);
    return undefined;
  }
}

class Bench {
  readonly #flags: Flags;
  readonly #ours: Machine;
  readonly #rivals: readonly Machine[];
  readonly #samples = new Map<string, Sample[]>();
  readonly #trouble: string[] = [];

  constructor(flags: Flags, rival: boolean) {
    this.#flags = flags;
    this.#ours = flags.anew ? oursAnew : ours;
    this.#rivals = rival ? [this.#ours, qemu] : [this.#ours];
  }

  async #warmUp(guest: Guest, timeout: number): Promise<void> {
    if (this.#flags.anew) return;
    say(`bench: ${WARM_UP} runs that leave their translations`);
    for (let run = 0; run < WARM_UP; run++) await this.#ours(guest, timeout);
  }

  /** Both machines, the first and the second taking turns. */
  async #pair(round: number, guest: Guest, timeout: number): Promise<[Outcome, Outcome | undefined]> {
    const outcomes = new Map<Machine, Outcome>();
    const order = round % 2 === 0 ? this.#rivals : this.#rivals.toReversed();
    for (const machine of order) outcomes.set(machine, await machine(guest, timeout));
    return [outcomes.get(this.#ours)!, outcomes.get(qemu)];
  }

  #add(name: string, sample: Sample): void {
    this.#samples.set(name, [...(this.#samples.get(name) ?? []), sample]);
  }

  async boot(guest: Guest): Promise<void> {
    await this.#warmUp(guest, TIMEOUT.boot);
    for (let round = 0; round < this.#flags.rounds; round++) {
      const [mine, theirs] = await this.#pair(round, guest, TIMEOUT.boot);
      if (!mine.reader.shell || (theirs && !theirs.reader.shell))
        throw new Error('a guest never said that its shell is there');
      const whole = (o: Outcome) => ({ seconds: o.seconds, instructions: o.instructions, checksum: 'off' });
      const shell = (o: Outcome) => ({ ...o.reader.shell!, checksum: 'shell' });
      this.#add('boot', { ours: shell(mine), theirs: theirs && shell(theirs) });
      this.#add('boot+off', { ours: whole(mine), theirs: theirs && whole(theirs) });
      this.#report(round, ['boot']);
    }
  }

  async workloads(guest: Guest, names: readonly string[]): Promise<void> {
    await this.#warmUp(guest, TIMEOUT.workloads);
    for (let round = 0; round < this.#flags.rounds; round++) {
      const [mine, theirs] = await this.#pair(round, guest, TIMEOUT.workloads);
      for (const [who, outcome] of [['ours', mine] as const, ['TCG', theirs] as const])
        for (const failure of outcome?.reader.failures ?? []) this.#trouble.push(`${who}: ${failure}`);
      for (const name of names) {
        const measured = mine.reader.measurements.get(name);
        if (measured) this.#add(name, { ours: measured, theirs: theirs?.reader.measurements.get(name) });
      }
      this.#report(round, names);
    }
  }

  #report(round: number, names: readonly string[]): void {
    const last = names.flatMap((name) => {
      const sample = this.#samples.get(name)?.[round];
      return sample ? [`${name} ${sample.ours.seconds.toFixed(2)}/${sample.theirs?.seconds.toFixed(2) ?? '-'}`] : [];
    });
    say(`bench: round ${round + 1} of ${this.#flags.rounds} (ours/TCG, seconds): ${last.join(', ')}`);
  }

  results(): { results: Result[]; trouble: string[] } {
    const results: Result[] = [];
    const trouble = [...this.#trouble];
    for (const { name, about } of [...BOOT, ...WORKLOADS]) {
      const samples = this.#samples.get(name);
      if (samples === undefined) continue;
      results.push(summarize(name, about, samples));
      const differs = checksumTrouble(name, samples);
      if (differs !== undefined) trouble.push(differs);
    }
    return { results, trouble };
  }
}

interface WorkloadGuest {
  /** Undefined when nothing is left to run. */
  readonly guest: Guest | undefined;
  readonly chosen: readonly Workload[];
  readonly packages: readonly string[];
}

async function workloadGuest(
  cache: string,
  busybox: Uint8Array,
  image: (name: string, bytes: Uint8Array) => Guest,
  wanted: (name: string) => boolean,
): Promise<WorkloadGuest> {
  let chosen = WORKLOADS.filter((w) => wanted(w.name));
  const programs = await orSkip(() => assemblePrograms(chosen.filter((w) => !w.package).map((w) => w.name)));
  if (programs === undefined) chosen = chosen.filter((w) => w.package);
  let root: DebianRoot | undefined;
  if (chosen.some((w) => w.package)) {
    root = await orSkip(() => debianRoot(cache, PACKAGES));
    if (root === undefined) chosen = chosen.filter((w) => !w.package);
  }
  const bytes = workloadImage({ busybox, workloads: chosen, programs: programs ?? new Map(), root });
  return {
    guest: chosen.length > 0 ? image('workloads', bytes) : undefined,
    chosen,
    packages: root?.packages ?? [],
  };
}

async function main(): Promise<number> {
  const flags = flagsOf(process.argv.slice(2));
  if (flags.list) {
    for (const { name, about, package: from } of WORKLOADS)
      process.stdout.write(`${name.padEnd(12)} ${about.padEnd(28)} ${from ?? 'ours'}\n`);
    return 0;
  }
  const cache = cacheFolder();
  const home = join(cache, 'bench');
  mkdirSync(home, { recursive: true });
  const files = await guestFiles(flags, cache);
  const busybox = readFileSync(files.busybox);
  const image = (name: string, bytes: Uint8Array): Guest => {
    const initrd = join(home, `${name}.cpio`);
    writeFileSync(initrd, bytes);
    return { kernel: files.kernel, initrd, append: APPEND };
  };

  const wanted = (name: string): boolean => flags.only?.includes(name) ?? true;
  if (flags.profile) {
    const name = flags.only?.find((n) => n !== 'boot');
    const guest = name
      ? (await workloadGuest(cache, busybox, image, (n) => n === name)).guest
      : image('boot', bootImage(busybox));
    if (!guest) return 1;
    const profile = await profileOf(guest, name);
    process.stdout.write(flags.json ? `${JSON.stringify(profile, undefined, 2)}\n` : profileText(profile));
    return 0;
  }

  const version = flags.alone ? undefined : await qemuVersion();
  if (version) say(`bench: beside QEMU ${version} TCG`);
  else if (!flags.alone) say('bench: qemu-system-x86_64 not found (Debian: qemu-system-x86): ours alone');
  const bench = new Bench(flags, version !== undefined);
  if (wanted('boot')) await bench.boot(image('boot', bootImage(busybox)));

  const { guest, chosen, packages } = await workloadGuest(cache, busybox, image, wanted);
  if (guest)
    await bench.workloads(
      guest,
      chosen.map((w) => w.name),
    );

  const { results, trouble } = bench.results();
  if (flags.json) {
    const versions = { node: process.version, qemu: version ?? null, packages };
    process.stdout.write(`${JSON.stringify({ versions, rounds: flags.rounds, results, trouble }, undefined, 2)}\n`);
  } else {
    process.stdout.write(`${table(results)}\n`);
    for (const { about, names } of GROUPS) {
      const ratios = results.flatMap((r) => (r.ratio === undefined || !names.includes(r.name) ? [] : [r.ratio]));
      if (ratios.length > 1)
        process.stdout.write(`geometric mean of ratios, ${about}: ${geometricMean(ratios).toFixed(2)}\n`);
    }
  }
  for (const line of trouble) say(`bench: ${line}`);
  return trouble.length > 0 ? 1 : 0;
}

process.exitCode = await main().catch((error: unknown) => {
  say(`bench: ${error instanceof Error ? error.message : String(error)}`);
  return 1;
});
