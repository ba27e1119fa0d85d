/**
 * Checkpoints as a user has them: how long a busy guest of 512 MB stands still, how long memory is copied beside it, and how long
 * going back and a fork take. Through the management service, with real guests.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildInitramfs } from '../../src/cli/quickstart/initramfs.ts';
import { Host, type Job, type Vm } from '../../src/client/index.ts';
import { Transport } from '../../src/client/transport.ts';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { runCommand } from '../../src/host/node/command.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { createDisk } from '../../src/storage/index.ts';
import { writeCpio } from '../../src/support/cpio.ts';
import { debianFiles } from './checkpoint-guest.ts';
import { assemblePrograms } from './image.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    memory: { type: 'string', default: '512' },
    /** MiB that the guest rewrites all the time. */
    busy: { type: 'string', default: '64' },
    processors: { type: 'string', default: '1' },
    /** What was built before is not built again. */
    built: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});

/** The command as it ships: what is built, in a folder of its own. */
function shipped(home: string): string {
  if (!values.built) execFileSync(process.execPath, [join(ROOT, 'tools/build.ts')], { stdio: ['ignore', 2, 2] });
  const root = join(home, 'package');
  mkdirSync(join(root, 'bin'), { recursive: true });
  cpSync(join(ROOT, 'bin/hv'), join(root, 'bin/hv'));
  cpSync(join(ROOT, 'package.json'), join(root, 'package.json'));
  for (const name of ['dist', 'node_modules']) symlinkSync(join(ROOT, name), join(root, name));
  return join(root, 'bin/hv');
}

/** What the guest does beside it: a file of 8 MiB on its disk, written and synced again and again. */
const DISK_WRITER =
  'while [ ! -b /dev/sda ]; do usleep 20000; done; while :; do dd if=/dev/zero of=/dev/sda bs=1M count=8 conv=fsync 2>/dev/null; done';

interface Figures {
  readonly name: string;
  readonly unit: 'ms' | 'MB';
  readonly values: number[];
}
const figures: Figures[] = [];
function note(name: string, value: number, unit: Figures['unit'] = 'ms'): void {
  let entry = figures.find((each) => each.name === name);
  if (entry === undefined) figures.push((entry = { name, unit, values: [] }));
  entry.values.push(value);
}

async function until(stream: AsyncIterable<Buffer>, text: string): Promise<string> {
  let shown = '';
  for await (const bytes of stream) {
    shown += bytes.toString('latin1');
    if (shown.includes('BAD')) throw new Error(`the guest's memory is not of one moment: ${shown.slice(-300)}`);
    if (shown.includes(text)) return shown;
  }
  throw new Error(`the console ended without '${text}': ${shown.slice(-300)}`);
}

/** The program has gone through its memory some times since. */
async function isWell(vm: Vm): Promise<void> {
  await using console = await vm.console({ history: false });
  let lines = 0;
  for await (const bytes of console) {
    const shown = bytes.toString('latin1');
    if (shown.includes('BAD')) throw new Error(`the guest's memory is not of one moment: ${shown.slice(-300)}`);
    lines += shown.split('\n').length - 1;
    if (lines >= 2) return;
  }
}

/** A worker waits for a fork, and has done what it does beforehand. */
async function workerWaits(): Promise<void> {
  const waits = (name: string): boolean => {
    const files = readdirSync(join(home, 'run/w', name));
    return files.includes('files.sock') && !files.includes('spec.json');
  };
  while (!readdirSync(join(home, 'run/w')).some(waits)) await new Promise((resolve) => setTimeout(resolve, 100));
  await new Promise((resolve) => setTimeout(resolve, 3000));
}

const home = mkdtempSync(join(tmpdir(), 'virb-'));
process.env.VIRIDIAN_HOME = home;
const hv = shipped(home);
try {
  const { kernel, busybox, modules } = await debianFiles();
  const programs = await assemblePrograms(['rewrite'], [`-DSIZE_MIB=${values.busy}`]);
  const initrd = join(home, 'initrd');
  const rewrite = writeCpio([{ kind: 'file', path: 'bin/rewrite', data: programs.get('rewrite')!, mode: 0o755 }]);
  writeFileSync(
    initrd,
    Buffer.concat([buildInitramfs({ busybox: readFileSync(busybox) }), readFileSync(modules), rewrite]),
  );
  const disk = join(home, 'disk.vhdx');
  await createDisk({ files: nodeDiskFiles, codecs: nodeCodecs }, disk, { format: 'vhdx', size: 2 ** 30 });
  const started = await runCommand(hv, ['ls']);
  if (started.code !== 0) throw new Error(started.stderr);
  const host = new Host(new Transport({ socket: join(home, 'run/vmms.sock') }));
  const vm = await host.create({
    name: 'busy',
    memory: Number(values.memory) * 2 ** 20,
    processors: Number(values.processors),
    boot: { kernel, initrd, append: 'console=ttyS0 quiet' },
    disks: [{ slot: 0, file: disk, format: 'vhdx' }],
    nics: [{ id: 'nic0', switch: null }],
  });
  await vm.start();
  {
    await using console = await vm.console();
    await until(console, ':/root# ');
  }
  {
    await using console = await vm.console({ history: false });
    console.write(`${DISK_WRITER} &\nrewrite &\n`);
    await until(console, '0000000000000010');
  }
  for (let round = 0; round < Number(values.rounds); round++) {
    const name = `round ${round}`;
    const made = await vm.checkpoint(name);
    note('checkpoint: the guest stands still', made.pause!);
    note('checkpoint: beside it', made.background!);
    note('checkpoint: its size', made.size / 2 ** 20, 'MB');
    await isWell(vm);

    let start = performance.now();
    await vm.apply(name);
    note('apply, to a running guest', performance.now() - start);
    await isWell(vm);

    let job: Job | undefined;
    await workerWaits();
    start = performance.now();
    const fork = await vm.fork(name, { name: `fork ${round}` }, { progress: (each) => (job = each) });
    note('fork: seen by the client', performance.now() - start);
    job = await host.transport.call('getJob', { params: { job: job!.id } });
    note('fork: the job', Date.parse(job.finishedAt!) - Date.parse(job.createdAt));
    await isWell(fork);
    await fork.stop({ turnOff: true });
    await fork.remove();

    start = performance.now();
    await vm.save();
    note('save of a VM that runs', performance.now() - start);
    start = performance.now();
    await vm.start();
    note('start of the saved VM', performance.now() - start);
    await isWell(vm);
  }
  await vm.stop({ turnOff: true });
} finally {
  for (const vm of (await runCommand(hv, ['ls', '-q'])).stdout.trim().split('\n'))
    await runCommand(hv, ['vm', 'stop', vm, '--turn-off']);
  await runCommand(hv, ['service', 'stop']);
  rmSync(home, { recursive: true, force: true });
}
if (values.json) process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`);
else
  for (const { name, unit, values: each } of figures) {
    const sorted = each.toSorted((a, b) => a - b);
    const [least, median, most] = [sorted[0]!, sorted[sorted.length >> 1]!, sorted.at(-1)!].map((n) => n.toFixed(0));
    process.stdout.write(`${name.padEnd(40)} ${median} ${unit} (${least} to ${most})\n`);
  }
