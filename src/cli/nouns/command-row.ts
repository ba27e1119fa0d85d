/**
 * A command of the management half, as one row: what it is called, what it takes, how it explains itself. The parser, the
 * help, shell completion and the cmdlets' names are made of these rows; what a command does is loaded when it is used.
 */
import type { ExitCode } from '../../contracts/exit-codes.ts';

/** Everything after the command's name, as typed; options by their camel-case names. */
export type Action = (args: readonly string[], flags: Flags) => Promise<ExitCode | undefined>;

export interface Flags {
  readonly [name: string]: unknown;
  readonly output?: Output;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly whatIf?: boolean;
  readonly yes?: boolean;
}

export const OUTPUTS = ['table', 'json', 'yaml', 'name'] as const;
export type Output = (typeof OUTPUTS)[number];

/** What an argument or an option's value is, for completion. */
export type Kind = 'vm' | 'checkpoint' | 'switch' | 'file' | 'folder' | readonly string[];

export interface OptionRow {
  /** As commander writes them: '--memory <size>'. */
  readonly flags: string;
  readonly text: string;
  /** Reads the value; undefined: the text. Throws ViridianError `invalid`. */
  readonly parse?: (text: string) => unknown;
  /** May be given more than once. */
  readonly repeats?: boolean;
  readonly kind?: Kind;
}

export interface CommandRow {
  /** Undefined: the command stands at the top level. */
  readonly noun?: string;
  readonly verb: string;
  /** Other names of the verb. */
  readonly aliases?: readonly string[];
  /** As commander writes them: '<vm> [name]'. */
  readonly args?: string;
  readonly kinds?: readonly Kind[];
  readonly text: string;
  readonly options?: readonly OptionRow[];
  /** It shows something: -o, --json, -q. */
  readonly shows?: boolean;
  /** It changes something: --what-if. */
  readonly changes?: boolean;
  /** It asks before: --yes. */
  readonly asks?: boolean;
  /** What follows the arguments is somebody else's, options too. */
  readonly passes?: boolean;
  /** Examples and explanations, at the end of its help. */
  readonly help?: string;
  /** Names in Hyper-V's PowerShell module. */
  readonly cmdlets?: readonly string[];
  /** Also at the top level, under this name. */
  readonly shortcut?: string;
  readonly load: () => Promise<Action>;
}

export function nameOf({ noun, verb }: CommandRow): string {
  return noun === undefined ? verb : `${noun} ${verb}`;
}
