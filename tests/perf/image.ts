/**
 * The benchmark's initial RAM disks. `boot`: the quickstart's busybox, with a console script that says it is there and
 * powers off. `workloads`: Debian programs beside busybox, and an /init that runs the workloads between markers.
 */
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { buildInitramfs } from '../../src/cli/quickstart/initramfs.ts';
import { findCommand, runCommand } from '../../src/host/node/command.ts';
import { type CpioEntry, writeCpio } from '../../src/support/cpio.ts';
import { neededBy } from './closure.ts';
import { BEGIN, END, FAILED, SHELL } from './markers.ts';
import { type DebianRoot, Unavailable } from './packages.ts';
import { PREPARATIONS, type Workload } from './workloads.ts';

/** What loads a program with shared objects. */
export const LOADER = 'ld-linux-x86-64.so.2';

const encoder = new TextEncoder();

export function bootImage(busybox: Uint8Array): Uint8Array<ArrayBuffer> {
  return buildInitramfs({ busybox, files: { 'etc/console': `#!/bin/sh\necho ${SHELL}\nexec poweroff -f\n` } });
}

const PROGRAMS = new URL('programs/', import.meta.url);

/** Our own programs, assembled. @param more Arguments of nasm. */
export async function assemblePrograms(
  names: readonly string[],
  more: readonly string[] = [],
): Promise<ReadonlyMap<string, Uint8Array>> {
  const programs = new Map<string, Uint8Array>();
  if (names.length === 0) return programs;
  if (findCommand('nasm') === undefined) throw new Unavailable('nasm not found: none of our own programs');
  const folder = mkdtempSync(join(tmpdir(), 'viridian-bench-'));
  try {
    for (const name of names) {
      const output = join(folder, name);
      const source = new URL(`${name}.asm`, PROGRAMS).pathname;
      const { code, stderr } = await runCommand('nasm', [
        '-f',
        'bin',
        '-I',
        PROGRAMS.pathname,
        ...more,
        '-o',
        output,
        source,
      ]);
      if (code !== 0) throw new Error(`nasm ${name}.asm: ${stderr.trim()}`);
      programs.set(name, readFileSync(output));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return programs;
}

/** Folders of a package that no workload reads. */
const SKIPPED =
  /^(etc|var|usr\/share|usr\/sbin|sbin|usr\/libexec|usr\/lib\/(x86_64-linux-gnu\/(gconv|engines-3|ossl-modules)|systemd|python3))(\/|$)/;
/** The folders that Debian merged into /usr. */
const MERGED = ['bin', 'sbin', 'lib', 'lib64'] as const;

function merged(path: string): string {
  return MERGED.some((folder) => path === folder || path.startsWith(`${folder}/`)) ? `usr/${path}` : path;
}

/** All files of packages, but for those that no program of ours reads. */
export function layPackages(root: DebianRoot): CpioEntry[] {
  const entries = new Map<string, CpioEntry>();
  const visit = (base: string, path: string): void => {
    for (const name of readdirSync(join(base, path)).sort()) {
      const inner = path === '' ? name : `${path}/${name}`;
      if (SKIPPED.test(inner)) continue;
      const file = join(base, inner);
      const status = lstatSync(file);
      const target = merged(inner);
      if (status.isDirectory()) {
        entries.set(target, { kind: 'directory', path: target });
        visit(base, inner);
      } else if (status.isSymbolicLink())
        entries.set(target, { kind: 'symlink', path: target, target: readlinkSync(file) });
      else if (status.isFile()) {
        entries.set(target, { kind: 'file', path: target, data: readFileSync(file), mode: status.mode & 0o755 });
      }
    }
  };
  for (const folder of root.folders) visit(folder, '');
  return [...entries.values()];
}

/** Some programs of packages, and the shared objects that they need, all the way down. */
export function programFiles(root: DebianRoot, programs: readonly string[]): CpioEntry[] {
  const byName = Map.groupBy(layPackages(root), (entry) => basename(entry.path));
  const wanted = new Map<string, CpioEntry>();
  const take = (name: string): void => {
    for (const entry of byName.get(name) ?? []) {
      if (wanted.has(entry.path)) continue;
      wanted.set(entry.path, entry);
      if (entry.kind === 'symlink') take(basename(entry.target));
      if (entry.kind === 'file') for (const each of neededBy(entry.data)) take(each);
    }
  };
  for (const name of [...programs, LOADER]) take(name);
  return [...wanted.values()];
}

/** Process 1: no output of workloads reaches the console but in case of failure. */
function initScript(workloads: readonly Workload[], shell: string): string {
  const lines = [
    '#!/bench/busybox sh',
    'export PATH=/usr/bin:/bin HOME=/tmp LC_ALL=C',
    'bb=/bench/busybox',
    '$bb mount -t proc proc /proc',
    '$bb mount -t devtmpfs devtmpfs /dev 2>/dev/null',
    '$bb mount -t tmpfs tmpfs /tmp',
    'run() {',
    `  echo "${BEGIN} $1"`,
    `  ${shell} /bench/$1.sh > /tmp/output 2>&1; status=$?`,
    '  sum=$($bb md5sum < /tmp/output); sum=$' + '{sum%% *}',
    // An empty output is no result.
    `  if [ $status = 0 ] && [ -s /tmp/output ]; then echo "${END} $1 $sum"; else`,
    `    $bb tail -n 5 /tmp/output; echo "${FAILED} $1 status $status"; fi`,
    '}',
  ];
  const prepared = new Set<string>();
  for (const { name, needs } of workloads) {
    if (needs !== undefined && !prepared.has(needs)) {
      prepared.add(needs);
      lines.push(`${shell} /bench/prepare-${needs}.sh`);
    }
    lines.push(`run ${name}`);
  }
  lines.push('exec $bb poweroff -f', '');
  return lines.join('\n');
}

export interface WorkloadImage {
  readonly busybox: Uint8Array;
  readonly workloads: readonly Workload[];
  readonly programs: ReadonlyMap<string, Uint8Array>;
  /** Not needed where every workload is ours. */
  readonly root: DebianRoot | undefined;
}

export function workloadImage({ busybox, workloads, programs, root }: WorkloadImage): Uint8Array<ArrayBuffer> {
  const text = (path: string, content: string, mode: number): CpioEntry => ({
    kind: 'file',
    path,
    data: encoder.encode(content),
    mode,
  });
  const debian = root === undefined ? [] : layPackages(root);
  const folders = ['dev', 'proc', 'tmp', 'bench', 'bench/bin', 'usr', ...MERGED.map((name) => `usr/${name}`)];
  return writeCpio([
    ...folders.map((path): CpioEntry => ({ kind: 'directory', path })),
    ...MERGED.map((path): CpioEntry => ({ kind: 'symlink', path, target: `usr/${path}` })),
    { kind: 'character', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'file', path: 'bench/busybox', data: busybox, mode: 0o755 },
    ...debian.filter((entry) => !folders.includes(entry.path)),
    ...[...programs].map(([name, data]): CpioEntry => ({ kind: 'file', path: `bench/bin/${name}`, data, mode: 0o755 })),
    ...workloads.map(({ name, script }) => text(`bench/${name}.sh`, `set -e\n${script}\n`, 0o644)),
    ...Object.entries(PREPARATIONS).map(([name, script]) => text(`bench/prepare-${name}.sh`, `${script}\n`, 0o644)),
    // busybox's own shell would run its applets instead of Debian's programs.
    text('init', initScript(workloads, root === undefined ? '/bench/busybox sh' : '/usr/bin/dash'), 0o755),
  ]);
}
