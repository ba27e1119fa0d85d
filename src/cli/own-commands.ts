/** Commands that do their work in this process, without the management service. */
import type { Command } from 'commander';
import { imageCommands } from './image/commands.ts';
import { quickstartCommand, runCommand } from './run-commands.ts';
import { vhdCommands } from './vhd/commands.ts';

export { expandVhdCmdlet } from './vhd/commands.ts';

/** By the command line's first word, in the order in which help shows them. */
const OWN: Readonly<Record<string, (hv: Command) => void>> = {
  run: runCommand,
  quickstart: quickstartCommand,
  vhd: vhdCommands,
  image: imageCommands,
  complete: completeCommand,
  doctor: doctorCommand,
};

/** @param first the command line's first word: where it names a command, that is all that is defined. */
export function ownCommands(hv: Command, first: string | undefined): void {
  const asked = Object.entries(OWN).filter(([name]) => name === first);
  for (const [, define] of asked.length > 0 ? asked : Object.entries(OWN)) define(hv);
}

function completeCommand(hv: Command): void {
  hv.command('complete [words...]', { hidden: true }).action(async (words: string[]) => {
    const { complete } = await import('./nouns/watch/completion.ts');
    await complete(words);
  });
}

function doctorCommand(hv: Command): void {
  hv.command('doctor')
    .description('what this host can do, against what Viridian needs')
    .option('--json', 'as JSON, on stdout')
    .action(async (options: { json?: boolean }) => {
      const { doctor } = await import('./doctor/doctor.ts');
      process.exitCode = doctor(options);
    });
}
