/**
 * `hv quickstart --debian` (`npm run debian`): a Debian 12 with systemd and a network, on a disk that is made the first time
 * and stays.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { ViridianError } from '../../contracts/errors.ts';
import type { PortForward } from '../../contracts/network.ts';
import type { CreatePartition } from '../../contracts/partition.ts';
import { dataFolder } from '../../host/node/folders.ts';
import { checkWord, createDebianImage, publicKeys } from '../../images/index.ts';
import type { QuickstartFlags } from '../flags.ts';
import { run } from '../run.ts';
import { say } from '../say.ts';
import { withSteps } from './image.ts';

const MEMORY = 1024 * 2 ** 20;
/** Where ssh is looked for on the host; the next ones when it is taken. */
const FIRST_PORT = 2222;
const PORTS = 50;

interface Login {
  readonly user: string;
  readonly password: string;
}

/** @param create For tests; else the library's. */
export async function debianMachine(flags: QuickstartFlags, create?: CreatePartition): Promise<number> {
  for (const option of ['kernel', 'busybox', 'drivers'] as const)
    if (flags[option] !== undefined)
      throw new ViridianError('invalid', `--${option} is for the small system: leave --debian out`);
  const folder = join(dataFolder(), 'debian');
  const disk = join(folder, 'debian.vhdx');
  const file = join(folder, 'login.json');
  if (!existsSync(disk) || flags.refresh) {
    const made = await build(folder, disk, file, flags.refresh === true);
    if (!made) return 130;
  }
  const { user, password } = JSON.parse(readFileSync(file, 'utf8')) as Login;
  const published = flags.publish ?? [await sshForward()];
  const ssh = published.find(({ protocol, guestPort }) => protocol === 'tcp' && guestPort === 22);
  say(`hv: Debian 12 on ${disk}; what you change in it stays (--discard: does not)`);
  say(`hv: log in as ${user} with the password ${password}; it is the one for sudo too`);
  if (ssh) say(`hv: or, when it has started, from another terminal: ssh -p ${ssh.hostPort} ${user}@localhost`);
  return await run(
    {
      ...flags,
      reboot: true,
      memory: flags.memory ?? MEMORY,
      disk: [{ file: disk }, ...(flags.disk ?? [])],
      publish: published,
    },
    create,
  );
}

async function build(folder: string, disk: string, file: string, replace: boolean): Promise<boolean> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const login = { user: userName(), password: randomBytes(6).toString('base64url') };
  const keys = ownKeys();
  say('hv: making a Debian 12 for you, from packages: some minutes, this once');
  // Before the disk: who has a disk can log in.
  writeFileSync(file, `${JSON.stringify(login)}\n`, { mode: 0o600 });
  const made = await withSteps((signal, step) =>
    createDebianImage({ file: disk, hostname: 'viridian', ...login, keys, replace, signal }, step),
  );
  return made !== undefined;
}

function userName(): string {
  try {
    const { username } = userInfo();
    return username === 'root' ? 'debian' : checkWord('user', username);
  } catch {
    return 'debian';
  }
}

/** The public keys that ssh would offer. */
function ownKeys(): { readonly name: string; readonly text: string }[] {
  const folder = join(homedir(), '.ssh');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^id_\w+\.pub$/.test(name))
    .map((name) => ({ name, text: readFileSync(join(folder, name), 'utf8') }))
    .filter(({ name, text }) => {
      try {
        return publicKeys(text, name).length > 0;
      } catch {
        return false;
      }
    });
}

async function sshForward(): Promise<PortForward> {
  for (let port = FIRST_PORT; port < FIRST_PORT + PORTS; port++)
    if (await isFree(port)) return { protocol: 'tcp', hostPort: port, guestPort: 22 };
  throw new ViridianError('failure', `ports ${FIRST_PORT} to ${FIRST_PORT + PORTS - 1} are taken: give --publish`);
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
