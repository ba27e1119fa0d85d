// The NAT network with Linux's own network stack as its guest: a TAP device in a network namespace of its own, joined with
// a switch in this process. Runs in a user namespace (`unshare -rn`), so that it needs no privileges where the host
// allows those; prints one line of JSON for each scenario. Started by kernel.test.ts.

import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { nodeNetwork, nodeNetworkTime } from '../../src/host/node/network.ts';
import { openTap } from '../../src/host/node/tap.ts';
import { finished } from '../../src/vswitch/offload.ts';
import type { Frame } from '../../src/vswitch/port.ts';
import { createSwitch } from '../../src/vswitch/switch.ts';
import { Random } from '../oracle/generate.ts';

const [busybox = '', folder = ''] = process.argv.slice(2);
const MAC = '00-15-5D-01-02-03';
const GATEWAY = '172.30.0.1';
/** An address of the host's that the network is told nothing about, so that it counts as the world. */
const OUTSIDE = '198.51.100.1';

function here(command: string): void {
  const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
}

const children: (() => void)[] = [];

/** Waits until the child has left our namespace. */
async function newNamespace(): Promise<number> {
  const child = spawn('unshare', ['-n', 'sleep', '600']);
  children.push(() => child.kill('SIGKILL'));
  const ours = readFileSync('/proc/self/net/dev', 'utf8');
  for (let n = 0; n < 100; n++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const theirs = spawnSync('readlink', [`/proc/${child.pid}/ns/net`], { encoding: 'utf8' }).stdout;
    const own = spawnSync('readlink', ['/proc/self/ns/net'], { encoding: 'utf8' }).stdout;
    if (theirs !== '' && theirs !== own) return child.pid!;
  }
  throw new Error(`no second namespace: ${ours.length}`);
}

here('ip link set lo up');
here(`ip addr add ${OUTSIDE}/32 dev lo`);
let pingAllowed = true;
try {
  writeFileSync('/proc/sys/net/ipv4/ping_group_range', '0 0');
} catch {
  pingAllowed = false;
}
const guest = await newNamespace();
const tap = openTap('tap0');
here(`ip link set tap0 netns ${guest}`);

/** No scenario takes a tenth of this: one that hangs is told by its name, and the next begins. */
const LONGEST = 60_000;

/** Runs in the guest's namespace; output of both kinds, and the exit status at the end. */
function inGuest(command: string): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn('nsenter', ['-t', String(guest), '-n', 'sh', '-c', command.replaceAll('BB', busybox)], {
      detached: true,
    });
    const hung = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), LONGEST);
    let text = '';
    child.stdout.on('data', (data: Buffer) => (text += data.toString()));
    child.stderr.on('data', (data: Buffer) => (text += data.toString()));
    child.on('close', (status) => {
      clearTimeout(hung);
      resolve(`${text.trim()} [${status ?? 'never ended'}]`);
    });
  });
}

const host = { ...nodeNetwork, addresses: () => ['127.0.0.1'] };
const NAME_SERVER = { address: OUTSIDE, port: 5300 };
const net = createSwitch(
  { name: 'net', kind: 'nat', nat: { hostAccess: 'all', resolvers: [NAME_SERVER] } },
  { time: nodeNetworkTime, host },
);
const port = net.connect({ vm: 'web', mac: MAC });

/** Of a hundred frames so many are lost, doubled, or overtaken by the next. */
let trouble = 0;
let kept: (() => void) | undefined;
const random = new Random(7);
let large = 0;
function troubled(frame: Frame, pass: (frame: Frame) => void): void {
  if (frame.segmentSize > 0) large++;
  // Segment by segment, so that there is much to lose.
  for (const piece of trouble > 0 ? finished(frame) : [frame]) pieceOf(piece, pass);
}

/** Let go of before it is passed: what answers at once comes here again. */
function passKept(): void {
  const pass = kept;
  kept = undefined;
  pass?.();
}

function pieceOf(frame: Frame, pass: (frame: Frame) => void): void {
  if (random.below(100) < trouble) return;
  if (random.below(100) < trouble) pass(frame);
  if (random.below(100) < trouble) {
    passKept();
    kept = () => pass(frame);
    setTimeout(passKept, 2);
    return;
  }
  pass(frame);
  passKept();
}
tap.onFrame((frame) => troubled(frame, (each) => port.send({ ...each, bytes: each.bytes.slice() })));
port.onFrame((frame) => {
  troubled(frame, (each) => tap.send(each));
  return true;
});

function report(name: string, result: unknown): void {
  process.stdout.write(`${JSON.stringify({ name, result })}\n`);
}

const data = randomBytes(20_000_000);
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
/** Sends the data to who says `get`; answers anybody else with the digest of what came, when that is all. */
const server = createServer({ allowHalfOpen: true }, (socket) => {
  const hash = createHash('sha256');
  socket.once('data', (first: Buffer) => {
    if (first.toString() === 'get\n') return void socket.end(data);
    hash.update(first);
    socket.on('data', (more) => hash.update(more));
    socket.on('end', () => socket.end(hash.digest('hex')));
  });
  socket.on('error', () => {});
});
await new Promise<void>((resolve) => server.listen(7000, OUTSIDE, resolve));
const service = createServer((socket) => socket.end('of the host'));
await new Promise<void>((resolve) => service.listen(7001, '127.0.0.1', resolve));
const echo = createSocket('udp4').on('message', (bytes, from) => echo.send(bytes, from.port, from.address));
await new Promise<void>((resolve) => echo.bind(7000, OUTSIDE, resolve));
/** A name server that knows one address for every name. */
const names = createSocket('udp4').on('message', (query, from) => {
  const answer = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80];
  const header = [query[0]!, query[1]!, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
  names.send(Uint8Array.from([...header, ...query.subarray(12), ...answer]), from.port, from.address);
});
await new Promise<void>((resolve) => names.bind(NAME_SERVER.port, NAME_SERVER.address, resolve));
writeFileSync(join(folder, 'data'), data);
writeFileSync(
  join(folder, 'udhcpc'),
  `#!/bin/sh\n[ "$1" = bound ] || exit 0\nip addr add $ip/$mask dev $interface; ip route add default via $router\necho "$ip/$mask $router $dns $domain $hostname $mtu"\n`,
  { mode: 0o755 },
);

await inGuest(`ip link set tap0 address ${MAC.replaceAll('-', ':')}; ip link set lo up; ip link set tap0 up`);
report('dhcp', await inGuest(`BB udhcpc -f -q -n -i tap0 -s ${join(folder, 'udhcpc')} 2>/dev/null`));
report('ping gateway', await inGuest(`BB ping -q -c 3 ${GATEWAY} | grep loss`));
report('ping gateway, large', await inGuest(`BB ping -q -c 2 -s 20000 ${GATEWAY} | grep loss`));
report('ping outside', pingAllowed ? await inGuest(`BB ping -q -c 2 ${OUTSIDE} | grep loss`) : 'not allowed here');
report('dns', await inGuest(`BB nslookup -type=a host.viridian.internal ${GATEWAY} | grep ^Address | tail -1`));
report('dns, forwarded', await inGuest(`BB nslookup -type=a www.example.com ${GATEWAY} | grep ^Address | tail -1`));
report('refused', await inGuest(`BB nc ${OUTSIDE} 9`));
report('prohibited', await inGuest('BB nc 169.254.169.254 80'));
report('host service', await inGuest(`BB nc ${GATEWAY} 7001`));
const greet = `const s=require('dgram').createSocket('udp4');s.on('message',m=>{console.log(m.length);s.close()});s.send(Buffer.alloc(SIZE),7000,'${OUTSIDE}')`;
// In fragments both ways, the second.
for (const size of [100, 9000])
  report(`udp ${size}`, await inGuest(`BB timeout 5 ${process.execPath} -e "${greet.replace('SIZE', String(size))}"`));
report('download', (await inGuest(`echo get | BB nc ${OUTSIDE} 7000 | sha256sum`)).startsWith(sha256(data)));
report('upload', (await inGuest(`BB nc ${OUTSIDE} 7000 < ${join(folder, 'data')}`)).startsWith(sha256(data)));
report('large frames', large > 100);

const forward = await net.nat!.forward({
  protocol: 'tcp',
  address: '127.0.0.1',
  hostPort: 0,
  guestPort: 80,
  target: 'web',
});
const listening = inGuest('BB nc -l -p 80 | sha256sum');
await new Promise((resolve) => setTimeout(resolve, 300));
const client = connect(forward.port, '127.0.0.1', () => client.end(data));
client.on('error', () => {}).resume();
report('forward', (await listening).startsWith(sha256(data)));

const small = data.subarray(0, 3_000_000);
writeFileSync(join(folder, 'data'), small);
trouble = 2;
report('troubled upload', (await inGuest(`BB nc ${OUTSIDE} 7000 < ${join(folder, 'data')}`)).startsWith(sha256(small)));
server.removeAllListeners('connection').on('connection', (socket) =>
  socket
    .end(small)
    .on('error', () => {})
    .resume(),
);
report('troubled download', (await inGuest(`BB nc ${OUTSIDE} 7000 < /dev/null | sha256sum`)).startsWith(sha256(small)));
trouble = 0;
const snmp = await inGuest('cat /proc/net/snmp');
const tcp = snmp.split('\n').filter((line) => line.startsWith('Tcp:'));
const column = tcp[0]!.split(' ').indexOf('InCsumErrors');
report('checksum errors', Number(tcp[1]!.split(' ')[column]));
await new Promise((resolve) => setTimeout(resolve, 4000));
const { tcp: state } = (
  net.inspect() as { nat: { tcp: { connections: number; heldBytes: number; retransmitted: number } } }
).nat;
report('repairs', state.retransmitted > 20);
report('left', { connections: state.connections, heldBytes: state.heldBytes, retransmitted: state.retransmitted });
for (const end of children) end();
process.exit(0);
