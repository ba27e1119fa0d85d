/**
 * How long Debian takes from start to `login:`, and to power off, ours and QEMU's TCG with virtio-blk, the same image, one
 * after the other: `node tests/perf/debian-boot.ts IMAGE.vhdx [--rounds N] [--memory MIB]`. The image is one of `hv image
 * create debian`; with --user and --password it is also asked what took its time. The image stays as it is. Runs that are not measured
 * leave their translations first, as for a guest that has been run before; with --anew the first one is measured.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { qemuVersion, WARM_UP } from './machines.ts';
import { buildShipped } from './shipped.ts';
import { qemuFiles, type System, startCommand, startQemu } from './systems.ts';

interface Timing {
  readonly login: number;
  /** Processor time until then. */
  readonly processor: number;
  readonly down: number;
}

interface Flags {
  readonly user: string;
  readonly password: string | undefined;
  readonly verbose: boolean;
}

async function measure(start: () => System, { user, password, verbose }: Flags): Promise<Timing> {
  await using system = start();
  const { console: terminal } = system;
  await terminal.until('login: ');
  const login = terminal.seconds;
  const processor = system.processorSeconds();
  if (password === undefined) return { login, processor, down: Number.NaN };
  await terminal.logIn(user, password);
  if (verbose) {
    for (const command of [
      'systemd-analyze --no-pager',
      'systemd-analyze --no-pager blame | head -25',
      'systemd-analyze --no-pager critical-chain',
      'systemctl is-system-running --wait',
      'systemctl --no-pager --failed',
      'sudo -n true 2>/dev/null && sudo dmesg --level=err,warn',
    ])
      process.stderr.write(`$ ${command}\n${await terminal.command(command)}`);
  }
  const asked = terminal.seconds;
  terminal.type(`sudo -S poweroff\n`);
  await terminal.until('password for');
  terminal.type(`${password}\n`);
  await system.poweredOff;
  return { login, processor, down: terminal.seconds - asked };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    memory: { type: 'string', default: '1024' },
    user: { type: 'string', default: 'debian' },
    password: { type: 'string' },
    append: { type: 'string' },
    anew: { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
    'only-ours': { type: 'boolean', default: false },
  },
});
const [image] = positionals;
if (image === undefined) throw new Error('give an image: hv image create debian IMAGE.vhdx');
const options = {
  image,
  memory: Number(values.memory),
  ...(values.append === undefined ? {} : { append: values.append }),
};
const folder = mkdtempSync(join(tmpdir(), 'viridian-debian-'));
try {
  const version = values['only-ours'] ? undefined : await qemuVersion();
  const files = version === undefined ? undefined : await qemuFiles(image, folder);
  buildShipped();
  const flags: Flags = { user: values.user, password: values.password, verbose: values.verbose };
  const ours = (): System => startCommand(options);
  for (let run = 0; run < (values.anew ? 0 : WARM_UP); run++) await measure(ours, { ...flags, password: undefined });
  const results: Record<string, Timing[]> = {};
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, start] of [
      ['ours', ours],
      ...(files === undefined ? [] : [[`QEMU ${version} TCG`, () => startQemu(files, options)] as const]),
    ] as const) {
      const timing = await measure(start, flags);
      const { login, processor, down } = timing;
      const shown = `login ${login.toFixed(1)} s, ${processor.toFixed(1)} s of processor time; power-off ${down.toFixed(1)} s`;
      console.log(`${name.padEnd(18)} ${shown}`);
      (results[name] ??= []).push(timing);
    }
  }
  for (const [name, timings] of Object.entries(results))
    console.log(`${name.padEnd(18)} median login ${median(timings.map(({ login }) => login)).toFixed(1)} s`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
