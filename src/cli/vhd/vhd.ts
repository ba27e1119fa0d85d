/** `hv vhd`: disk files. Results on stdout with --json, else for reading; everything else on stderr. */
import { stat } from 'node:fs/promises';
import { ViridianError } from '../../contracts/errors.ts';
import { EXIT, type ExitCode } from '../../contracts/exit-codes.ts';
import { nodeCodecs } from '../../host/node/codecs.ts';
import { nodeDiskFiles } from '../../host/node/disk-files.ts';
import {
  type CheckReport,
  checkDisk,
  compactDisk,
  convertDisk,
  createDisk,
  type DiskFormat,
  type DiskInfo,
  type DiskType,
  diskInfo,
  formatOfName,
  mergeIntoParent,
  openDisk,
  probeFormat,
  type StorageHost,
} from '../../storage/index.ts';
import { printable } from '../../support/text.ts';
import { say } from '../say.ts';
import type { VhdFlags } from './commands.ts';
import { Interrupted, ProgressBar } from './progress.ts';
import { formatSize, parseSize } from './sizes.ts';

const host: StorageHost = { files: nodeDiskFiles, codecs: nodeCodecs };

const NAMES: Readonly<Record<DiskFormat, string>> = {
  vhdx: 'VHDX',
  vhd: 'VHD',
  raw: 'raw disk',
  iso: 'DVD image',
  qcow2: 'qcow2',
};

type Action = (texts: readonly string[], flags: VhdFlags) => Promise<ExitCode>;

const ACTIONS: Readonly<Record<string, Action>> = { create, info, check, resize, convert, compact, merge };

export async function vhd(name: string, texts: readonly string[], flags: VhdFlags): Promise<ExitCode> {
  try {
    return await ACTIONS[name]!(texts, flags);
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    say('hv: interrupted; nothing was left half done');
    return error.exitCode;
  }
}

/** The format said, or that of the name. Never that of the content, but where both disagree the user has to say. */
async function formatOf(path: string, said: string | undefined): Promise<DiskFormat> {
  if (said !== undefined) return said as DiskFormat;
  const format = formatOfName(path);
  if (format === undefined)
    throw new ViridianError('invalid', `${path}: the name does not say the format: give --format`);
  if (format !== 'raw') return format;
  const file = await host.files.open(path, { lock: 'none' });
  try {
    const seems = await probeFormat(file);
    if (seems !== 'raw')
      throw new ViridianError('invalid', `${path}: named as a raw disk, but it looks like ${seems}: give --format`);
  } finally {
    await file.close();
  }
  return format;
}

function newFormat(path: string, flags: VhdFlags): DiskFormat {
  const format = (flags.format as DiskFormat | undefined) ?? formatOfName(path) ?? 'vhdx';
  if (format === 'iso' || format === 'qcow2')
    throw new ViridianError('invalid', `${path}: ${format} can be read, not written; make a vhdx, vhd or raw`);
  return format;
}

function shapeOf(flags: VhdFlags) {
  const { sectorSize } = flags;
  return {
    type: flags.type as DiskType | undefined,
    blockSize: flags.blockSize,
    ...(sectorSize === undefined ? {} : { logicalSectorSize: sectorSize === '4096' ? 4096 : 512 }),
    ...(sectorSize === '512n' ? { physicalSectorSize: 512 } : {}),
    allowParent: flags.allowParent,
    replace: flags.force,
  };
}

async function withProgress<T>(title: string, work: (bar: ProgressBar) => Promise<T>): Promise<T> {
  const bar = new ProgressBar(title);
  try {
    return await work(bar);
  } finally {
    bar.stop();
  }
}

async function tell(path: string, format: DiskFormat, flags: VhdFlags, verb: string): Promise<void> {
  const found = await diskInfo(host, path, format);
  if (flags.json === true) process.stdout.write(`${JSON.stringify(found, undefined, 2)}\n`);
  else
    say(
      `hv: ${verb} ${path}: ${found.type} ${NAMES[format]}, ${formatSize(found.size)}, file ${formatSize(found.fileSize)}`,
    );
}

async function create([path]: readonly string[], flags: VhdFlags): Promise<ExitCode> {
  const format = newFormat(path!, flags);
  if (flags.size === undefined && flags.parent === undefined)
    throw new ViridianError('invalid', 'a new disk needs a size: give --size, such as --size 20G');
  await createDisk(host, path!, { format, size: flags.size, parent: flags.parent, ...shapeOf(flags) });
  await tell(path!, format, flags, 'created');
  return EXIT.ok;
}

async function info([path]: readonly string[], flags: VhdFlags): Promise<ExitCode> {
  const found = await diskInfo(host, path!, flags.format as DiskFormat | undefined);
  const { blocks } = await stat(path!);
  const allocated = blocks * 512;
  if (flags.json === true) process.stdout.write(`${JSON.stringify({ ...found, allocated }, undefined, 2)}\n`);
  else process.stdout.write(describe(found, allocated));
  return EXIT.ok;
}

function describe(found: DiskInfo, allocated: number): string {
  const rows: [string, string | undefined][] = [
    ['file', found.path],
    ['format', `${NAMES[found.format]}, ${found.type}`],
    ['size', `${formatSize(found.size)} (${found.size} bytes)`],
    ['file size', `${formatSize(found.fileSize)}, ${formatSize(allocated)} of it allocated`],
    ['block size', found.blockSize === undefined ? undefined : formatSize(found.blockSize)],
    ['sectors', `${found.logicalSectorSize} bytes, ${found.physicalSectorSize} physical`],
    ['identifier', found.identifier],
    ['parent', found.parent],
    ['parent format', found.parentFormat],
    ...found.notes.map((note): [string, string] => ['note', note]),
  ];
  return rows
    .map(([name, value]) => (value === undefined ? '' : `${name.padEnd(14)} ${printable(value, 1000)}\n`))
    .join('');
}

async function check([path]: readonly string[], flags: VhdFlags): Promise<ExitCode> {
  const format = await formatOf(path!, flags.format);
  const { repair, allowParent } = flags;
  const report = await checkDisk(host, path!, format, { repair, allowParent });
  if (flags.json === true) process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  else sayReport(report, flags.repair === true);
  return report.sound ? EXIT.ok : EXIT.badFile;
}

function sayReport(report: CheckReport, repair: boolean): void {
  for (const finding of report.findings) {
    const kind = finding.repaired === true ? 'repaired' : finding.kind;
    process.stdout.write(`${kind}: ${finding.text}\n`);
  }
  const counts = Object.entries(report.counts)
    .map(([name, count]) => `${count} ${name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}`)
    .join(', ');
  const mendable = !repair && report.findings.some((finding) => finding.repairable && finding.kind === 'error');
  const hint = mendable ? '; --repair can mend some of it' : '';
  say(`hv: ${report.path}: ${report.sound ? 'no errors' : `damaged${hint}`} (${counts})`);
}

async function resize([path, text]: readonly string[], flags: VhdFlags): Promise<ExitCode> {
  const size = parseSize('the size', text!);
  const format = await formatOf(path!, flags.format);
  const disk = await openDisk(host, path!, { format, write: true, allowParent: flags.allowParent });
  try {
    if (size < disk.size && flags.shrink !== true)
      throw new ViridianError(
        'invalid',
        `${path}: the disk has ${formatSize(disk.size)}; to make it smaller, and lose what lies beyond, give --shrink`,
      );
    await disk.resize(size);
  } finally {
    await disk.close();
  }
  await tell(path!, format, flags, 'resized');
  return EXIT.ok;
}

async function convert([from, to]: readonly string[], flags: VhdFlags): Promise<ExitCode> {
  const source = await formatOf(from!, flags.fromFormat);
  const target = newFormat(to!, flags);
  if (flags.type === 'differencing') throw new ViridianError('invalid', 'a converted disk has no parent');
  const { allowParent = [] } = flags;
  await withProgress(`converting ${from}`, (bar) =>
    convertDisk(
      host,
      { from: { path: from!, format: source, allowParent }, to: { path: to!, format: target, ...shapeOf(flags) } },
      bar.update,
    ),
  );
  await tell(to!, target, flags, 'wrote');
  return EXIT.ok;
}

async function compact([path]: readonly string[], flags: VhdFlags): Promise<ExitCode> {
  const format = await formatOf(path!, flags.format);
  const before = await stat(path!).catch(() => undefined);
  await withProgress(`compacting ${path}`, (bar) =>
    compactDisk(host, path!, format, { allowParent: flags.allowParent }, bar.update),
  );
  const after = await stat(path!);
  if (before !== undefined && flags.json !== true)
    say(`hv: ${formatSize(before.blocks * 512)} on the host before, ${formatSize(after.blocks * 512)} now`);
  await tell(path!, format, flags, 'compacted');
  return EXIT.ok;
}

async function merge([path]: readonly string[], flags: VhdFlags): Promise<ExitCode> {
  const format = await formatOf(path!, flags.format);
  const disk = await openDisk(host, path!, { format, writeParent: true, allowParent: flags.allowParent });
  let parent: string;
  try {
    if (disk.parent === undefined) throw new ViridianError('invalid', `${path}: it has no parent to merge into`);
    if (!disk.parent.writable) throw new ViridianError('denied', `${path}: its parent can only be read`);
    parent = String(disk.parent.inspect().path);
    await withProgress(`merging ${path}`, (bar) => mergeIntoParent(disk, bar.update));
  } finally {
    await disk.close();
  }
  if (flags.delete === true) await host.files.remove(path!);
  else say(`hv: ${path} is in its parent now and can be deleted`);
  await tell(parent, format, flags, 'merged into');
  return EXIT.ok;
}
