/** Reading and writing whole files a user named, with errors that say what is wrong with which one. */
import { open, rename, rm } from 'node:fs/promises';
import { type ErrorCode, ViridianError } from '../../contracts/errors.ts';

const REASONS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOENT: ['notFound', 'no such file'],
  ENOTDIR: ['notFound', 'no such file'],
  EACCES: ['denied', 'permission denied'],
  EPERM: ['denied', 'permission denied'],
  EROFS: ['denied', 'the file system is read-only'],
  EISDIR: ['badFile', 'is a folder, not a file'],
  ENOSPC: ['failure', 'no space left on the device'],
};

/** @param what The file's part, for the message: "kernel". @throws ViridianError */
export async function readInput(what: string, path: string | URL): Promise<Uint8Array<ArrayBuffer>> {
  try {
    await using file = await open(path, 'r');
    const bytes = await file.readFile();
    if (bytes.length === 0) throw new ViridianError('badFile', `${what} ${path}: the file is empty`);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (error) {
    throw explain(what, String(path), error);
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
    throw explain(what, path, error);
  }
}

function explain(what: string, path: string, error: unknown): unknown {
  const reason = error instanceof Error && 'code' in error ? REASONS[String(error.code)] : undefined;
  return reason === undefined ? error : new ViridianError(reason[0], `${what} ${path}: ${reason[1]}`, { cause: error });
}
