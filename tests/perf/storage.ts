/**
 * `node tests/perf/storage.ts`: Debian's fio in a guest of ours on hv_storvsc, and in QEMU TCG on virtio-blk, over the same raw
 * image on the same host.
 *
 *   --rounds N    rounds, alternating which machine goes first (default 3)
 *   --seconds N   for each job (default 4)
 *   --ramp N      seconds of each job before it is measured (default 0: what has to be translated is in the figures)
 *   --only NAMES  some jobs, separated by commas
 *   --anew        each time as on a host that has never run this guest; without, as where it has been run before: runs
 *                 that are not measured leave their translations first
 *   --alone       ours only
 *   --json        results as JSON on stdout
 */
import { closeSync, ftruncateSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { fioGuest } from './fio.ts';
import { type Guest, type Machine, ours, oursAnew, qemu, qemuVersion, WARM_UP } from './machines.ts';
import { geometricMean, median } from './results.ts';

const MIB = 2 ** 20;
const DISK = 512 * MIB;

interface Job {
  readonly name: string;
  readonly about: string;
  readonly options: string;
}

const JOBS: readonly Job[] = [
  { name: 'read', about: 'sequential, 128 KiB, depth 8', options: 'rw=read bs=128k iodepth=8' },
  { name: 'write', about: 'sequential, 128 KiB, depth 8', options: 'rw=write bs=128k iodepth=8' },
  { name: 'randread', about: 'random, 4 KiB, depth 32', options: 'rw=randread bs=4k iodepth=32' },
  { name: 'randwrite', about: 'random, 4 KiB, depth 32', options: 'rw=randwrite bs=4k iodepth=32' },
  { name: 'randread1', about: 'random, 4 KiB, depth 1', options: 'rw=randread bs=4k iodepth=1' },
  { name: 'randwrite1', about: 'random, 4 KiB, depth 1', options: 'rw=randwrite bs=4k iodepth=1' },
];

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function jobFile(jobs: readonly Job[], seconds: number, ramp: number): string {
  const common = `ioengine=libaio direct=1 filename=/dev/disk size=${DISK / MIB}m time_based runtime=${seconds} ramp_time=${ramp} randrepeat=1`;
  const sections = jobs.map(({ name, options }) => `[${name}]\nstonewall\n${options.replaceAll(' ', '\n')}\n`);
  return `[global]\n${common.replaceAll(' ', '\n')}\n${sections.join('')}`;
}

/** One job's figures. */
interface Figures {
  readonly mibPerSecond: number;
  readonly iops: number;
}

/** Terse format, version 3: reads from field 6 on (bandwidth in KiB/s, IOPS), writes from field 47 on. */
function figuresOf(lines: readonly string[]): ReadonlyMap<string, Figures> {
  const found = new Map<string, Figures>();
  for (const line of lines) {
    const fields = /^FIO (3;fio-.*)$/.exec(line)?.[1]?.split(';');
    if (fields === undefined) continue;
    const at = Number(fields[7]) > 0 ? 6 : 47;
    found.set(fields[2]!, { mibPerSecond: Number(fields[at]) / 1024, iops: Number(fields[at + 1]) });
  }
  return found;
}

async function measure(machine: Machine, guest: Guest, seconds: number): Promise<ReadonlyMap<string, Figures>> {
  const { reader } = await machine(guest, 120 + seconds * 4);
  const figures = figuresOf(reader.lines);
  if (figures.size === 0) throw new Error(`fio gave nothing:\n  ${reader.lastLines.join('\n  ')}`);
  return figures;
}

/** Written, so that no machine meets holes, and in the host's cache. */
function makeDisk(path: string): void {
  const file = openSync(path, 'w');
  ftruncateSync(file, DISK);
  const piece = new Uint8Array(MIB).fill(0xa5);
  for (let at = 0; at < DISK; at += MIB) writeSync(file, piece, 0, MIB, at);
  closeSync(file);
}

function resultTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  return rows
    .map((row) => row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '))
    .join('\n');
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      ramp: { type: 'string', default: '0' },
      only: { type: 'string', multiple: true },
      anew: { type: 'boolean', default: false },
      alone: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const [rounds, seconds, ramp] = [values.rounds, values.seconds, values.ramp].map(Number) as [number, number, number];
  const only = values.only?.flatMap((names) => names.split(','));
  const jobs = JOBS.filter(({ name }) => only?.includes(name) ?? true);
  if (!(rounds >= 1 && seconds >= 1 && ramp >= 0) || jobs.length === 0)
    throw new Error(`give numbers from 1 on, and of the jobs ${JOBS.map(({ name }) => name).join(', ')}`);

  const { kernel, initrd: archive, home } = await fioGuest(jobFile(jobs, seconds, ramp));
  const initrd = join(home, 'storage.cpio');
  writeFileSync(initrd, archive);
  const disk = join(home, 'storage.img');
  const guest: Guest = { kernel, initrd, append: 'console=ttyS0 quiet', disk };

  const version = values.alone ? undefined : await qemuVersion();
  say(version === undefined ? 'storage: ours alone' : `storage: beside QEMU ${version} TCG with virtio-blk`);
  const machines: readonly (readonly [string, Machine])[] = [
    ['ours', values.anew ? oursAnew : ours],
    ...(version ? [['TCG', qemu] as const] : []),
  ];
  const samples: Map<string, ReadonlyMap<string, Figures>>[] = [];
  try {
    makeDisk(disk);
    if (!values.anew) {
      say(`storage: ${WARM_UP} runs that leave their translations`);
      for (let run = 0; run < WARM_UP; run++) await measure(ours, guest, jobs.length * (seconds + ramp));
    }
    for (let round = 0; round < rounds; round++) {
      const sample = new Map<string, ReadonlyMap<string, Figures>>();
      for (const [name, machine] of round % 2 === 0 ? machines : machines.toReversed())
        sample.set(name, await measure(machine, guest, jobs.length * (seconds + ramp)));
      samples.push(sample);
      const texts = jobs.map(
        (job) =>
          `${job.name} ${machines.map(([name]) => Math.round(sample.get(name)?.get(job.name)?.iops ?? 0)).join('/')}`,
      );
      say(
        `storage: round ${round + 1} of ${rounds} (${machines.map(([name]) => name).join('/')}, IOPS): ${texts.join(', ')}`,
      );
    }
  } finally {
    rmSync(disk, { force: true });
  }

  const results = jobs.map(({ name, about }) => {
    const each = (machine: string, key: keyof Figures): number => {
      const found = samples.flatMap((sample) => sample.get(machine)?.get(name)?.[key] ?? []);
      return found.length > 0 ? median(found) : 0;
    };
    const figures = Object.fromEntries(
      machines.map(([machine]) => [
        machine,
        { iops: each(machine, 'iops'), mibPerSecond: each(machine, 'mibPerSecond') },
      ]),
    );
    // What disturbs the host disturbs both halves of a round. A figure may be missing: the kernel wrote into fio's line.
    const pairs = samples.flatMap((s) => {
      const [mine, theirs] = [s.get('ours')?.get(name)?.iops, s.get('TCG')?.get(name)?.iops];
      return mine && theirs ? [mine / theirs] : [];
    });
    const ratio = pairs.length > 0 ? median(pairs) : undefined;
    return { name, about, ...figures, ratio };
  });
  if (values.json) process.stdout.write(`${JSON.stringify({ rounds, seconds, results }, undefined, 2)}\n`);
  else {
    const rows = results.map(({ name, about, ratio, ...rest }) => [
      name,
      about,
      ...machines.flatMap(([machine]) => {
        const figures = (rest as unknown as Record<string, Figures>)[machine]!;
        return [Math.round(figures.iops).toString(), figures.mibPerSecond.toFixed(1)];
      }),
      ratio?.toFixed(2) ?? '-',
    ]);
    const head = ['job', '', ...machines.flatMap(([machine]) => [`${machine} IOPS`, 'MiB/s']), 'ours/TCG'];
    process.stdout.write(`${resultTable([head, ...rows])}\n`);
    const ratios = results.flatMap(({ ratio }) => (ratio === undefined ? [] : [ratio]));
    if (ratios.length > 1) process.stdout.write(`geometric mean: ${geometricMean(ratios).toFixed(2)}\n`);
  }
  return 0;
}

process.exitCode = await main().catch((error: unknown) => {
  say(`storage: ${error instanceof Error ? error.message : String(error)}`);
  return 1;
});
