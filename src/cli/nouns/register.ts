/** Rows as commands of the parser, with their cmdlets and shortcuts. */
import { type Command, Option } from 'commander';
import { ViridianError } from '../../contracts/errors.ts';
import { describeExitCodes, EXIT } from '../../contracts/exit-codes.ts';
import { say } from '../say.ts';
import { Interrupted } from '../vhd/progress.ts';
import { type CommandRow, type Flags, nameOf, type OptionRow, OUTPUTS } from './command-row.ts';
import { sayDone } from './session.ts';
import { COMMANDS, NOUNS } from './table.ts';
import { oneOf } from './values.ts';

const EXIT_HELP = `
Exit codes:
${describeExitCodes('  ', false)}
`;

/** A command that begins with this word, without its noun. */
function atTop(first: string | undefined): CommandRow | undefined {
  return COMMANDS.find((row) => (row.noun === undefined ? row.verb : row.shortcut) === first);
}

function isNoun(first: string | undefined): first is string {
  return first !== undefined && Object.hasOwn(NOUNS, first);
}

/** Whether a command line with this first word is for the management half alone. */
export function manages(first: string | undefined): boolean {
  return first !== undefined && (isNoun(first) || atTop(first) !== undefined);
}

/** @param first the command line's first word: where it names a command, that is all that is defined. */
export function managementCommands(hv: Command, first: string | undefined): void {
  // For rows that pass options on.
  hv.enablePositionalOptions();
  const noun = isNoun(first) ? first : undefined;
  const alone = atTop(first);
  if (first !== undefined && alone !== undefined) {
    define(hv, first, alone, alone.noun !== undefined);
    return;
  }
  // Some verbs of VMs stand at the top level, and who knows those tries the others there.
  if (COMMANDS.some((row) => row.noun === 'vm' && [row.verb, ...(row.aliases ?? [])].includes(first ?? '')))
    throw new ViridianError('invalid', `unknown command '${first}': it is 'hv vm ${first}'`);
  const nouns = new Map<string, Command>();
  for (const [name, text] of Object.entries(NOUNS)) {
    if (noun !== undefined && name !== noun) continue;
    const command = hv.command(name).description(text);
    command.addHelpText('after', cmdletHelp(name));
    nouns.set(name, command);
  }
  for (const row of COMMANDS) {
    if (noun !== undefined && row.noun !== noun) continue;
    const parent = row.noun === undefined ? hv : nouns.get(row.noun)!;
    define(parent, row.verb, row);
    if (row.shortcut !== undefined) define(hv, row.shortcut, row, row.noun !== undefined);
  }
}

function define(parent: Command, name: string, row: CommandRow, shortcut = false): void {
  const command = parent
    .command(row.args === undefined ? name : `${name} ${row.args}`)
    .description(shortcut ? `${row.text} (hv ${row.noun} ${row.verb})` : row.text);
  if (!shortcut) for (const alias of row.aliases ?? []) command.alias(alias);
  for (const option of row.options ?? []) command.addOption(optionOf(option));
  if (row.shows)
    command
      .addOption(new Option('-o, --output <format>', `${OUTPUTS.join(', ')}`).argParser(oneOf('--output', OUTPUTS)))
      .option('--json', 'the same as -o json')
      .option('-q, --quiet', 'the same as -o name');
  if (row.changes) command.option('--what-if', 'say what would be done, and do nothing');
  if (row.passes) command.passThroughOptions();
  if (row.asks) command.option('-y, --yes', 'do not ask');
  command.addHelpText('after', `${row.help === undefined ? '' : `\n${row.help.trim()}\n`}${EXIT_HELP}`);
  command.action(async (...all: unknown[]) => {
    const args = all.slice(0, -2).flatMap((each) => (Array.isArray(each) ? (each as string[]) : [each as string]));
    const action = await row.load();
    try {
      const given = args.filter((each) => each !== undefined);
      process.exitCode = (await action(given, command.opts<Flags>())) ?? EXIT.ok;
      if (row.changes && !row.shows && process.exitCode === EXIT.ok) sayDone();
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      say('hv: interrupted');
      process.exitCode = error.exitCode;
    }
  });
}

function optionOf({ flags, text, parse, repeats }: OptionRow): Option {
  const option = new Option(flags, repeats ? `${text}; repeatable` : text);
  const read = parse ?? ((value: string) => value);
  if (repeats) option.argParser((value: string, all?: readonly unknown[]) => [...(all ?? []), read(value)]);
  else if (parse) option.argParser((value: string) => parse(value));
  return option;
}

// ---- cmdlets ----------------------------------------------------------------------------------------------------------------------

const CMDLETS: ReadonlyMap<string, CommandRow> = new Map(
  COMMANDS.flatMap((row) => (row.cmdlets ?? []).map((cmdlet) => [cmdlet.toLowerCase(), row] as const)),
);

/** `hv Start-VM web` is `hv vm start web`; PowerShell's spelling of options is taken too: -Name, -WhatIf, -TurnOff. */
export function expandCmdlet(args: readonly string[]): readonly string[] {
  const row = CMDLETS.get((args[0] ?? '').toLowerCase());
  if (row === undefined) return args;
  const rest: string[] = [];
  for (const arg of args.slice(1)) {
    // Their first parameters are by position here: names of VMs and the like.
    if (/^-(Name|VMName|VM)$/i.test(arg)) continue;
    if (/^-Confirm:\$?false$/i.test(arg)) rest.push('--yes');
    else if (/^-[A-Z][A-Za-z]+$/.test(arg)) {
      const long = arg.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      rest.push(long === '--force' && row.asks ? '--yes' : (RENAMED[long] ?? long));
    } else rest.push(arg);
  }
  return [...nameOf(row).split(' '), ...rest];
}

/** Parameters that are called otherwise here. */
const RENAMED: Readonly<Record<string, string>> = {
  '--memory-startup-bytes': '--memory',
  '--processor-count': '--processors',
  '--new-name': '--name',
};

function cmdletHelp(noun: string): string {
  const lines = COMMANDS.filter((row) => row.noun === noun && row.cmdlets !== undefined).map(
    (row) => `  ${row.cmdlets!.join(', ')}: hv ${noun} ${row.verb}`,
  );
  return lines.length === 0 ? '' : `\nNames of Hyper-V's PowerShell module work too:\n${lines.join('\n')}\n`;
}
