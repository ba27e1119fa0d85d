// The network next to QEMU's: `node tests/perf/network.ts [--megabytes N] [--rounds N] [--large] [--json]`. Both machines boot
// the same kernel with busybox; ours has hv_netvsc on NAT, QEMU virtio-net on its user network. The guest fetches from this
// process over TCP, sends to it, and pings its gateway. Seconds are this process's, from the first byte to the last.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cachedFiles, DebianPackages, rememberFiles } from '../../src/cli/quickstart/debian.ts';
import { buildInitramfs } from '../../src/cli/quickstart/initramfs.ts';
import { collectModules } from '../../src/cli/quickstart/modules.ts';
import { runCommand } from '../../src/host/node/command.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';
import { createPartition } from '../../src/vmwp/index.ts';
import { qemuVersion } from './machines.ts';

const MIB = 2 ** 20;
const PINGS = 50;

interface Figures {
  readonly receive: number;
  readonly send: number;
  /** Milliseconds, the median. */
  readonly ping: number;
}

/** Runs after the modules are loaded; then powers off. */
function script(gateway: string, receivePort: number, sendPort: number, megabytes: number): string {
  return `#!/bin/sh
cat > /tmp/dhcp <<'END'
#!/bin/sh
[ "$1" = bound ] && ifconfig $interface $ip netmask $subnet
exit 0
END
chmod +x /tmp/dhcp
ifconfig eth0 up
udhcpc -n -q -i eth0 -s /tmp/dhcp || echo FAILED no address
ping -c ${PINGS} -i 0.02 ${gateway} | sed -n 's/.*time=\\([0-9.]*\\) ms/PING \\1/p'
nc ${gateway} ${receivePort} < /dev/null > /dev/null
dd if=/dev/zero bs=64k count=${megabytes * 16} 2>/dev/null | nc ${gateway} ${sendPort}
echo FINISHED
poweroff -f
`;
}

/** The two ends on this host, each for one connection. */
class Ends {
  readonly #servers: Server[] = [];
  readonly receivePort: number;
  readonly sendPort: number;
  receive = 0;
  send = 0;

  private constructor(ports: readonly number[]) {
    [this.receivePort = 0, this.sendPort = 0] = ports;
  }

  static async open(megabytes: number): Promise<Ends> {
    const total = megabytes * MIB;
    const part = Buffer.alloc(256 * 1024, 'viridian');
    let ends: Ends | undefined;
    const sender = createServer((socket) => {
      const started = performance.now();
      let left = total;
      const more = (): void => {
        while (left > 0) {
          left -= part.length;
          if (!socket.write(part)) return;
        }
        socket.end();
      };
      socket.on('drain', more).on('error', () => undefined);
      socket.on('close', () => {
        ends!.receive = (performance.now() - started) / 1000;
      });
      more();
    });
    const taker = createServer((socket) => {
      let started = 0;
      let taken = 0;
      socket.on('data', (bytes) => {
        started ||= performance.now();
        taken += bytes.length;
        if (taken >= total) ends!.send = (performance.now() - started) / 1000;
      });
      socket.on('end', () => socket.end()).on('error', () => undefined);
    });
    const servers = [sender, taker];
    for (const server of servers)
      await new Promise<void>((resolve) => {
        server.listen(0, '127.0.0.1', resolve);
      });
    ends = new Ends(servers.map((server) => (server.address() as AddressInfo).port));
    ends.#servers.push(...servers);
    return ends;
  }
  close(): void {
    for (const server of this.#servers) server.close();
  }
}

interface Boot {
  readonly kernel: string;
  readonly initrd: string;
  readonly ends: Ends;
  readonly large: boolean;
}

/** What the console shows until the machine is off. */
async function ours({ kernel, initrd, ends, large }: Boot): Promise<string> {
  const hostAccess = [ends.receivePort, ends.sendPort].map((port) => ({ protocol: 'tcp' as const, port }));
  await using partition = await createPartition({
    kernel,
    initrd,
    append: 'console=ttyS0 quiet',
    onReboot: 'stop',
    nics: [{ network: 'nat', hostAccess, largeFrames: large }],
  });
  let text = '';
  partition.console.onData((bytes) => {
    text += Buffer.from(bytes).toString('latin1');
  });
  partition.start();
  await partition.stopped;
  return text;
}

async function qemu({ kernel, initrd }: Boot): Promise<string> {
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
  const network = ['-netdev', 'user,id=n', '-device', 'virtio-net-pci,netdev=n,romfile='];
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

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      megabytes: { type: 'string', default: '100' },
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
  const { hyperv, virtio } = await modules(files.kernel.package);
  const names = (await qemuVersion()) === undefined ? (['ours'] as const) : (['ours', 'qemu'] as const);
  const results: Record<string, Figures[]> = {};
  const folder = mkdtempSync(join(tmpdir(), 'viridian-network-'));
  try {
    for (let round = 0; round < Number(values.rounds); round++)
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        const { run, gateway } = MACHINES[name];
        const ends = await Ends.open(megabytes);
        const initrd = join(folder, name);
        const console = script(gateway, ends.receivePort, ends.sendPort, megabytes);
        const busybox = readFileSync(files.busybox.path);
        const image = buildInitramfs({ busybox, files: { 'etc/console': console } });
        writeFileSync(initrd, Buffer.concat([image, name === 'ours' ? hyperv : virtio]));
        const text = await run({ kernel: files.kernel.path, initrd, ends, large: values.large });
        ends.close();
        if (!text.includes('FINISHED')) throw new Error(`${name} did not finish:\n${text.slice(-2000)}`);
        const pings = [...text.matchAll(/^PING ([\d.]+)/gm)].map((match) => Number(match[1]));
        const figures = { receive: megabytes / ends.receive, send: megabytes / ends.send, ping: median(pings) };
        (results[name] ??= []).push(figures);
        process.stderr.write(
          `${name}: in ${figures.receive.toFixed(1)} MiB/s, out ${figures.send.toFixed(1)} MiB/s, ping ${figures.ping.toFixed(3)} ms\n`,
        );
      }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const medians = Object.fromEntries(
    Object.entries(results).map(([name, all]) => [
      name,
      {
        receive: median(all.map((each) => each.receive)),
        send: median(all.map((each) => each.send)),
        ping: median(all.map((each) => each.ping)),
      },
    ]),
  );
  if (values.json) process.stdout.write(`${JSON.stringify(medians, undefined, 2)}\n`);
  else
    for (const [name, { receive, send, ping }] of Object.entries(medians))
      process.stdout.write(
        `${name.padEnd(6)} in ${receive.toFixed(1)} MiB/s   out ${send.toFixed(1)} MiB/s   ping ${ping.toFixed(3)} ms\n`,
      );
}

if (import.meta.main) await main();
