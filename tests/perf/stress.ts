/**
 * Network, disk, processor and memory of a Debian guest at once, for as long as wished: `npm run stress -- IMAGE.vhdx [--minutes
 * 30] [--memory MIB] [--processors N] [--log FILE]`. The image is one of `hv image create debian --include fio,iperf3,stress-ng`,
 * and stays as it is; the host has iperf3. Each minute is a line: memory of this process (partition and devices are in it), what
 * went over network and disk, what the guest's kernel has complained of. At the end the guest is shut down and its file system
 * checked. Ends with 1 when a program failed, the kernel complained, memory grew or the file system was damaged.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type { InspectNode, Partition } from '../../src/contracts/partition.ts';
import { nodeCodecs } from '../../src/host/node/codecs.ts';
import { findCommand, runCommand } from '../../src/host/node/command.ts';
import { nodeDiskFiles } from '../../src/host/node/disk-files.ts';
import { convertDisk, createDisk } from '../../src/storage/index.ts';
import { createPartition } from '../../src/vmwp/index.ts';

const MIB = 2 ** 20;
const MINUTE = 60_000;
/** What the processors' caches and translations take until they are full is no growth: the first part of the run does not count. */
const WARM_UP = 0.34;
/** Of the median of the second third to that of the last. */
const MOST_GROWTH = 0.05;
const BOOT_PATIENCE = 1200;
/** Tests of iperf3 that fail one after the other. */
const MOST_REFUSED = 10;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '30' },
    memory: { type: 'string', default: '1024' },
    processors: { type: 'string', default: '1' },
    log: { type: 'string' },
  },
});
const [image] = positionals;
if (image === undefined)
  throw new Error('give an image: hv image create debian IMAGE.vhdx --include fio,iperf3,stress-ng');
if (findCommand('iperf3') === undefined) throw new Error('there is no iperf3 here: apt-get install iperf3');
const minutes = Number(values.minutes);

function say(text: string): void {
  const line = `${new Date().toISOString().slice(11, 19)} ${text}`;
  console.log(line);
  if (values.log !== undefined) appendFileSync(values.log, `${line}\n`);
}

const problems: string[] = [];
function problem(text: string): void {
  problems.push(text);
  say(`PROBLEM ${text}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

async function inGuest(partition: Partition, command: string): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await partition.exec(['sh', '-c', command], { timeout: MINUTE });
  return { code, text: Buffer.concat([stdout, stderr]).toString() };
}

/** A program that is to run for the whole time, and to end well. */
async function load(partition: Partition, name: string, command: string): Promise<void> {
  say(`${name}: ${command}`);
  const { code, text } = await inGuest(partition, command);
  const last = text.trim().split('\n').slice(-12).join('\n    ');
  say(`${name} ended with ${code}\n    ${last}`);
  if (code !== 0) problem(`${name} ended with ${code}`);
}

/** iperf3 from the host through a port forward, both directions at a time, again and again. */
async function network(port: number, until: number): Promise<void> {
  let bytes = 0;
  let refused = 0;
  while (Date.now() < until) {
    const seconds = Math.max(1, Math.min(60, Math.round((until - Date.now()) / 1000)));
    const child = spawn('iperf3', ['-c', '127.0.0.1', '-p', String(port), '-t', String(seconds), '--bidir', '-J']);
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => void (output += text));
    const code = await new Promise((done) => child.on('close', done));
    const result = JSON.parse(output) as {
      error?: string;
      end?: { sum_received?: { bytes: number }; sum_received_bidir_reverse?: { bytes: number } };
    };
    // With -J it may end with 0 all the same. Between two tests the server does not listen for a moment, longer on a busy guest.
    const failed = code !== 0 || result.error !== undefined;
    refused = failed ? refused + 1 : 0;
    if (refused === MOST_REFUSED) problem(`iperf3: ${result.error ?? `ended with ${String(code)}`}`);
    if (failed) await new Promise((done) => setTimeout(done, 1000));
    bytes += (result.end?.sum_received?.bytes ?? 0) + (result.end?.sum_received_bidir_reverse?.bytes ?? 0);
  }
  say(`iperf3: ${(bytes / MIB).toFixed(0)} MiB both ways`);
  if (bytes === 0) problem('iperf3 moved nothing');
}

function sum(tree: InspectNode, name: string): number {
  return Object.entries(tree).reduce((total, [key, value]) => {
    if (typeof value === 'object') return total + sum(value, name);
    return key === name && typeof value === 'number' ? total + value : total;
  }, 0);
}

function median(all: readonly number[]): number {
  return [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
}

const folder = mkdtempSync(join(tmpdir(), 'viridian-stress-'));
const host = { files: nodeDiskFiles, codecs: nodeCodecs };
try {
  const disk = join(folder, 'disk.vhdx');
  const parent = resolve(image);
  await createDisk(host, disk, { format: 'vhdx', type: 'differencing', parent, allowParent: [parent] });
  const port = await freePort();
  await using partition = await createPartition({
    memory: Number(values.memory) * MIB,
    processors: Number(values.processors),
    disks: [{ file: disk, allowParent: [parent] }],
    nics: [{ network: 'nat', forwards: [{ protocol: 'tcp', hostPort: port, guestPort: 5201 }] }],
    onReboot: 'stop',
  });
  let shown = '';
  partition.console.onData((bytes) => {
    shown = (shown + new TextDecoder('latin1').decode(bytes)).slice(-4000);
  });
  const started = Date.now();
  partition.start();
  for (let second = 0; !shown.includes('login: '); second++) {
    if (second > BOOT_PATIENCE) throw new Error(`no login after ${BOOT_PATIENCE} s: ${shown}`);
    await new Promise((done) => setTimeout(done, 1000));
  }
  say(`login after ${((Date.now() - started) / 1000).toFixed(0)} s`);
  await inGuest(partition, 'systemctl is-system-running --wait');
  const complaints = 'dmesg --level=emerg,alert,crit,err,warn --notime';
  const known = (await inGuest(partition, complaints)).text;
  say(`the kernel's warnings so far:\n    ${known.trim().replaceAll('\n', '\n    ')}`);

  const seconds = Math.round((minutes * MINUTE) / 1000);
  const until = Date.now() + seconds * 1000;
  // Debian's package has a unit of the program's own name.
  const server = await inGuest(partition, 'systemd-run --quiet --unit=stress-iperf3 iperf3 -s');
  if (server.code !== 0) throw new Error(`no iperf3 in the guest: ${server.text}`);
  const fio = `fio --name=stress --filename=/var/tmp/fio --size=256M --rw=randrw --bs=16k --direct=1 --ioengine=libaio --iodepth=8 --verify=crc32c --verify_backlog=256 --time_based --runtime=${seconds} --minimal`;
  const stress = `stress-ng --cpu 1 --vm 1 --vm-bytes 96M --fork 1 --switch 1 --pipe 1 --timer 1 --verify --timeout ${seconds} --metrics-brief`;
  const all = Promise.all([load(partition, 'fio', fio), load(partition, 'stress-ng', stress), network(port, until)]);
  let done = false;
  const samples: number[] = [];
  all.finally(() => (done = true)).catch(() => undefined);
  for (let next = Date.now() + MINUTE; !done; next += MINUTE) {
    await Promise.race([all, new Promise((wake) => setTimeout(wake, Math.max(0, next - Date.now())))]);
    if (done) break;
    const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
    samples.push(rss);
    const tree = await partition.inspect();
    const mib = (bytes: number): string => (bytes / MIB).toFixed(0);
    const counts = ['readBytes', 'writtenBytes', 'receivedBytes', 'sentBytes']
      .map((name) => `${name} ${mib(sum(tree, name))}`)
      .join(', ');
    say(
      `minute ${samples.length}: RSS ${mib(rss)} MiB (heap ${mib(heapUsed)}, external ${mib(external)}, buffers ${mib(arrayBuffers)}); MiB: ${counts}`,
    );
    const now = (await inGuest(partition, complaints)).text;
    if (now !== known && !problems.includes(now)) problem(now.slice(known.length).trim());
  }
  await all;

  const counted = samples.slice(Math.floor(samples.length * WARM_UP));
  const half = Math.floor(counted.length / 2);
  const [early, late] = [median(counted.slice(0, half)), median(counted.slice(half))];
  const growth = late / early - 1;
  say(`memory: ${(early / MIB).toFixed(0)} MiB, later ${(late / MIB).toFixed(0)} MiB: ${(growth * 100).toFixed(1)} %`);
  if (counted.length < 4) say('too short to tell whether memory grows');
  else if (growth > MOST_GROWTH) problem(`memory grew by ${(growth * 100).toFixed(1)} %`);

  const failed = (await inGuest(partition, 'systemctl --failed --plain --no-legend')).text;
  if (failed !== '') problem(failed.trim());
  await partition.shutdown();
  const reason = await partition.stopped;
  if (reason.kind !== 'powerOff') problem(`the guest ended by ${reason.kind}`);
  const raw = join(folder, 'disk.raw');
  await convertDisk(host, {
    from: { path: disk, format: 'vhdx', allowParent: [parent] },
    to: { path: raw, format: 'raw', type: 'dynamic' },
  });
  const fsck = await runCommand(findCommand('fsck.ext4') ?? 'fsck.ext4', ['-fn', `${raw}?offset=${MIB}`]);
  if (fsck.code === 0) say('the file system is clean');
  else problem(`fsck.ext4: ${fsck.stdout}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
say(problems.length === 0 ? 'no problem' : `${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
