/** The entry of the single executable: one of its processes when it is started by that name, else the command. */
const [name] = process.argv.slice(2);

const PROCESSES: Readonly<Record<string, () => Promise<unknown>>> = {
  'service-process': () => import('../vmms/service-process.ts'),
  'worker-process': () => import('../vmwp/node/worker-process.ts'),
  'switch-process': () => import('../vswitch/node/switch-process.ts'),
};
const start = name === undefined ? undefined : PROCESSES[name];
// A process with an entry of its own does not see its name.
if (start !== undefined) process.argv.splice(2, 1);
void (start ?? (() => import('./main.ts')))();

export {};
