/**
 * A folder of this host as a tar archive, and one made of an archive that a guest sent. A guest may send anything: nothing of
 * it gets out of the folder, through links neither, and nothing of it runs with more rights (no set-user-id bits, no devices).
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { chmod, link, lstat, mkdir, readdir, readlink, rm, symlink, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ViridianError } from '../../../contracts/errors.ts';
import { readTar, type TarEntry, TarError, tarEnd, tarHeader, tarPadding } from '../../../support/tar.ts';
import { printable } from '../../../support/text.ts';

export interface Copied {
  files: number;
  bytes: number;
}

/** Everything in a folder, links as links. Sockets and devices are left out, and told of. */
export async function* packFolder(
  folder: string,
  copied: Copied,
  leftOut: (path: string) => void,
): AsyncGenerator<Uint8Array> {
  yield* packed(folder, '.', copied, leftOut);
  yield tarEnd();
}

async function* packed(
  path: string,
  name: string,
  copied: Copied,
  leftOut: (path: string) => void,
): AsyncGenerator<Uint8Array> {
  const { mode, mtimeMs, size, ...is } = await lstatOf(path);
  const common = { path: name, mode: mode & 0o7777, modified: mtimeMs / 1000, size: 0 };
  if (is.kind === 'folder') {
    yield tarHeader({ ...common, kind: 'folder', path: `${name}/` });
    for (const child of (await readdir(path)).sort())
      yield* packed(join(path, child), `${name}/${child}`, copied, leftOut);
  } else if (is.kind === 'symlink') {
    copied.files++;
    yield tarHeader({ ...common, kind: 'symlink', target: await readlink(path) });
  } else if (is.kind === 'file') {
    copied.files++;
    yield tarHeader({ ...common, kind: 'file', size });
    // As long as the header says, whatever becomes of the file meanwhile.
    let left = size;
    if (size > 0)
      for await (const bytes of createReadStream(path, { end: size - 1 })) {
        left -= (bytes as Buffer).length;
        copied.bytes += (bytes as Buffer).length;
        yield bytes as Buffer;
      }
    if (left > 0) throw new ViridianError('failure', `${path}: became shorter while it was copied`);
    yield tarPadding(size);
  } else leftOut(path);
}

async function lstatOf(path: string) {
  const stats = await lstat(path);
  const kind = stats.isDirectory() ? 'folder' : stats.isSymbolicLink() ? 'symlink' : stats.isFile() ? 'file' : 'other';
  return { kind, mode: stats.mode, mtimeMs: stats.mtimeMs, size: stats.size } as const;
}

/** @throws ViridianError when the archive is none, names what is outside, or a file is there and not to be replaced */
export async function unpackFolder(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  options: { readonly overwrite: boolean; readonly copied: Copied; readonly leftOut: (path: string) => void },
): Promise<void> {
  try {
    await unpack(source, folder, options);
  } catch (error) {
    if (error instanceof TarError)
      throw new ViridianError('failure', `what the guest sent is not a folder: ${error.message}`, { cause: error });
    throw error;
  }
}

async function unpack(
  source: AsyncIterable<Uint8Array>,
  folder: string,
  { overwrite, copied, leftOut }: Parameters<typeof unpackFolder>[2],
): Promise<void> {
  // At the end: a folder may be read-only, and gets a new time with each file; nothing is written through a link of the guest's.
  const folders: { readonly path: string; readonly entry: TarEntry }[] = [];
  const links: { readonly path: string; readonly target: string }[] = [];
  for await (const { entry, content } of readTar(source)) {
    const names = safeNames(entry.path);
    const path = join(folder, ...names);
    if (entry.kind === 'folder') {
      await makeFolders(folder, names);
      folders.push({ path, entry });
      continue;
    }
    if (names.length === 0) throw new TarError('a file without a name');
    if (entry.kind === 'other') {
      leftOut(path);
      continue;
    }
    await makeFolders(folder, names.slice(0, -1));
    await makeRoom(path, overwrite);
    copied.files++;
    if (entry.kind === 'symlink') links.push({ path, target: entry.target! });
    else if (entry.kind === 'hardlink') await link(join(folder, ...safeNames(entry.target!)), path);
    else {
      copied.bytes += entry.size;
      await pipeline(content, createWriteStream(path, { flags: 'wx', mode: 0o600 }));
      await chmod(path, entry.mode & 0o777);
      await utimes(path, entry.modified, entry.modified);
    }
  }
  for (const { path, target } of links) await symlink(target, path);
  for (const { path, entry } of folders.reverse()) {
    await chmod(path, entry.mode & 0o777);
    await utimes(path, entry.modified, entry.modified);
  }
}

/** @throws TarError for what leads outside */
function safeNames(path: string): string[] {
  const names = path.split('/').filter((name) => name !== '' && name !== '.');
  if (path.startsWith('/') || path.includes('\0') || names.includes('..'))
    throw new TarError(`it names '${printable(path)}', which is outside`);
  return names;
}

/** Each of them a folder and no link to one. */
async function makeFolders(folder: string, names: readonly string[]): Promise<void> {
  let path = folder;
  for (const name of names) {
    path = join(path, name);
    const there = await lstat(path).catch(() => undefined);
    if (there === undefined) await mkdir(path, 0o700);
    else if (!there.isDirectory()) throw new ViridianError('wrongState', `${path}: is there, and is no folder`);
  }
}

async function makeRoom(path: string, overwrite: boolean): Promise<void> {
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) return;
  if (there.isDirectory()) throw new ViridianError('wrongState', `${path}: is there, and is a folder`);
  if (!overwrite) throw new ViridianError('wrongState', `${path}: is there already: give --overwrite to replace it`);
  await rm(path);
}

/** Makes one, with those above it where that is wished. */
export async function makeTarget(path: string, parents: boolean): Promise<void> {
  try {
    await mkdir(path, { recursive: parents });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT')
      throw new ViridianError('notFound', `${dirname(path)}: no such folder: give --folders to make it`);
    if (code !== 'EEXIST') throw error;
  }
}
