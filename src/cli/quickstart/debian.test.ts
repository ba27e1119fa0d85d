import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  aptReason,
  cachedFiles,
  DebianPackages,
  damagedFiles,
  kernelPackageOf,
  PASS_FILES,
  packageRecordOf,
  rememberFiles,
} from './debian.ts';

const DEPENDS = `linux-image-cloud-amd64
  Depends: linux-image-6.1.0-56-cloud-amd64
`;

const SHOW = `Package: linux-image-6.1.0-56-cloud-amd64
Source: linux-signed-amd64 (6.1.192+2)
Version: 6.1.192-2
Installed-Size: 103251
Depends: kmod, linux-base (>= 4.3~)
Size: 26700000
Description: Linux 6.1 for x86-64 cloud (signed)

Package: linux-image-6.1.0-56-cloud-amd64
Version: 6.1.190-1
Size: 1
`;

describe('what apt prints', () => {
  it('names the kernel behind the metapackage', () => {
    expect(kernelPackageOf(DEPENDS)).toBe('linux-image-6.1.0-56-cloud-amd64');
    expect(kernelPackageOf('x\n |Depends: linux-image-6.12.57+deb13-cloud-amd64\n')).toBe(
      'linux-image-6.12.57+deb13-cloud-amd64',
    );
    expect(kernelPackageOf('x\n  Depends: <linux-image-virtual>\n  Recommends: linux-image-1-amd64\n')).toBeUndefined();
    expect(kernelPackageOf('')).toBeUndefined();
  });

  it('gives the candidate first', () => {
    const record = { package: 'linux-image-6.1.0-56-cloud-amd64', version: '6.1.192-2', size: 26700000 };
    expect(packageRecordOf(SHOW)).toEqual(record);
    expect(packageRecordOf('')).toBeUndefined();
  });

  it('says why it failed', () => {
    expect(aptReason('N: notice\nE: Failed to fetch http://x  404\nE: more')).toBe('Failed to fetch http://x  404');
    expect(aptReason('Get:1 x\nW: Failed to fetch http://x\n')).toBe('Failed to fetch http://x');
    expect(aptReason('something\n')).toBe('something');
    expect(aptReason('')).toBe('no reason given');
  });
});

/** A fake client: its files are what the real one would answer; `log` collects what it was asked. */
const APT_CACHE = `#!/bin/sh
echo "apt-cache $*" >> "$FAKE/log"
own=no
case "$*" in *Dir::State::lists*) own=yes ;; esac
[ -e "$FAKE/system-lists" ] || [ $own = yes ] && [ -e "$FAKE/has-kernel" ] || { echo "N: Unable to locate package" >&2; exit 100; }
case "$*" in
  *' depends '*) cat "$FAKE/depends" ;;
  *' busybox-static') printf 'Package: busybox-static\\nVersion: 1:1.35\\nSize: 9\\n' ;;
  *' show '*) cat "$FAKE/show" ;;
esac
`;
const APT_GET = `#!/bin/sh
echo "apt-get $*" >> "$FAKE/log"
case "$*" in
  *' update'*) [ -e "$FAKE/network" ] || { echo 'W: Failed to fetch http://deb.debian.org' >&2; } ;;
  *' download '*)
    [ -e "$FAKE/network" ] || { echo 'E: Could not resolve host' >&2; exit 100; }
    for last in "$@"; do :; done
    echo "$last" > "\${last%%=*}.deb" ;;
esac
`;
const DPKG_DEB = `#!/bin/sh
mkdir -p "$3/boot" "$3/bin"
[ -e "$FAKE/odd-package" ] || cp "$2" "$3/boot/vmlinuz-6.1"
cp "$2" "$3/bin/busybox"
`;

describe('DebianPackages', () => {
  let folder = '';
  const cache = (): string => join(folder, 'cache');
  const set = (...names: string[]): void => {
    for (const name of names) writeFileSync(join(folder, name), '');
  };
  const log = (): string => readFileSync(join(folder, 'log'), 'utf8');

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
    mkdirSync(join(folder, 'bin'));
    for (const [name, text] of [
      ['apt-cache', APT_CACHE],
      ['apt-get', APT_GET],
      ['dpkg-deb', DPKG_DEB],
    ] as const) {
      writeFileSync(join(folder, 'bin', name), text);
      chmodSync(join(folder, 'bin', name), 0o755);
    }
    writeFileSync(join(folder, 'depends'), DEPENDS);
    writeFileSync(join(folder, 'show'), SHOW);
    vi.stubEnv('FAKE', folder);
    vi.stubEnv('PATH', `${join(folder, 'bin')}:${process.env.PATH}`);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  it('fetches, keeps by version, and needs no network afterwards', async () => {
    set('system-lists', 'has-kernel', 'network');
    const packages = new DebianPackages(cache());
    const kernel = await packages.fetch('kernel');
    expect(kernel).toMatchObject({ package: 'linux-image-6.1.0-56-cloud-amd64', version: '6.1.192-2' });
    expect(readFileSync(kernel.path, 'utf8')).toBe('linux-image-6.1.0-56-cloud-amd64=6.1.192-2\n');
    const busybox = await packages.fetch('busybox');
    expect(busybox.path).toContain('busybox-static_1%3a1.35');
    expect(log()).not.toContain('update');

    expect(cachedFiles(cache())).toBeUndefined();
    rememberFiles(cache(), { kernel, busybox });
    expect(cachedFiles(cache())).toEqual({ kernel, busybox });

    // Asked again, the same version is not downloaded again.
    rmSync(join(folder, 'network'));
    expect(await new DebianPackages(cache()).fetch('kernel')).toEqual(kernel);

    // A damaged file is none, and is fetched again.
    writeFileSync(kernel.path, 'Linux-image-6.1.0-56-cloud-amd64=6.1.192-2\n');
    expect(cachedFiles(cache())).toBeUndefined();
    expect(damagedFiles(cache())).toEqual([kernel.path]);
    await expect(new DebianPackages(cache()).fetch('kernel')).rejects.toThrow('cannot');
    set('network');
    expect(await new DebianPackages(cache()).fetch('kernel')).toEqual(kernel);
    expect(cachedFiles(cache())).toEqual({ kernel, busybox });
    expect(damagedFiles(cache())).toEqual([]);

    // A cache that lost a file is no cache.
    rmSync(kernel.path);
    expect(cachedFiles(cache())).toBeUndefined();
  });

  it('fetches lists of its own where the system has none', async () => {
    set('has-kernel', 'network');
    const steps: string[] = [];
    const kernel = await new DebianPackages(cache()).fetch('kernel', (text) => steps.push(text));
    expect(existsSync(kernel.path)).toBe(true);
    expect(log()).toMatch(/apt-get .*Dir::State::lists=.* update/);
    expect(steps).toContain('the package lists of this system are missing or out of date, fetching our own');
  });

  it('says what to pass where the suite lacks the kernel', async () => {
    set('system-lists', 'network');
    const fetched = new DebianPackages(cache()).fetch('kernel');
    await expect(fetched).rejects.toMatchObject({
      code: 'notFound',
      message: `this system's package sources have no linux-image-cloud-amd64: ${PASS_FILES}`,
    });
  });

  it('says why nothing can be fetched without a network', async () => {
    set('system-lists', 'has-kernel');
    await expect(new DebianPackages(cache()).fetch('kernel')).rejects.toThrow(
      `cannot fetch Debian's package lists: Failed to fetch http://deb.debian.org; ${PASS_FILES}`,
    );
  });

  it('says so when a package is not what it was', async () => {
    set('system-lists', 'has-kernel', 'network', 'odd-package');
    await expect(new DebianPackages(cache()).fetch('kernel')).rejects.toMatchObject({ code: 'badFile' });
  });

  it('says what to pass on a machine without the client', () => {
    vi.stubEnv('PATH', '/nonexistent');
    const construct = () => new DebianPackages(cache());
    expect(construct).toThrow(`apt-get and apt-cache and dpkg-deb not found`);
    expect(construct).toThrow(PASS_FILES);
  });
});
