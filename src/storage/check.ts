/** `hv vhd check`: everything a format says about its own structure, held against the file. */
import { DiskError, type DiskFormat, troubleOf } from './disk.ts';
import { type Finding, Findings } from './findings.ts';
import { openDisk, type StorageHost } from './open.ts';
import { checkQcow2 } from './qcow2/check.ts';
import { checkVhd } from './vhd/check.ts';
import { repairVhd } from './vhd/repair.ts';
import { checkVhdx } from './vhdx/check.ts';
import { repairVhdx } from './vhdx/repair.ts';

export interface CheckReport {
  readonly path: string;
  readonly format: DiskFormat;
  readonly findings: readonly Finding[];
  /** No errors are left. */
  readonly sound: boolean;
  /** What was looked at: blocks, bitmaps, log entries... */
  readonly counts: Readonly<Record<string, number>>;
}

export interface CheckOptions {
  readonly repair?: boolean | undefined;
  readonly allowParent?: readonly string[] | undefined;
}

/** @throws FileError where the file cannot be read at all; damage is reported, not thrown. */
export async function checkDisk(
  host: StorageHost,
  path: string,
  format: DiskFormat,
  options: CheckOptions = {},
): Promise<CheckReport> {
  const { findings, counts } = await look(host, path, format, options);
  if (options.repair !== true || !findings.some((finding) => finding.repairable))
    return { path, format, findings, sound: isSound(findings), counts };
  await repair(host, path, format);
  const after = await look(host, path, format, options);
  const repaired = findings
    .filter((finding) => finding.repairable && !after.findings.some((left) => left.text === finding.text))
    .map((finding) => ({ ...finding, repaired: true }));
  const all = [...repaired, ...after.findings];
  return { path, format, findings: all, sound: isSound(after.findings), counts: after.counts };
}

function isSound(findings: readonly Finding[]): boolean {
  return findings.every((finding) => finding.kind !== 'error');
}

async function look(
  host: StorageHost,
  path: string,
  format: DiskFormat,
  options: CheckOptions,
): Promise<{ findings: readonly Finding[]; counts: Readonly<Record<string, number>> }> {
  const findings = new Findings();
  const file = await host.files.open(path);
  try {
    if (format === 'vhdx') await checkVhdx(file, findings);
    else if (format === 'vhd') await checkVhd(file, findings);
    else if (format === 'qcow2') await checkQcow2(file, findings);
    else findings.counts.bytes = await file.size();
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    findings.error(error.message.replace(`${file.path}: `, ''));
  } finally {
    await file.close();
  }
  // The chain: parents are there, are the right ones, and can be opened.
  if (isSound(findings.list)) {
    try {
      const disk = await openDisk(host, path, { format, allowParent: options.allowParent });
      let parents = 0;
      for (let below = disk.parent; below !== undefined; below = below.parent) parents++;
      if (parents > 0) findings.counts.parents = parents;
      await disk.close();
    } catch (error) {
      if (troubleOf(error) === undefined) throw error;
      findings.error((error as Error).message);
    }
  }
  return { findings: findings.list, counts: findings.counts };
}

/** Only what loses nothing: a log is replayed, the damaged one of two copies is written from the other. */
async function repair(host: StorageHost, path: string, format: DiskFormat): Promise<void> {
  if (format === 'qcow2' || format === 'iso' || format === 'raw') return;
  const file = await host.files.open(path, { write: true });
  try {
    if (format === 'vhdx') await repairVhdx(file, host.files.random);
    else await repairVhd(file);
  } catch (error) {
    // What is beyond repair is in the findings.
    if (troubleOf(error) !== 'corrupt') throw error;
  } finally {
    await file.close();
  }
}
