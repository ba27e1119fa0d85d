/** Commands that do their work in this process, without the management service. */
import type { Command } from 'commander';
import { imageCommands } from './image/commands.ts';
import { runCommands } from './run-commands.ts';
import { vhdCommands } from './vhd/commands.ts';

export { expandVhdCmdlet } from './vhd/commands.ts';

export function ownCommands(hv: Command): void {
  runCommands(hv);
  vhdCommands(hv);
  imageCommands(hv);
  hv.command('complete [words...]', { hidden: true }).action(async (words: string[]) => {
    const { complete } = await import('./nouns/watch/completion.ts');
    await complete(words);
  });

  hv.command('doctor')
    .description('what this host can do, against what Viridian needs')
    .option('--json', 'as JSON, on stdout')
    .action(async (options: { json?: boolean }) => {
      const { doctor } = await import('./doctor/doctor.ts');
      process.exitCode = doctor(options);
    });
}
