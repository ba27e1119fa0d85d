/** The entry of a worker process: `node worker-process.ts FOLDER [ahead]`. */
import { createPartition, getReady } from '../index.ts';
import { runWorker, untilWanted } from './worker.ts';

const folder = process.argv[2];
if (folder === undefined) throw new Error('a worker process is started by the management service, with its folder');
void start();

async function start(): Promise<void> {
  if (process.argv[3] === 'ahead') await getReady();
  await untilWanted();
  process.exit(await runWorker(folder!, createPartition));
}
