/**
 * A guest for tests: `hv run` in a process of its own, with its console on pipes, driven like a person would: wait for a
 * text, type, wait. Debian's kernel and busybox come from the user's cache, or are fetched as `npm start` does it.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { cachedFiles, DebianPackages, rememberFiles } from '../../src/cli/quickstart/debian.ts';
import { buildInitramfs } from '../../src/cli/quickstart/initramfs.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';

const HV = fileURLToPath(new URL('../../bin/hv', import.meta.url));
/** Around each command's output; typed in two pieces, so that their echo, folded or repeated, is not mistaken for them. */
const BEGIN = '<BEGIN>';
const END = '<END>';
/** How long one wait may take, in ms: long for a step of a guest on a busy machine, short beside a test that never ends. */
const PATIENCE = 600_000;

const children = new Set<ChildProcessWithoutNullStreams>();
const folders: string[] = [];
/** Nothing outlives a test file, however it ends. */
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

export interface DebianGuest {
  /** Arguments of `hv run`. */
  readonly arguments: readonly string[];
  readonly kernel: string;
  readonly initrd: string;
  readonly folder: string;
}

/** Debian's kernel with the quickstart's initramfs, or the reason why there is none here. */
export async function debianGuest(append = 'console=ttyS0 quiet'): Promise<DebianGuest | string> {
  const cache = cacheFolder();
  let files = cachedFiles(cache);
  if (files === undefined) {
    try {
      const packages = new DebianPackages(cache);
      files = { kernel: await packages.fetch('kernel'), busybox: await packages.fetch('busybox') };
      rememberFiles(cache, files);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  const folder = mkdtempSync(join(tmpdir(), 'viridian-boot-'));
  folders.push(folder);
  const kernel = files.kernel.path;
  const initrd = join(folder, 'initrd');
  writeFileSync(initrd, buildInitramfs({ busybox: readFileSync(files.busybox.path) }));
  return { arguments: ['--kernel', kernel, '--initrd', initrd, '--append', append], kernel, initrd, folder };
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Debian's kernel with its modules for Hyper-V loaded at boot, or the reason why there is none here. */
export async function hypervGuest(): Promise<Omit<DebianGuest, 'arguments'> | string> {
  const debian = await debianGuest();
  if (typeof debian === 'string') return debian;
  const cache = cacheFolder();
  const files = cachedFiles(cache)!;
  let { modules } = files;
  if (modules === undefined) {
    try {
      modules = await new DebianPackages(cache).fetchModules(files.kernel);
      rememberFiles(cache, { ...files, modules });
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }
  const { kernel, folder } = debian;
  const initrd = join(folder, 'initrd-with-modules');
  writeFileSync(initrd, Buffer.concat([readFileSync(debian.initrd), readFileSync(modules.path)]));
  return { kernel, initrd, folder };
}

/** `hv run`; texts are Latin-1, a character per byte. */
export class Guest {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly exit: Promise<Outcome>;
  #stdout = '';
  #stderr = '';
  #seen = 0;
  #ended = false;
  #changed = (): void => undefined;

  constructor(...args: readonly string[]) {
    const child = spawn(HV, ['run', ...args]);
    this.#child = child;
    children.add(child);
    child.stdin.on('error', () => undefined);
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      this.#stdout += text;
      this.#changed();
    });
    child.stderr.setEncoding('latin1').on('data', (text: string) => {
      this.#stderr += text;
      this.#changed();
    });
    this.exit = new Promise((resolve) => {
      child.on('close', (code) => {
        this.#ended = true;
        children.delete(child);
        this.#changed();
        resolve({ code, stdout: this.#stdout, stderr: this.#stderr });
      });
    });
  }

  type(text: string): void {
    this.#child.stdin.write(text, 'latin1');
  }
  endInput(): void {
    this.#child.stdin.end();
  }
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  /** What the console shows from here up to and with `text`. */
  async until(text: string): Promise<string> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const at = this.#stdout.indexOf(text, this.#seen);
      if (at >= 0) return this.#take(at + text.length);
      await this.#more(`'${text}'`, deadline);
    }
  }
  async take(count: number): Promise<string> {
    const deadline = performance.now() + PATIENCE;
    while (this.#stdout.length < this.#seen + count) await this.#more(`${count} bytes`, deadline);
    return this.#take(this.#seen + count);
  }
  #take(end: number): string {
    const shown = this.#stdout.slice(this.#seen, end);
    this.#seen = end;
    return shown;
  }
  /** More of stdout or stderr, until `deadline`. */
  async #more(wanted: string, deadline: number): Promise<void> {
    if (this.#ended) throw new Error(`waiting for ${wanted}, but the guest has ended: ${this.#tail()}`);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#changed = resolve;
    const timer = setTimeout(() => {
      reject(new Error(`waited ${PATIENCE / 1000} s for ${wanted}: ${this.#tail()}`));
    }, deadline - performance.now());
    try {
      await promise;
    } finally {
      clearTimeout(timer);
    }
  }
  #tail(): string {
    return `${this.#stdout.slice(-2000)}\n${this.#stderr}`;
  }

  get pid(): number {
    return this.#child.pid!;
  }
  /** Waits for a text of hv's own. */
  async says(text: string): Promise<void> {
    const deadline = performance.now() + PATIENCE;
    while (!this.#stderr.includes(text)) await this.#more(`'${text}'`, deadline);
  }

  /** Waits for the shell's prompt. */
  async shell(): Promise<void> {
    await this.until('root@viridian:/root# ');
  }
  /** Runs a shell command; what it shows. */
  async command(line: string): Promise<string> {
    this.type(`echo "<""BEGIN>"; ${line}; echo "<""END>"\n`);
    try {
      await this.until(`${BEGIN}\r\n`);
      return (await this.until(END)).slice(0, -END.length).replaceAll('\r\n', '\n');
    } catch (error) {
      throw new Error(`in the command '${line}'`, { cause: error });
    }
  }
}
