/**
 * The switch process: `node switch-process.ts FOLDER`. All switches of one management service, between all workers; started by VMMS,
 * detached, so that it outlives it. It ends by itself when nobody has needed it for a while.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { SWITCH_FILES } from '../../contracts/switches.ts';
import type { FrameDevice } from '../../host/network.ts';
import { nodeNetwork, nodeNetworkTime } from '../../host/node/network.ts';
import { openTap } from '../../host/node/tap.ts';
import { SwitchRoom } from '../remote/switch-room.ts';
import { SwitchServer } from './switch-server.ts';

/** Milliseconds without a port. */
const IDLE = 20_000;
const LOOK = 2000;

const folder = process.argv[2];
if (folder === undefined) throw new Error('the switch process is started by the management service, with its folder');
process.umask(0o077);
process.title = 'viridian-switch';
mkdirSync(folder, { recursive: true, mode: 0o700 });

/** A read of a device cannot be called off, so one that was closed is kept for who opens it next. */
const taps = new Map<string, FrameDevice>();

const room = new SwitchRoom({
  host: nodeNetwork,
  time: nodeNetworkTime,
  openTap: (name) => {
    const device = taps.get(name) ?? openTap(name);
    taps.set(name, device);
    return { ...bound(device), close: () => device.onFrame(() => {}) };
  },
  readLeases: (file) => {
    try {
      return JSON.parse(readFileSync(file, 'utf8'));
    } catch {
      return undefined;
    }
  },
  writeLeases: (file, state) => {
    try {
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      writeFileSync(`${file}.partial`, `${JSON.stringify(state)}\n`, { mode: 0o600 });
      renameSync(`${file}.partial`, file);
    } catch (error) {
      // Addresses are given out all the same; after a restart they may be others.
      console.error(error);
    }
  },
  calendar: () => performance.timeOrigin + performance.now(),
  tell: (event) => server.tell(event),
});

function bound(device: FrameDevice): Omit<FrameDevice, 'close'> {
  return {
    name: device.name,
    send: (frame) => device.send(frame),
    onFrame: (receive) => device.onFrame(receive),
  };
}

let ending = false;
async function end(): Promise<void> {
  if (ending) return;
  ending = true;
  room.close();
  await server.close();
  // A thread may wait for a TAP device for ever, and an exit would wait for it.
  if (taps.size > 0) process.kill(process.pid, 'SIGKILL');
  process.exit(0);
}

const server: SwitchServer = new SwitchServer(room, () => void end());

// A terminal that goes away is no reason to end.
process.on('SIGHUP', () => {});
process.on('SIGINT', () => {});
process.on('SIGTERM', () => void end());

let idleSince: number | undefined = performance.now();
setInterval(() => {
  if (room.used) idleSince = undefined;
  else idleSince ??= performance.now();
  if (idleSince !== undefined && performance.now() - idleSince > IDLE) void end();
}, LOOK);

await server.listen(join(folder, SWITCH_FILES.control), join(folder, SWITCH_FILES.ports));
