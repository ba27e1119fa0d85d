/** The entry of a worker process: `node worker-process.ts FOLDER [ahead]`. */
import { createPartition, getReady } from '../index.ts';
import { rehearse } from './rehearsal.ts';
import { runWorker, untilWanted } from './worker.ts';

const folder = process.argv[2];
if (folder === undefined) throw new Error('a worker process is started by the management service, with its folder');
void start();

async function start(): Promise<void> {
  let isWanted = false;
  const wanted = untilWanted().then(() => {
    isWanted = true;
  });
  if (process.argv[3] === 'ahead') {
    await getReady();
    // What goes wrong there says who needs it.
    await rehearse(createPartition, () => isWanted).catch((error: unknown) => console.error(error));
    await getReady();
  }
  await wanted;
  process.exit(await runWorker(folder!, createPartition));
}
