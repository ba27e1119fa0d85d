/** Debian's kernel with its modules for Hyper-V, and busybox, from the user's cache or fetched. */
import { cachedFiles, DebianPackages, rememberFiles } from '../../src/cli/quickstart/debian.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';

export async function debianFiles(): Promise<{
  readonly kernel: string;
  readonly busybox: string;
  readonly modules: string;
}> {
  const cache = cacheFolder();
  let files = cachedFiles(cache);
  if (files === undefined) {
    const packages = new DebianPackages(cache);
    files = { kernel: await packages.fetch('kernel'), busybox: await packages.fetch('busybox') };
    rememberFiles(cache, files);
  }
  let { modules } = files;
  if (modules === undefined) {
    modules = await new DebianPackages(cache).fetchModules(files.kernel);
    rememberFiles(cache, { ...files, modules });
  }
  return { kernel: files.kernel.path, busybox: files.busybox.path, modules: modules.path };
}
