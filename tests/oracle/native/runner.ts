// The host's own processor as an oracle: runs instruction bytes natively, in a child process (processor.asm), thousands
// of cases over one pipe. A child that dies is started again and the case that killed it is found and reported.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { type Capabilities, decodeGreeting, greetingLength } from './capabilities.ts';
import { IMAGE_BASE64 } from './image.ts';
import { type Case, decodeResult, encodeCases, killedResult, type Result, resultLength } from './protocol.ts';

/** Cases in one message, and cases that may be on their way at once. */
const CHUNK = 128;
const WINDOW = 512;
/** A child that says nothing for so long is taken for lost. Its own timer ends a case's endless loop far earlier. */
const SILENCE_MS = 20_000;

/** Exit statuses of processor.asm. */
const EXIT_REASONS: Readonly<Record<number, string>> = {
  80: 'the kernel does not let programs write the FS and GS base (FSGSBASE: Linux 5.9 and a processor that has it)',
  81: 'the fixed addresses could not be mapped',
  82: 'signal handlers could not be installed',
  83: 'the profiling timer could not be started',
  84: 'the seccomp filter could not be installed',
  90: 'protocol error: image.ts and protocol.ts do not agree, run tests/oracle/native/assemble.ts',
  91: 'a fault in the native processor itself',
};

export interface Unavailable {
  readonly available: false;
  readonly reason: string;
}

interface Child {
  readonly process: ChildProcessByStdio<Writable, Readable, null>;
  readonly capabilities: Capabilities;
  /** How it ended; undefined while it lives. */
  death: string | undefined;
  onData: (bytes: Uint8Array) => void;
  onDeath: () => void;
}

export class NativeProcessor {
  readonly available = true;
  #child: Child;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  private constructor(child: Child) {
    this.#child = child;
  }

  /** Starts the child; says why where this host cannot run it. */
  static async start(): Promise<NativeProcessor | Unavailable> {
    if (process.platform !== 'linux' || process.arch !== 'x64') {
      return { available: false, reason: `not an x86-64 Linux host: ${process.platform} on ${process.arch}` };
    }
    try {
      return new NativeProcessor(await startChild());
    } catch (error) {
      return { available: false, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  capabilities(): Capabilities {
    return this.#child.capabilities;
  }

  /** Runs the cases in order; the results are in the same order. Calls that overlap wait for each other. */
  run(cases: readonly Case[]): Promise<Result[]> {
    const turn = this.#turn.then(() => this.#run(cases));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Ends the child. What is still running is rejected. */
  close(): void {
    this.#closed = true;
    this.#child.process.kill('SIGKILL');
    this.#child.process.stdin.destroy();
  }

  async #run(cases: readonly Case[]): Promise<Result[]> {
    const results: Result[] = [];
    while (results.length < cases.length) {
      const unanswered = await this.#stream(cases, results, cases.length, WINDOW);
      // The child died with so many cases unanswered, one of which did it: one at a time they tell.
      const suspects = results.length + unanswered;
      while (results.length < suspects) {
        if ((await this.#stream(cases, results, results.length + 1, 1)) === 0) continue;
        results.push(killedResult(this.#child.death ?? ''));
        break;
      }
    }
    return results;
  }

  /** Runs cases from `results.length` up to `end`. Gives how many were on their way when the child died, else 0. */
  async #stream(cases: readonly Case[], results: Result[], end: number, window: number): Promise<number> {
    if (this.#closed) throw new Error('the native processor is closed');
    if (this.#child.death !== undefined) this.#child = await startChild();
    const child = this.#child;
    let sent = results.length;
    const send = () => {
      while (sent < end && sent - results.length + Math.min(CHUNK, end - sent) <= window) {
        const to = Math.min(end, sent + CHUNK);
        child.process.stdin.write(encodeCases(cases, sent, to));
        sent = to;
      }
    };
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const silence = setTimeout(() => child.process.kill('SIGKILL'), SILENCE_MS);
    const done = () => results.length >= end && resolve();
    let rest = new Uint8Array(0);
    child.onDeath = resolve;
    child.onData = (chunk) => {
      silence.refresh();
      // A copy of our own: results are views of it, and their words must be aligned.
      const bytes = new Uint8Array(rest.length + chunk.length);
      bytes.set(rest);
      bytes.set(chunk, rest.length);
      const view = new DataView(bytes.buffer);
      let at = 0;
      try {
        for (let length = resultLength(view, at); length !== 0; length = resultLength(view, at)) {
          results.push(decodeResult(view, at, cases[results.length] as Case));
          at += length;
        }
        rest = bytes.subarray(at);
        send();
      } catch (error) {
        reject(error);
      }
      done();
    };
    try {
      send();
      done();
      await promise;
    } catch (error) {
      child.process.kill('SIGKILL'); // answers to what was sent already would be taken for others
      await ended(child);
      throw error;
    } finally {
      clearTimeout(silence);
      child.onData = () => undefined;
      child.onDeath = () => undefined;
    }
    return sent - results.length;
  }
}

function ended(child: Child): Promise<void> {
  return new Promise((resolve) => {
    if (child.death !== undefined) resolve();
    else child.onDeath = resolve;
  });
}

function describeExit(code: number | null, signal: string | null): string {
  if (signal !== null) return signal;
  return EXIT_REASONS[code ?? 0] ?? `exit status ${code}`;
}

/**
 * Writes the image to a file of its own, starts it and waits for the greeting. ETXTBSY: another thread of ours forked
 * while the file was open for writing, and its child has not reached exec() yet.
 */
async function startChild(attempts = 5): Promise<Child> {
  const folder = mkdtempSync(join(tmpdir(), 'viridian-native-'));
  const path = join(folder, 'processor');
  try {
    writeFileSync(path, Buffer.from(IMAGE_BASE64, 'base64'), { mode: 0o700 });
    return await greet(path);
  } catch (error) {
    if (attempts > 1 && error instanceof Error && error.message.includes('ETXTBSY'))
      return await startChild(attempts - 1);
    throw error;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function greet(path: string): Promise<Child> {
  return new Promise((resolve, reject) => {
    const started = spawn(path, [], { stdio: ['pipe', 'pipe', 'ignore'], env: {} });
    let bytes = new Uint8Array(0);
    let child: Child | undefined;
    started.on('error', (error) => reject(new Error(`${path} cannot be started: ${error.message}`)));
    started.on('close', (code, signal) => {
      const death = describeExit(code, signal);
      if (!child) return reject(new Error(`the native processor does not run here: ${death}`));
      child.death = death;
      child.onDeath();
    });
    started.stdin.on('error', () => undefined); // a dead child's pipe: 'close' tells
    started.stdout.on('data', (chunk: Uint8Array) => {
      if (child) return child.onData(chunk);
      bytes = new Uint8Array([...bytes, ...chunk]);
      try {
        const length = greetingLength(bytes);
        if (length === 0 || bytes.length < length) return;
        child = {
          process: started,
          capabilities: decodeGreeting(bytes),
          death: undefined,
          onData: () => undefined,
          onDeath: () => undefined,
        };
        resolve(child);
      } catch (error) {
        started.kill('SIGKILL');
        reject(error);
      }
    });
  });
}
