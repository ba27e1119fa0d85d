/**
 * Our machine of a benchmark in a process of its own: the guest as JSON in the first argument. A line of JSON on stdout for what the
 * console writes, with the instructions retired by then, and one for how it ended. Uses dist/ as it is.
 */
import type { CreatePartition } from '../../src/contracts/partition.ts';
import type { Guest } from './machines.ts';

export type Line =
  | { readonly text: string; readonly instructions: number }
  | { readonly stopped: string; readonly instructions: number };

const { createPartition } = (await import(new URL('../../dist/index.js', import.meta.url).href)) as {
  createPartition: CreatePartition;
};
const { kernel, initrd, append, disk, memory } = JSON.parse(process.argv[2] ?? '') as Guest & { memory: number };
await using partition = await createPartition({
  kernel,
  initrd,
  append,
  memory: memory * 2 ** 20,
  onReboot: 'stop',
  disks: disk === undefined ? undefined : [{ file: disk, format: 'raw' }],
});
const say = (line: Line): void => {
  process.stdout.write(`${JSON.stringify(line)}\n`);
};
const instructions = (): number => Number(partition.stats().instructions);
const decoder = new TextDecoder();
partition.console.onData((bytes) =>
  say({ text: decoder.decode(bytes, { stream: true }), instructions: instructions() }),
);
partition.start();
const { kind } = await partition.stopped;
say({ stopped: kind, instructions: instructions() });
