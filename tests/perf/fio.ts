/**
 * Debian's fio as a guest: a kernel, and an initial RAM disk that runs a job file on the one disk that it finds, at our SCSI
 * controller or at QEMU's virtio-blk.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { cachedFiles, DebianPackages, rememberFiles } from '../../src/cli/quickstart/debian.ts';
import { collectModules } from '../../src/cli/quickstart/modules.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { type CpioEntry, writeCpio } from '../../src/support/cpio.ts';
import { programFiles } from './image.ts';
import { type DebianRoot, debianRoot } from './packages.ts';

const MODULES = ['hv_vmbus', 'hv_storvsc', 'sd_mod', 'virtio_pci', 'virtio_blk'];

/** What fio says, and its exit code, are on lines that begin with FIO. */
const INIT = `#!/bench/busybox sh
export PATH=/usr/bin:/bin HOME=/tmp
bb=/bench/busybox
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev 2>/dev/null
$bb mount -t tmpfs tmpfs /tmp
while read -r module; do $bb insmod "/$module" 2>/dev/null; done < /lib/modules/order
until [ -b /dev/sda ] || [ -b /dev/vda ]; do $bb usleep 20000; done
[ -b /dev/sda ] && $bb ln -s sda /dev/disk || $bb ln -s vda /dev/disk
echo BENCH-SHELL
/usr/bin/fio --output-format=terse --terse-version=3 /bench/jobs > /tmp/output 2>&1; status=$?
while read -r line; do echo "FIO $line"; done < /tmp/output
echo "FIO exit $status"
exec $bb poweroff -f
`;

function image(busybox: Uint8Array, fio: DebianRoot, kernel: DebianRoot, jobs: string): Uint8Array<ArrayBuffer>[] {
  const text = (path: string, content: string, mode: number): CpioEntry => ({
    kind: 'file',
    path,
    data: new TextEncoder().encode(content),
    mode,
  });
  const files = programFiles(fio, ['fio']);
  const folders = new Set(['dev', 'proc', 'sys', 'tmp', 'bench', 'usr', 'usr/bin', 'usr/lib', 'usr/lib64']);
  for (const { path } of files)
    for (let at = path.indexOf('/'); at > 0; at = path.indexOf('/', at + 1)) folders.add(path.slice(0, at));
  const root = writeCpio([
    ...[...folders].sort().map((path): CpioEntry => ({ kind: 'directory', path })),
    { kind: 'symlink', path: 'lib64', target: 'usr/lib64' },
    { kind: 'symlink', path: 'bin', target: 'usr/bin' },
    // The modules are in /lib.
    { kind: 'symlink', path: 'lib/x86_64-linux-gnu', target: '../usr/lib/x86_64-linux-gnu' },
    { kind: 'character', path: 'dev/console', major: 5, minor: 1 },
    { kind: 'file', path: 'bench/busybox', data: busybox, mode: 0o755 },
    ...files,
    text('bench/jobs', jobs, 0o644),
    text('init', INIT, 0o755),
  ]);
  const package_ = kernel.folders.find((folder) => basename(folder).startsWith('linux-image'))!;
  return [collectModules(package_, MODULES), root];
}

export interface FioGuest {
  readonly kernel: string;
  readonly initrd: Uint8Array<ArrayBuffer>;
  /** Where what is fetched is kept. */
  readonly home: string;
}

/** @param jobs fio's job file, on /dev/disk. @throws Unavailable where Debian's packages cannot be had. */
export async function fioGuest(jobs: string): Promise<FioGuest> {
  const cache = cacheFolder();
  const home = join(cache, 'bench');
  mkdirSync(home, { recursive: true });
  let files = cachedFiles(cache);
  if (files === undefined) {
    const packages = new DebianPackages(cache);
    files = { kernel: await packages.fetch('kernel'), busybox: await packages.fetch('busybox') };
    rememberFiles(cache, files);
  }
  const fio = await debianRoot(cache, ['fio', 'libc6'], 'fio');
  const kernel = await debianRoot(cache, [files.kernel.package], 'kernel');
  const initrd = Buffer.concat(image(readFileSync(files.busybox.path), fio, kernel, jobs));
  return { kernel: files.kernel.path, initrd, home };
}
