/** The entry of a worker process: `node worker-process.ts FOLDER`. */
import { createPartition } from '../index.ts';
import { runWorker } from './worker.ts';

const folder = process.argv[2];
if (folder === undefined) throw new Error('a worker process is started by the management service, with its folder');
void runWorker(folder, createPartition).then((code) => process.exit(code));
