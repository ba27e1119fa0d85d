/** Starts the management service of this user, when there is none. It goes on when its starter ends. */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ViridianError } from '../contracts/errors.ts';
import { runtimeFolder } from '../host/node/folders.ts';
import { processArguments } from '../host/node/program.ts';
import { NoService, type Transport } from './transport.ts';

const PATIENCE = 30_000;

/** Resolves when it answers. @throws ViridianError with its last words. */
export async function startService(transport: Transport): Promise<void> {
  const folder = runtimeFolder();
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, 'service.log');
  const log = openSync(path, 'a', 0o600);
  const from = readFileSync(path).length;
  const child = spawn(process.execPath, processArguments('service-process'), {
    detached: true,
    stdio: ['ignore', log, log],
    cwd: '/',
  });
  closeSync(log);
  child.unref();
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    try {
      await transport.call('getVersion');
      return;
    } catch (error) {
      if (!(error instanceof NoService)) throw error;
    }
    if (child.exitCode !== null || Date.now() > deadline) {
      const words = readFileSync(path).subarray(from).toString('utf8').trim();
      // Two commands at once: the other one's service may be about to answer.
      if (child.exitCode !== null && /runs already/.test(words) && Date.now() < deadline - PATIENCE / 2) continue;
      throw new ViridianError('failure', `the management service does not start: ${words || 'it does not say why'}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
