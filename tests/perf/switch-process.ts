// How fast frames go from one worker process to another, through the switch process: `node tests/perf/switch-process.ts [--seconds N]
// [--json]`. By the clock, and for a second of the switch process's own processor time, which a busy machine does not change much.

import { fork, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { SWITCH_FILES, type SwitchEvent, type SwitchMethods } from '../../src/contracts/switches.ts';
import { nodeNetworkTime } from '../../src/host/node/network.ts';
import { RequestLink } from '../../src/vmms/worker-link.ts';
import { hex } from '../../src/vswitch/guest.fixture.ts';
import { openWire } from '../../src/vswitch/node/wire.ts';
import { portSpec } from '../../src/vswitch/remote/remote.fixture.ts';
import { RemotePort } from '../../src/vswitch/remote/remote-port.ts';

const MIB = 2 ** 20;
const A = '00:15:5d:00:00:01';
const B = '00:15:5d:00:00:02';
/** Bytes that a TCP window would let be on their way. */
const WINDOW = 2 * MIB;

function adapter(folder: string, id: string): Promise<RemotePort> {
  const socket = join(folder, SWITCH_FILES.ports);
  const port = new RemotePort({ id, time: nodeNetworkTime, open: (events) => openWire(socket, events) });
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (port.counters.connections === 0) return;
      clearInterval(timer);
      resolve(port);
    }, 10);
  });
}

function frame(from: string, to: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set([...hex(to), ...hex(from), 0x88, 0xb5]);
  return bytes;
}

/** The other worker: says how much it has been given, and answers small frames. */
async function receive(folder: string): Promise<void> {
  const port = await adapter(folder, 'b');
  let unsaid = 0;
  port.onFrame(({ bytes }) => {
    if (bytes[14] === 1) {
      port.send({ bytes: frame(B, A, 60), segmentSize: 0, checksum: 'complete' });
      return true;
    }
    unsaid += bytes.length;
    if (unsaid >= WINDOW / 8) {
      const report = frame(B, A, 64);
      new DataView(report.buffer).setUint32(20, unsaid);
      port.send({ bytes: report, segmentSize: 0, checksum: 'complete' });
      unsaid = 0;
    }
    return true;
  });
  process.send?.('ready');
  setInterval(() => {}, 1000);
}

/** Seconds of processor time that a process has taken (proc(5): ticks of 10 ms). */
function processorTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '3' },
      json: { type: 'boolean', default: false },
      receive: { type: 'string' },
    },
  });
  if (values.receive !== undefined) return await receive(values.receive);
  const seconds = Number(values.seconds);
  const folder = mkdtempSync(join(tmpdir(), 'vsw-'));
  const entry = fileURLToPath(new URL('../../src/vswitch/node/switch-process.ts', import.meta.url));
  const child = spawn(process.execPath, ['--no-warnings', entry, folder], { stdio: ['ignore', 'inherit', 'inherit'] });
  const connect = (): Promise<RequestLink<SwitchMethods, SwitchEvent>> =>
    RequestLink.open<SwitchMethods, SwitchEvent>(
      'the switch process',
      join(folder, SWITCH_FILES.control),
      () => {},
    ).catch(async () => {
      await new Promise((resolve) => setTimeout(resolve, 50));
      return await connect();
    });
  const link = await connect();
  await link.request('setSwitch', {
    name: 'lan',
    kind: 'Private',
    device: null,
    subnet: null,
    hostAccess: [],
    leases: null,
  });
  await link.request('setPort', portSpec('a', A));
  await link.request('setPort', portSpec('b', B));
  const other = fork(fileURLToPath(import.meta.url), ['--receive', folder]);
  await new Promise((resolve) => other.once('message', resolve));
  const port = await adapter(folder, 'a');
  let onWay = 0;
  let arrived = 0;
  let pong = (): void => {};
  let room = (): void => {};
  port.onFrame(({ bytes }) => {
    const count = bytes.length === 64 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(20) : 0;
    if (count === 0) pong();
    arrived += count;
    onWay -= count;
    room();
    return true;
  });
  const results: Record<string, number> = {};
  for (const length of [65_014, 1514, 60]) {
    const bytes = frame(A, B, length);
    const [from, ours] = [performance.now(), processorTime(child.pid!)];
    arrived = 0;
    while (performance.now() - from < seconds * 1000) {
      // As an adapter: so many frames in one turn, each its own bytes.
      for (let n = 0; n < 64 && onWay + length <= WINDOW; n++) {
        port.send({ bytes: bytes.slice(), segmentSize: 0, checksum: 'complete' });
        onWay += length;
      }
      await new Promise<void>((resolve) => {
        if (onWay + length <= WINDOW) setImmediate(resolve);
        else room = resolve;
      });
    }
    const elapsed = (performance.now() - from) / 1000;
    results[`${length} bytes, MiB/s`] = arrived / MIB / elapsed;
    results[`${length} bytes, MiB in a second of the switch process`] =
      arrived / MIB / (processorTime(child.pid!) - ours);
    results[`${length} bytes, frames/s`] = arrived / length / elapsed;
  }
  const times: number[] = [];
  for (let n = 0; n < 500; n++) {
    const start = performance.now();
    const ping = frame(A, B, 60);
    ping[14] = 1;
    await new Promise<void>((resolve) => {
      pong = resolve;
      port.send({ bytes: ping, segmentSize: 0, checksum: 'complete' });
    });
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  results['there and back, median in µs'] = times[250]! * 1000;
  if (values.json) console.log(JSON.stringify(results, null, 2));
  else
    for (const [name, value] of Object.entries(results))
      console.log(`${name.padEnd(56)} ${value.toFixed(0).padStart(9)}`);
  other.kill();
  child.kill();
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
}

await main();
