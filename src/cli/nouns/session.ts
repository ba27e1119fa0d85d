/** What commands have in common: the service, jobs with their progress, questions. */
import { connect, type Host, type Job, type JobOptions, type Vm } from '../../client/index.ts';
import { ViridianError } from '../../contracts/errors.ts';
import { EXIT, type ExitCode } from '../../contracts/exit-codes.ts';
import { say } from '../say.ts';
import { Interrupted, ProgressBar } from '../vhd/progress.ts';
import type { Flags } from './command-row.ts';

export async function service(): Promise<Host> {
  return await connect({ probe: false });
}

export async function vmOf(name: string | undefined): Promise<Vm> {
  return await (await service()).get(name!);
}

/** What the command has set out to do. */
let doing: string | undefined;

/** With --what-if: says what would be done, and that it is not. Without: what is said when it has been. */
export function onlyAsked(flags: Flags, text: string): boolean {
  if (flags.whatIf) say(`what if: ${text}`);
  else doing = text;
  return flags.whatIf === true;
}

/** Of a command that shows nothing, so that nobody wonders. On stderr: there is nothing in it for programs. */
export function sayDone(): void {
  if (doing !== undefined) say(`hv: done: ${doing}`);
  doing = undefined;
}

/** Instead, where there is more to say. */
export function told(text: string): void {
  say(`hv: ${text}`);
  doing = undefined;
}

/** @throws ViridianError when the answer is no, or nobody can answer. */
export async function confirm(flags: Flags, question: string): Promise<void> {
  if (flags.yes) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new ViridianError('invalid', `${question} Nobody is here to answer: give --yes`);
  const { createInterface } = await import('node:readline/promises');
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(`${question} [y/N] `);
    if (!/^y(es)?$/i.test(answer.trim())) throw new ViridianError('failure', 'nothing was done');
  } finally {
    lines.close();
  }
}

/** Runs a job with a bar on the terminal. Ctrl-C cancels it where it can be. */
export async function withProgress<T>(title: string, work: (options: JobOptions) => Promise<T>): Promise<T> {
  const bar = new ProgressBar(title);
  const abort = new AbortController();
  let last: Job | undefined;
  const interrupt = (): void => abort.abort();
  process.on('SIGINT', interrupt);
  try {
    return await work({
      signal: abort.signal,
      progress: (job) => {
        last = job;
        if (!abort.signal.aborted && !several) bar.update(job.progress, 1);
      },
    });
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    bar.stop();
    if (last?.state === 'running') say(`hv: it cannot be cancelled now, and goes on: job ${last.id}`);
    throw new Interrupted('interrupted');
  } finally {
    process.off('SIGINT', interrupt);
    bar.stop();
  }
}

/** VMs that something is done to at a time. */
const AT_A_TIME = 4;
/** Several bars on one line would be none. */
let several = false;

/** The same for each of several VMs, all of them tried; the first failure's code. */
export async function forEach(
  names: readonly string[],
  work: (vm: Vm) => Promise<void>,
): Promise<ExitCode | undefined> {
  const host = await service();
  let failed: unknown;
  several = names.length > 1;
  const left = [...names];
  const next = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      try {
        await work(await host.get(name));
      } catch (error) {
        if (names.length === 1 || error instanceof Interrupted) throw error;
        failed ??= error;
        say(`hv: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, next));
  if (failed === undefined) return undefined;
  const { ERROR_EXIT_CODES, isViridianError } = await import('../../contracts/errors.ts');
  return isViridianError(failed) ? ERROR_EXIT_CODES[failed.code] : EXIT.failure;
}
