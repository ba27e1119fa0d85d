// The network next to QEMU's: `node tests/perf/guest-network.ts [--megabytes N] [--seconds N] [--rounds N] [--large] [--json]`. Both
// machines boot the same kernel with busybox; ours has hv_netvsc on NAT, QEMU virtio-net on its user network. The guest fetches
// from this process over TCP, sends to it (seconds are this process's, from the first byte to the last), pings its gateway, and
// runs Debian's iperf3 both ways with a server on this host.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cachedFiles, DebianPackages, rememberFiles } from '../../src/cli/quickstart/debian.ts';
import { buildInitramfs } from '../../src/cli/quickstart/initramfs.ts';
import { collectModules } from '../../src/cli/quickstart/modules.ts';
import { runCommand } from '../../src/host/node/command.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { IPERF, iperfArchive, iperfFiles, iperfServer } from './iperf.ts';
import { qemuVersion } from './machines.ts';
import { shippedLibrary } from './shipped.ts';

const MIB = 2 ** 20;
const PINGS = 250;

interface Figures {
  readonly receive: number;
  readonly send: number;
  /** iperf3's, MiB a second: what the receiver has got. */
  readonly iperfReceive: number;
  readonly iperfSend: number;
  /** Milliseconds, the median. */
  readonly ping: number;
}

/** Runs after the modules are loaded; then powers off. The ping comes last: it finds on both what the rest has made warm. */
function script(gateway: string, host: Host, megabytes: number, seconds: number): string {
  const { port, iperf } = host;
  const measured = `${IPERF} -c ${gateway} -p ${iperf} -t ${seconds} -f M`;
  return `#!/bin/sh
cat > /tmp/dhcp <<'END'
#!/bin/sh
[ "$1" = bound ] && ifconfig $interface $ip netmask $subnet
exit 0
END
chmod +x /tmp/dhcp
ifconfig eth0 up
udhcpc -n -q -i eth0 -s /tmp/dhcp || echo FAILED no address
${measured} -R 2>&1 | sed -n 's/.* \\([0-9.]*\\) MBytes\\/sec.*receiver/IPERF in \\1/p; /error/p'
${measured} 2>&1 | sed -n 's/.* \\([0-9.]*\\) MBytes\\/sec.*receiver/IPERF out \\1/p; /error/p'
wget -q -O /dev/null http://${gateway}:${port}/data
mkdir /tmp/www
dd if=/dev/zero of=/tmp/www/data bs=1M count=${megabytes} 2>/dev/null
httpd -p 80 -h /tmp/www
wget -q -O /dev/null http://${gateway}:${port}/fetch && echo FINISHED
ping -c ${PINGS} -i 0.01 ${gateway} | sed -n 's/.*time=\\([0-9.]*\\) ms/PING \\1/p'
poweroff -f
`;
}

/** This host's end: gives data, and fetches the guest's when it is told to. */
class Host {
  readonly #server: Server;
  readonly port: number;
  readonly published: number;
  readonly iperf: number;
  receive = 0;
  send = 0;

  private constructor(server: Server, published: number, iperf: number) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    this.published = published;
    this.iperf = iperf;
  }

  static async open(megabytes: number): Promise<Host> {
    const content = Buffer.alloc(megabytes * MIB, 'viridian');
    let host: Host | undefined;
    const server = createServer((asked, response) => {
      const started = performance.now();
      const seconds = (): number => (performance.now() - started) / 1000;
      if (asked.url === '/data') {
        response.writeHead(200, { 'content-length': content.length, connection: 'close' });
        response.on('close', () => {
          host!.receive = seconds();
        });
        response.end(content);
        return;
      }
      get({ host: '127.0.0.1', port: host!.published, path: '/data' }, (answer) => {
        let size = 0;
        answer.on('data', (bytes: Uint8Array) => {
          size += bytes.length;
        });
        answer.on('end', () => {
          if (size === content.length) host!.send = seconds();
          response.end('done');
        });
      }).on('error', () => response.destroy());
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    host = new Host(server, await freePort(), await freePort());
    return host;
  }
  close(): void {
    this.#server.close();
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface Boot {
  readonly kernel: string;
  readonly initrd: string;
  readonly host: Host;
  readonly large: boolean;
}

let library: ReturnType<typeof shippedLibrary> | undefined;

/** What the console shows until the machine is off. */
async function ours({ kernel, initrd, host, large }: Boot): Promise<string> {
  const hostAccess = [host.port, host.iperf].map((port) => ({ protocol: 'tcp' as const, port }));
  const forwards = [{ protocol: 'tcp' as const, hostPort: host.published, guestPort: 80 }];
  library ??= shippedLibrary();
  const createPartition = await library;
  await using partition = await createPartition({
    kernel,
    initrd,
    append: 'console=ttyS0 quiet',
    onReboot: 'stop',
    nics: [{ network: 'nat', hostAccess, forwards, largeFrames: large }],
  });
  let text = '';
  partition.console.onData((bytes) => {
    text += Buffer.from(bytes).toString('latin1');
  });
  partition.start();
  await partition.stopped;
  return text;
}

async function qemu({ kernel, initrd, host }: Boot): Promise<string> {
  const machine = [
    '-accel',
    'tcg',
    '-cpu',
    'max',
    '-m',
    '512',
    '-smp',
    '1',
    '-nodefaults',
    '-no-reboot',
    '-display',
    'none',
  ];
  const network = [
    '-netdev',
    `user,id=n,hostfwd=tcp:127.0.0.1:${host.published}-:80`,
    '-device',
    'virtio-net-pci,netdev=n,romfile=',
  ];
  const files = ['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet'];
  const child = spawn('qemu-system-x86_64', [...machine, '-serial', 'stdio', ...network, ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('latin1').on('data', (part: string) => {
    text += part;
  });
  await new Promise((resolve) => child.on('close', resolve));
  return text;
}

const MACHINES = {
  ours: { run: ours, gateway: '172.30.0.1' },
  qemu: { run: qemu, gateway: '10.0.2.2' },
} as const;

async function modules(packageName: string): Promise<{ readonly hyperv: Uint8Array; readonly virtio: Uint8Array }> {
  const folder = mkdtempSync(join(tmpdir(), 'viridian-network-'));
  try {
    const { code, stderr } = await runCommand('apt-get', ['download', '-q', packageName], { cwd: folder });
    if (code !== 0) throw new Error(`cannot download ${packageName}: ${stderr}`);
    await runCommand('sh', ['-c', 'dpkg-deb -x *.deb root'], { cwd: folder });
    const root = join(folder, 'root');
    return { hyperv: collectModules(root), virtio: collectModules(root, ['virtio_pci', 'virtio_net']) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

function lineOf({ receive, send, iperfReceive, iperfSend, ping }: Figures): string {
  const rates = [receive, send, iperfReceive, iperfSend].map((rate) => `${rate.toFixed(1)} MiB/s`);
  return `in ${rates[0]}, out ${rates[1]}, iperf3 in ${rates[2]}, out ${rates[3]}, ping ${ping.toFixed(3)} ms`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      megabytes: { type: 'string', default: '100' },
      seconds: { type: 'string', default: '4' },
      rounds: { type: 'string', default: '3' },
      large: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const megabytes = Number(values.megabytes);
  const cache = cacheFolder();
  const files = cachedFiles(cache) ?? {
    kernel: await new DebianPackages(cache).fetch('kernel'),
    busybox: await new DebianPackages(cache).fetch('busybox'),
  };
  rememberFiles(cache, files);
  const iperf = await iperfFiles();
  const { hyperv, virtio } = await modules(files.kernel.package);
  const names = (await qemuVersion()) === undefined ? (['ours'] as const) : (['ours', 'qemu'] as const);
  const results: Record<string, Figures[]> = {};
  const folder = mkdtempSync(join(tmpdir(), 'viridian-network-'));
  try {
    for (let round = 0; round < Number(values.rounds); round++)
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        const { run, gateway } = MACHINES[name];
        const host = await Host.open(megabytes);
        const initrd = join(folder, name);
        const console = script(gateway, host, megabytes, Number(values.seconds));
        const busybox = readFileSync(files.busybox.path);
        const image = buildInitramfs({ busybox, files: { 'etc/console': console } });
        writeFileSync(initrd, Buffer.concat([image, name === 'ours' ? hyperv : virtio, iperfArchive(iperf)]));
        const server = iperfServer(iperf, folder, host.iperf);
        const text = await run({ kernel: files.kernel.path, initrd, host, large: values.large });
        server.kill();
        host.close();
        if (!text.includes('FINISHED')) throw new Error(`${name} did not finish:\n${text.slice(-2000)}`);
        const pings = [...text.matchAll(/^PING ([\d.]+)/gm)].map((match) => Number(match[1]));
        const measured = (way: string): number => Number(new RegExp(`^IPERF ${way} ([\\d.]+)`, 'm').exec(text)?.[1]);
        const figures = {
          receive: megabytes / host.receive,
          send: megabytes / host.send,
          iperfReceive: measured('in'),
          iperfSend: measured('out'),
          ping: median(pings),
        };
        if (Object.values(figures).some(Number.isNaN))
          throw new Error(`${name} has no figure:\n${text.slice(0, 2000)}`);
        (results[name] ??= []).push(figures);
        process.stderr.write(`${name}: ${lineOf(figures)}\n`);
      }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const medians = Object.entries(results).map(([name, all]): readonly [string, Figures] => {
    const of = (key: keyof Figures): number => median(all.map((each) => each[key]));
    const [receive, send, ping] = [of('receive'), of('send'), of('ping')];
    return [name, { receive, send, iperfReceive: of('iperfReceive'), iperfSend: of('iperfSend'), ping }];
  });
  if (values.json) process.stdout.write(`${JSON.stringify(Object.fromEntries(medians), undefined, 2)}\n`);
  else for (const [name, figures] of medians) process.stdout.write(`${name.padEnd(6)} ${lineOf(figures)}\n`);
}

if (import.meta.main) await main();
