/** `hv image create`, `hv image seed`: the command line's values, progress, and what to do next. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { ViridianError } from '../../contracts/errors.ts';
import { EXIT, type ExitCode } from '../../contracts/exit-codes.ts';
import { sha512Crypt } from '../../host/node/crypt.ts';
import { readInput } from '../../host/node/files.ts';
import { createDebianImage, formatOfName, noCloudSeed, publicKeys } from '../../images/index.ts';
import { say } from '../say.ts';
import { ProgressBar } from '../vhd/progress.ts';
import { formatSize } from '../vhd/sizes.ts';
import type { ImageFlags } from './commands.ts';

const DEFAULT_USER = 'debian';

interface Login {
  readonly password: string | undefined;
  /** The password was made up here, and has to be told. */
  readonly madeUp: boolean;
  readonly keys: readonly { readonly name: string; readonly text: string }[];
}

async function loginOf(flags: ImageFlags): Promise<Login> {
  const text = async (what: string, file: string): Promise<string> =>
    new TextDecoder().decode(await readInput(what, file));
  const keys = await Promise.all(
    (flags.sshKey ?? []).map(async (name) => ({ name, text: await text('public key', name) })),
  );
  const said =
    flags.passwordFile === undefined ? flags.password : (await text('password', flags.passwordFile)).split(/\r?\n/)[0];
  if (said !== undefined || keys.length > 0) return { password: said, madeUp: false, keys };
  return { password: randomBytes(9).toString('base64url'), madeUp: true, keys };
}

export async function createImage(file: string, flags: ImageFlags): Promise<ExitCode> {
  const format = formatOfName(file) ?? 'vhdx';
  if (format === 'iso' || format === 'qcow2')
    throw new ViridianError('invalid', `${file}: ${format} can be read, not written; make a vhdx, vhd or raw`);
  const { password, madeUp, keys } = await loginOf(flags);
  const { size, include, hostname, timezone, mirror, user = DEFAULT_USER, force } = flags;
  const options = { file, format, size, include, hostname, timezone, mirror, user, password, keys, replace: force };
  const started = performance.now();
  const made = await withSteps((signal, step) => createDebianImage({ ...options, signal }, step));
  if (made === undefined) return EXIT.interrupted;
  if (flags.json === true)
    process.stdout.write(`${JSON.stringify({ ...made, ...(madeUp ? { password } : {}) }, undefined, 2)}\n`);
  else {
    const seconds = Math.round((performance.now() - started) / 1000);
    say(`hv: created ${file}: Debian 12, ${made.packages} packages, ${formatSize(made.size)}, in ${seconds} s`);
    say(`hv: log in as ${user}${madeUp ? ` with the password ${password}` : ''}; start it with: hv run --disk ${file}`);
  }
  return EXIT.ok;
}

/** Runs what Ctrl-C may end, and shows how far it is. @returns undefined when it was ended */
export async function withSteps(
  work: (signal: AbortSignal, step: (text: string, fraction: number) => void) => ReturnType<typeof createDebianImage>,
): Promise<Awaited<ReturnType<typeof createDebianImage>> | undefined> {
  const controller = new AbortController();
  const interrupted = new Error('interrupted');
  const interrupt = (): void => controller.abort(interrupted);
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  let bar: ProgressBar | undefined;
  let shown = '';
  const terminal = process.stderr.isTTY;
  try {
    return await work(controller.signal, (text, fraction) => {
      if (text !== shown) {
        shown = text;
        bar?.stop();
        if (terminal) bar = new ProgressBar(text);
        else say(`hv: ${text} (${Math.floor(fraction * 100)} %)`);
      }
      bar?.draw(fraction);
    });
  } catch (error) {
    if (error !== interrupted) throw error;
    say('hv: interrupted; nothing was left half done');
    return undefined;
  } finally {
    bar?.stop();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

export async function createSeed(file: string, flags: ImageFlags): Promise<ExitCode> {
  const { password, madeUp, keys } = await loginOf(flags);
  const { user = DEFAULT_USER, hostname = 'debian', force } = flags;
  const seed = noCloudSeed({
    instance: `iid-${randomBytes(8).toString('hex')}`,
    hostname,
    user: {
      name: user,
      passwordHash: password === undefined ? undefined : sha512Crypt(password),
      keys: keys.flatMap(({ name, text }) => publicKeys(text, name)),
    },
  });
  try {
    await writeFile(file, seed, { flag: force === true ? 'w' : 'wx' });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EEXIST')
      throw new ViridianError('wrongState', `${file}: the file is there already: give --force to replace it`);
    throw new ViridianError('failure', `${file}: cannot be written: ${(error as Error).message}`, { cause: error });
  }
  if (flags.json === true)
    process.stdout.write(
      `${JSON.stringify({ file, user, hostname, ...(madeUp ? { password } : {}) }, undefined, 2)}\n`,
    );
  else {
    say(`hv: wrote ${file} for ${user}${madeUp ? ` with the password ${password}` : ''}`);
    say(`hv: attach it beside the image's disk: hv run --disk IMAGE --disk ${file}`);
  }
  return EXIT.ok;
}
