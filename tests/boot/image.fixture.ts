/** A Debian image for long tests, as a user makes it; what it says about its health, and what the host's tools say about its disk. */
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { findCommand } from '../../src/host/node/command.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { checkDisk, convertDisk } from '../../src/storage/index.ts';
import type { Guest } from './guest.fixture.ts';

export const HV = fileURLToPath(new URL('../../bin/hv', import.meta.url));
export const PASSWORD = 'a-password';
/** How long one command may take, in ms: an image is made in minutes. */
const PATIENCE = 1_200_000;
const host = { files: nodeDiskFiles, codecs: nodeCodecs };

/** What Debian's kernel has to say on a machine without PCI, and on a host that is busy. */
const EXPECTED =
  /PCI: Fatal: No config space access function found|PCI: System does not support PCI|hrtimer: interrupt took/;

export const missing = ['apt-get', 'perl', 'mke2fs', 'ssh', 'ssh-keygen'].filter(
  (name) => findCommand(name) === undefined,
);

export interface TestImage {
  readonly folder: string;
  readonly file: string;
  readonly seed: string;
  /** Of ssh. */
  readonly key: string;
  readonly publicKey: string;
  dispose(): void;
}

export interface Output {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(command: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Output {
  return spawnSync(command, args, {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
    maxBuffer: 2 ** 28,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** The same, while this process goes on: it may be the server that the command's guest asks. */
export function running(
  command: string,
  args: readonly string[],
  { environment = {}, input }: { readonly environment?: NodeJS.ProcessEnv; readonly input?: Uint8Array | string } = {},
): Promise<Output> {
  const child = spawn(command, args, { env: { ...process.env, ...environment } });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('latin1').on('data', (text: string) => void (stdout += text));
  child.stderr.setEncoding('latin1').on('data', (text: string) => void (stderr += text));
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      const tail = `${stdout.slice(-2000)}\n${stderr.slice(-2000)}`;
      reject(new Error(`waited ${PATIENCE / 1000} s for ${[command, ...args].join(' ')}: ${tail}`));
    }, PATIENCE);
    child.on('error', reject).on('close', (status) => {
      clearTimeout(timer);
      resolve({ status, stdout, stderr });
    });
  });
}

/** Says on stderr which step of a test of minutes begins, and how many seconds after the first. */
export function stepper(): (name: string) => void {
  const start = performance.now();
  return (name) => {
    process.stderr.write(`${((performance.now() - start) / 1000).toFixed(0).padStart(5)} s  ${name}\n`);
  };
}

/**
 * Made by `hv image create`. To save the minutes that this takes while one works on a test, VIRIDIAN_TEST_IMAGE names one that
 * was made before, for the user `me` with that password and the host name `box`, with its key beside it (`FILE.key`).
 */
export async function makeImage(): Promise<TestImage> {
  const folder = mkdtempSync(join(tmpdir(), 'viridian-image-'));
  const [file, seed, key] = [join(folder, 'debian.vhdx'), join(folder, 'seed.iso'), join(folder, 'key')];
  const made = process.env.VIRIDIAN_TEST_IMAGE;
  if (made === undefined) run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  else for (const end of ['', '.pub']) copyFileSync(`${made}.key${end}`, `${key}${end}`);
  writeFileSync(join(folder, 'password'), `${PASSWORD}\n`);
  const login = ['--user', 'me', '--password-file', join(folder, 'password'), '--ssh-key', `${key}.pub`];
  const seeded = run(HV, ['image', 'seed', seed, ...login]);
  if (seeded.status !== 0) throw new Error(seeded.stderr);
  if (made === undefined) {
    const create = ['image', 'create', 'debian', file, ...login, '--hostname', 'box', '--json'];
    const { status, stdout, stderr } = await running(HV, create);
    if (status !== 0 || !stderr.includes('hv: making the file system')) throw new Error(stderr);
    const { user, hostname, size } = JSON.parse(stdout) as Record<string, unknown>;
    if (user !== 'me' || hostname !== 'box' || size !== 4 * 2 ** 30) throw new Error(stdout);
  } else copyFileSync(made, file);
  const publicKey = run('cat', [`${key}.pub`]).stdout.trim();
  return { folder, file, seed, key, publicKey, dispose: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Logs in at the console, and has it talk plainly. */
export async function logIn(guest: Guest): Promise<void> {
  await guest.until('box login: ');
  guest.type('me\n');
  await guest.until('Password: ');
  guest.type(`${PASSWORD}\n`);
  await guest.until('me@box:~$ ');
  // The prompt turns bracketed paste on and off around each line.
  guest.type("bind 'set enable-bracketed-paste off'\n");
  await guest.command('export TERM=dumb SYSTEMD_COLORS=0 SYSTEMD_PAGER=cat; stty cols 500');
  await guest.command(`echo ${PASSWORD} | sudo -S true`);
  // What the kernel says on a busy host would stand in the output of commands; what it has said is asked for.
  await guest.command('sudo dmesg --console-off');
}

/** What is wrong with a Debian that has booted, by itself; '' is nothing. `root` runs a command as root. */
export async function complaints(root: (command: string) => Promise<string>): Promise<string> {
  const state = (await root('systemctl is-system-running --wait')).trim();
  const failed = await root('systemctl --failed --plain --no-legend');
  const said = await root('dmesg --level=emerg,alert,crit,err,warn --notime');
  const unexpected = said.split('\n').filter((line) => line !== '' && !EXPECTED.test(line));
  return [state === 'running' ? '' : state, failed.trim(), ...unexpected].filter((line) => line !== '').join('\n');
}

/** What is wrong with the disk, by our own check and by fsck; '' is nothing. */
export async function damage({ folder, file }: TestImage): Promise<string> {
  const { findings } = await checkDisk(host, file, 'vhdx');
  const raw = join(folder, 'disk.raw');
  if (existsSync(raw)) rmSync(raw);
  await convertDisk(host, { from: { path: file, format: 'vhdx' }, to: { path: raw, format: 'raw' } });
  const { status, stdout } = run(findCommand('fsck.ext4') ?? 'fsck.ext4', ['-fn', `${raw}?offset=${2 ** 20}`]);
  rmSync(raw);
  return `${findings.map((finding) => JSON.stringify(finding)).join('\n')}${status === 0 ? '' : stdout}`;
}
