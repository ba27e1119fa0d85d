/**
 * `hv cp`: files and folders into a guest and out of one, through its agent, and where there is none a file into one through
 * the integration component.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, lstat, rename, rm, stat, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Vm } from '../../../client/index.ts';
import { isViridianError, ViridianError } from '../../../contracts/errors.ts';
import { readInput } from '../../../host/node/files.ts';
import { printable } from '../../../support/text.ts';
import { say } from '../../say.ts';
import { formatSize } from '../../vhd/sizes.ts';
import type { Action, Flags } from '../command-row.ts';
import { onlyAsked, told, vmOf } from '../session.ts';
import { secondsOf } from './exec.ts';
import { type Copied, makeTarget, packFolder, unpackFolder } from './folders.ts';
import { runInside } from './inside.ts';

/** How these scripts end where a thing is not there, or is there already. */
const NOT_THERE = 3;
const ALREADY = 4;

/** Of a file: target, name, folders, overwrite, mode, time, size; its bytes are the input. */
const TAKE_FILE = `set -e; d=$1
[ -z "$3" ] || case $d in */) mkdir -p -- "$d";; *) mkdir -p -- "$(dirname -- "$d")";; esac
[ ! -d "$d" ] || d=\${d%/}/$2
[ -d "$(dirname -- "$d")" ] || { echo "$(dirname -- "$d"): no such folder: give --folders to make it" >&2; exit ${NOT_THERE}; }
[ ! -d "$d" ] || { echo "$d: is there, and is a folder" >&2; exit ${ALREADY}; }
[ ! -e "$d" ] || [ -n "$4" ] || { echo "$d: is there already: give --overwrite to replace it" >&2; exit ${ALREADY}; }
t=$(mktemp -- "$d.XXXXXX"); trap 'rm -f -- "$t"' EXIT; trap 'exit 1' HUP INT TERM
cat > "$t"
[ "$(stat -c %s -- "$t")" = "$7" ]
chmod "$5" -- "$t"; touch -d "@$6" -- "$t"; mv -f -- "$t" "$d"; trap - EXIT`;

/** Of a folder: target, name, folders, overwrite; an archive is the input. */
const TAKE_FOLDER = `d=$1
if [ -d "$d" ]; then d=\${d%/}/$2; elif [ -n "$3" ]; then mkdir -p -- "$(dirname -- "$d")"; fi
[ -d "$(dirname -- "$d")" ] || { echo "$(dirname -- "$d"): no such folder: give --folders to make it" >&2; exit ${NOT_THERE}; }
mkdir -p -- "$d" || exit ${ALREADY}
if [ -n "$4" ]; then keep=--overwrite; else keep=--keep-old-files; fi
exec tar -x -p --no-same-owner "$keep" -f - -C "$d"`;

/** A line that says what it is, and its bytes. */
const GIVE = `if [ -d "$1" ]; then echo d; exec tar -c -f - -C "$1" .
elif [ -f "$1" ]; then stat -L -c 'f %a %Y %s' -- "$1" && exec cat -- "$1"
else echo "$1: no such file or folder in the guest" >&2; exit ${NOT_THERE}; fi`;

interface Operand {
  /** Undefined: of this host. */
  readonly vm: string | undefined;
  readonly path: string;
}

/** "VM:PATH"; with a slash before the colon it is a path. */
export function operandOf(text: string): Operand {
  const match = /^([^/:]+):(.*)$/s.exec(text);
  return match ? { vm: match[1], path: match[2]! || '.' } : { vm: undefined, path: text };
}

export const cp: Action = async (operands, flags) => {
  const sources = operands.slice(0, -1).map(operandOf);
  const target = operandOf(operands.at(-1)!);
  if (sources.length === 0) throw new ViridianError('invalid', 'give what to copy, and where to: hv cp FILE VM:/PATH');
  const names = new Set([...sources, target].flatMap(({ vm }) => (vm === undefined ? [] : [vm])));
  if (names.size !== 1 || sources.some(({ vm }) => (vm === undefined) === (target.vm === undefined)))
    throw new ViridianError('invalid', 'one side is a guest (VM:/PATH), the other is this host');
  if (sources.length > 1 && target.vm === undefined && !(await isFolder(target.path)))
    throw new ViridianError('notFound', `${target.path}: is no folder, and there is more than one thing to copy`);
  const vm = await vmOf([...names][0]);
  for (const { path } of sources) {
    const to = sources.length > 1 && !target.path.endsWith('/') ? `${target.path}/` : target.path;
    if (onlyAsked(flags, `copy ${path} to ${to}${target.vm === undefined ? '' : ` of ${vm.name}`}`)) continue;
    const copied: Copied = { files: 0, bytes: 0 };
    await (target.vm === undefined ? copyOut : copyIn)(vm, path, to, flags, copied);
    if (copied.files !== 1) told(`${path}: ${copied.files} files, ${formatSize(copied.bytes)}`);
  }
  return undefined;
};

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

function leftOut(path: string): void {
  say(`hv: ${printable(path)}: left out: it is no file, folder or link`);
}

// ---- into the guest ---------------------------------------------------------------------------------------------------------------

async function copyIn(vm: Vm, path: string, to: string, flags: Flags, copied: Copied): Promise<void> {
  const stats = await stat(path).catch(() => {
    throw new ViridianError('notFound', `${path}: no such file or folder`);
  });
  const name = basename((await realName(path)) ?? path);
  const words = [to, name, flags.folders ? '1' : '', flags.overwrite ? '1' : ''];
  if (stats.isDirectory()) {
    await script(vm, TAKE_FOLDER, words, flags, packFolder(path, copied, leftOut));
    return;
  }
  if (!stats.isFile()) throw new ViridianError('invalid', `${path}: is no file and no folder`);
  copied.files++;
  copied.bytes += stats.size;
  const facts = [(stats.mode & 0o777).toString(8), String(Math.floor(stats.mtimeMs / 1000)), String(stats.size)];
  try {
    await script(vm, TAKE_FILE, [...words, ...facts], flags, createReadStream(path));
  } catch (error) {
    if (!isViridianError(error) || error.code !== 'timeout') throw error;
    await throughIntegration(vm, path, to.endsWith('/') ? `${to}${name}` : to, flags, error);
  }
}

/** "." and ".." are no names. */
async function realName(path: string): Promise<string | undefined> {
  if (!/(?:^|\/)\.{0,2}\/*$/.test(path)) return undefined;
  const { realpath } = await import('node:fs/promises');
  return await realpath(path);
}

/** What Hyper-V itself has for this: a daemon of the guest's takes whole files. */
async function throughIntegration(vm: Vm, path: string, to: string, flags: Flags, reason: Error): Promise<void> {
  if (!to.startsWith('/')) throw reason;
  try {
    const bytes = await readInput('file', path);
    await vm.copyFile(to, bytes, { overwrite: flags.overwrite === true, folders: flags.folders === true });
  } catch (error) {
    const daemon = isViridianError(error) ? error.message : String(error);
    throw new ViridianError('timeout', `${reason.message}. Nor does the file copy component: ${daemon}`);
  }
}

/** Runs one of the scripts. @throws ViridianError with what it said */
async function script(
  vm: Vm,
  text: string,
  words: readonly string[],
  flags: Flags,
  stdin: AsyncIterable<Uint8Array>,
): Promise<void> {
  const { code, stderr } = await runInside(vm, ['sh', '-c', text, 'sh', ...words], {
    stdin,
    seconds: secondsOf(flags),
  });
  if (code !== 0) throw refusal(code, stderr, `the guest's shell ended with ${code}`);
}

function refusal(code: number, stderr: Uint8Array, otherwise: string): ViridianError {
  const said = printable(new TextDecoder().decode(stderr).trim().split('\n')[0] ?? '', 500);
  const kind = code === NOT_THERE ? 'notFound' : code === ALREADY ? 'wrongState' : 'failure';
  const existing = /: File exists$/.test(said) ? ': give --overwrite to replace what is there' : '';
  return new ViridianError(existing === '' ? kind : 'wrongState', `${said || otherwise}${existing}`);
}

// ---- out of the guest -------------------------------------------------------------------------------------------------------------

async function copyOut(vm: Vm, path: string, to: string, flags: Flags, copied: Copied): Promise<void> {
  const pipe = new TransformStream<Uint8Array, Uint8Array>(undefined, { highWaterMark: 4 }, { highWaterMark: 4 });
  const writer = pipe.writable.getWriter();
  const source = bytesOf(pipe.readable);
  const sent = runInside(vm, ['sh', '-c', GIVE, 'sh', path], {
    seconds: secondsOf(flags),
    onStdout: async (bytes) => {
      // Waits for the disk; a failure there is told by the other side.
      await writer.write(bytes).catch(() => undefined);
    },
  }).then(async ({ code, stderr }) => {
    if (code !== 0) throw refusal(code, stderr, `the guest's shell ended with ${code}`);
    await writer.close().catch(() => undefined);
  });
  sent.catch((error: unknown) => writer.abort(error).catch(() => undefined));
  await take(source, path, to, flags, copied);
  await sent;
}

async function* bytesOf(readable: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* readable;
}

async function take(
  source: AsyncGenerator<Uint8Array>,
  path: string,
  to: string,
  flags: Flags,
  copied: Copied,
): Promise<void> {
  const [line, rest] = await firstLine(source);
  const name = basename(path);
  const into = (await isFolder(to)) ? join(to, ['', '.', '..', '/'].includes(name) ? vmFolder(path) : name) : to;
  const overwrite = flags.overwrite === true;
  if (line === 'd') {
    await makeTarget(into, flags.folders === true);
    await unpackFolder(rest, into, { overwrite, copied, leftOut });
    return;
  }
  const [, mode = '600', time = '0', size = '0'] = line.split(' ');
  const there = await lstat(into).catch(() => undefined);
  if (there !== undefined && !overwrite)
    throw new ViridianError('wrongState', `${into}: is there already: give --overwrite to replace it`);
  if (flags.folders === true) await makeTarget(dirname(into), true);
  else if (!(await isFolder(dirname(into))))
    throw new ViridianError('notFound', `${dirname(into)}: no such folder: give --folders to make it`);
  // Beside its place, so that there is the whole file there or none.
  const partial = `${into}.${process.pid}.partial`;
  try {
    await pipeline(rest, createWriteStream(partial, { flags: 'wx', mode: 0o600 }));
    const { size: got } = await stat(partial);
    if (got !== Number(size)) throw new ViridianError('failure', `${path}: ${got} of ${Number(size)} bytes came`);
    await chmod(partial, Number.parseInt(mode, 8) & 0o777);
    await utimes(partial, Number(time), Number(time));
    await rename(partial, into);
    copied.files++;
    copied.bytes += got;
  } finally {
    await rm(partial, { force: true });
  }
}

/** A guest's folder that is named by dots alone. */
function vmFolder(path: string): string {
  throw new ViridianError('invalid', `${path}: has no name of its own: say what it is to be called here`);
}

async function firstLine(source: AsyncGenerator<Uint8Array>): Promise<[string, AsyncGenerator<Uint8Array>]> {
  let head = Buffer.alloc(0);
  for (;;) {
    const { value, done } = await source.next();
    if (done === true || head.length > 200) throw new ViridianError('failure', 'the guest does not say what it sends');
    head = Buffer.concat([head, value]);
    const end = head.indexOf(10);
    if (end < 0) continue;
    const rest = head.subarray(end + 1);
    return [
      head.subarray(0, end).toString('latin1'),
      (async function* () {
        if (rest.length > 0) yield rest;
        yield* source;
      })(),
    ];
  }
}
