/** `hv role ...`: what it does. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { ViridianError } from '../../../contracts/errors.ts';
import { EXIT } from '../../../contracts/exit-codes.ts';
import { findCommand, runCommand } from '../../../host/node/command.ts';
import { ownCommand } from '../../../host/node/program.ts';
import { say } from '../../say.ts';
import type { Action, Flags } from '../command-row.ts';
import { write } from '../output.ts';
import { GUESTS_UNIT, guestsUnit, serviceUnit, UNIT, type UnitOptions } from './units.ts';

const NAMES = [UNIT, GUESTS_UNIT];

function unitFolder(system: boolean): string {
  if (system) return '/etc/systemd/system';
  const { XDG_CONFIG_HOME: base } = process.env;
  return join(base !== undefined && isAbsolute(base) ? base : join(homedir(), '.config'), 'systemd/user');
}

function systemctl(system: boolean, ...args: string[]): readonly string[] {
  return ['systemctl', ...(system ? [] : ['--user']), ...args];
}

async function run(command: readonly string[]): Promise<void> {
  const program = findCommand(command[0]!);
  if (program === undefined)
    throw new ViridianError(
      'notFound',
      `${command[0]} is not there: this host has no systemd; 'hv service run' needs none`,
    );
  const { code, stderr } = await runCommand(program, command.slice(1));
  if (code !== 0)
    throw new ViridianError('failure', `${command.join(' ')}: ${stderr.trim() || `it ended with ${code}`}`);
}

function demandRoot({ system }: Flags): void {
  if (system && process.getuid?.() !== 0) throw new ViridianError('denied', '--system needs root');
}

export const install: Action = async (_args, flags) => {
  const options: UnitOptions = {
    command: ownCommand(),
    system: flags.system === true,
    listen: flags.listen as string | undefined,
  };
  const folder = unitFolder(options.system);
  const units = [
    [UNIT, serviceUnit(options)],
    [GUESTS_UNIT, guestsUnit(options)],
  ] as const;
  const commands = [systemctl(options.system, 'daemon-reload'), systemctl(options.system, 'enable', '--now', ...NAMES)];
  if (flags.dryRun) {
    for (const [name, text] of units) write(`# ${join(folder, name)}\n${text}`);
    for (const command of commands) write(command.join(' '));
    return undefined;
  }
  demandRoot(flags);
  if (findCommand('systemctl') === undefined) await run(['systemctl']);
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of units) writeFileSync(join(folder, name), text, { mode: 0o644 });
  for (const command of commands) await run(command);
  say(`hv: installed; 'systemctl ${options.system ? '' : '--user '}status ${UNIT}' says how it is`);
  return undefined;
};

export const remove: Action = async (_args, flags) => {
  const system = flags.system === true;
  const files = NAMES.map((name) => join(unitFolder(system), name));
  // The guests' unit would carry out stop actions when it is stopped: removing the role is no shutdown of the host.
  const commands = [systemctl(system, 'disable', ...NAMES), systemctl(system, 'stop', UNIT)];
  if (flags.dryRun) {
    for (const command of commands) write(command.join(' '));
    for (const file of files) write(`rm ${file}`);
    write(systemctl(system, 'daemon-reload').join(' '));
    return undefined;
  }
  demandRoot(flags);
  if (!files.some((file) => existsSync(file))) throw new ViridianError('notFound', 'the role is not installed');
  for (const command of commands) await run(command);
  for (const file of files) rmSync(file, { force: true });
  await run(systemctl(system, 'daemon-reload'));
  return undefined;
};

export const status: Action = async (_args, flags) => {
  const system = flags.system === true;
  const file = join(unitFolder(system), UNIT);
  if (!existsSync(file)) {
    say(`hv: not installed (${file} is not there)`);
    return EXIT.failure;
  }
  const program = findCommand('systemctl');
  const state = program && (await runCommand(program, systemctl(system, 'is-active', UNIT).slice(1))).stdout.trim();
  write(`installed, ${state || 'and systemd does not answer'}`);
  return state === 'active' ? undefined : EXIT.failure;
};
