/** Reading and writing whole files a user named, with errors that say what is wrong with which one. */
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type ErrorCode, ViridianError } from '../../contracts/errors.ts';

const REASONS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOENT: ['notFound', 'no such file'],
  ENOTDIR: ['notFound', 'no such file'],
  EACCES: ['denied', 'permission denied'],
  EPERM: ['denied', 'permission denied'],
  EROFS: ['denied', 'the file system is read-only'],
  EISDIR: ['badFile', 'is a folder, not a file'],
  ENXIO: ['badFile', 'is not a file'],
  ENOSPC: ['failure', 'no space left on the device'],
};

const LARGEST = 2 ** 32;
/** FileHandle.readFile() refuses 2 GiB and more, and a read counts its bytes in 31 bits. */
const CHUNK = 2 ** 30;

async function readSized(file: FileHandle, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(size);
  let length = 0;
  while (length < size) {
    const { bytesRead } = await file.read(bytes, length, Math.min(CHUNK, size - length), null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return bytes.subarray(0, length);
}

/** A pipe, or a file that does not know its size (/proc). Undefined when there is too much of it. */
async function readAll(file: FileHandle): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { bytesRead, buffer } = await file.read(new Uint8Array(65536), 0, 65536, null);
    if (bytesRead === 0) break;
    length += bytesRead;
    if (length > LARGEST) return undefined;
    chunks.push(buffer.slice(0, bytesRead));
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** @param what The file's part, for the message: "kernel". @throws ViridianError */
export async function readInput(what: string, path: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const bad = (problem: string): ViridianError => new ViridianError('badFile', `${what} ${path}: ${problem}`);
    // Before it is opened: that may wait forever, or do something.
    const info = await stat(path);
    if (info.isDirectory()) throw bad('is a folder, not a file');
    if (!info.isFile() && !info.isFIFO()) throw bad('is not a file');
    await using file = await open(path, 'r');
    const bytes = info.size > LARGEST ? undefined : await (info.size > 0 ? readSized(file, info.size) : readAll(file));
    if (bytes === undefined) throw bad('is larger than 4 GiB');
    if (bytes.length === 0) throw bad('the file is empty');
    return bytes;
  } catch (error) {
    throw explain(`${what} ${path}`, error);
  }
}

/** Written beside its place and renamed: a file of this name is whole, or was never touched. @throws ViridianError */
export async function writeOutput(what: string, path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.partial`;
  try {
    {
      await using file = await open(partial, 'w', 0o600);
      await file.writeFile(bytes);
      await file.sync();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {});
    throw explain(`${what} ${path}`, error);
  }
}

/** An error of a file system call as one of ours, with the files that it names itself. Every other error as it is. */
export function explained(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { path, dest } = error as NodeJS.ErrnoException & { readonly dest?: string };
  return path === undefined ? error : explain(dest === undefined ? path : `${path} to ${dest}`, error);
}

/**
 * Makes a folder and those above it that are missing. Not `mkdir`'s own way to do that: where a file system refuses a name with
 * ENOENT, as /proc does, Node 26 tries again for ever.
 */
export async function makeFolder(path: string, mode = 0o700): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error)) throw error;
    if (error.code === 'EEXIST' && (await stat(path)).isDirectory()) return;
    const above = dirname(path);
    if (error.code !== 'ENOENT' || above === path) throw error;
    const isThere = await stat(above).then(
      () => true,
      () => false,
    );
    if (isThere) throw new ViridianError('denied', `${path}: no folder can be made there`, { cause: error });
    await makeFolder(above, mode);
    await mkdir(path, { mode });
  }
}

function explain(what: string, error: unknown): unknown {
  const reason = error instanceof Error && 'code' in error ? REASONS[String(error.code)] : undefined;
  return reason === undefined ? error : new ViridianError(reason[0], `${what}: ${reason[1]}`, { cause: error });
}
