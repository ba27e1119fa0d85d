/**
 * Debian programs for the guest's root: downloads packages and the libraries they depend on with the system's package
 * client (no root, nothing is installed) and unpacks them into the user's cache, where later runs find them.
 */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { aptOptions, aptReason } from '../../src/cli/quickstart/debian.ts';
import { findCommand, runCommand } from '../../src/host/node/command.ts';

/** Why something is left out of the benchmark: a line for the user. */
export class Unavailable extends Error {}

/** What a package depends on matters when it is a library, or the program behind a metapackage. */
const WANTED_DEPENDENCY = /^(lib(?!pam|debconf)[\w.+-]+|zlib1g|python3\.\d+-minimal)$/;

export interface DebianRoot {
  /** Folders to lay over each other, one for each package. */
  readonly folders: readonly string[];
  /** Package=version of all. */
  readonly packages: readonly string[];
}

/** @param list under which name what was fetched is remembered. */
export async function debianRoot(cache: string, names: readonly string[], list = 'packages'): Promise<DebianRoot> {
  const home = join(cache, 'bench');
  const index = join(home, `${list}.json`);
  const known = readIndex(index);
  if (known !== undefined && names.every((name) => known.wanted.includes(name))) return rootOf(home, known.packages);

  const missing = ['apt-get', 'apt-cache', 'dpkg-deb'].filter((name) => findCommand(name) === undefined);
  if (missing.length > 0) throw new Unavailable(`${missing.join(' and ')} not found: no Debian programs`);
  mkdirSync(home, { recursive: true });
  const scratch = mkdtempSync(join(home, 'fetch-'));
  try {
    const all = await dependencies(cache, names);
    const { code, stderr } = await apt(cache, 'apt-get', ['download', '-q', ...all], scratch);
    if (code !== 0) throw new Unavailable(`cannot download Debian's packages: ${aptReason(stderr)}`);
    const packages: string[] = [];
    for (const archive of readdirSync(scratch).filter((file) => file.endsWith('.deb'))) {
      const name = archive.slice(0, -'.deb'.length);
      const folder = join(home, name);
      if (!existsSync(folder)) {
        const unpacked = await runCommand('dpkg-deb', ['-x', join(scratch, archive), join(scratch, name)]);
        if (unpacked.code !== 0) throw new Unavailable(`cannot unpack ${archive}: ${unpacked.stderr.trim()}`);
        renameSync(join(scratch, name), folder);
      }
      packages.push(name);
    }
    packages.sort();
    writeFileSync(index, `${JSON.stringify({ wanted: names, packages }, undefined, 2)}\n`);
    return rootOf(home, packages);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function rootOf(home: string, packages: readonly string[]): DebianRoot {
  return { folders: packages.map((name) => join(home, name)), packages };
}

interface Index {
  readonly wanted: readonly string[];
  readonly packages: readonly string[];
}
function readIndex(path: string): Index | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Index;
  } catch {
    return undefined;
  }
}

/** The packages and the libraries they need, all the way down. */
async function dependencies(cache: string, names: readonly string[]): Promise<string[]> {
  const without = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
    (kind) => `--no-${kind}`,
  );
  const { code, stdout, stderr } = await apt(cache, 'apt-cache', ['depends', '--recurse', ...without, ...names]);
  if (code !== 0) throw new Unavailable(`this system's package sources lack a program: ${aptReason(stderr)}`);
  const found = stdout.split('\n').filter((line) => /^[a-z0-9]/.test(line));
  return [...new Set(found.filter((name) => names.includes(name) || WANTED_DEPENDENCY.test(name)))];
}

function apt(cache: string, command: string, args: readonly string[], cwd = cache): ReturnType<typeof runCommand> {
  // The quickstart fetched package lists of our own where the system's were missing or out of date.
  const own = join(cache, 'debian', 'apt');
  const options = aptOptions(existsSync(join(own, 'lists')) ? own : undefined);
  return runCommand(command, [...options, ...args], { cwd });
}
