/**
 * `hv completion SHELL` prints a script that asks `hv complete -- WORDS...` for what could come next. Names of VMs are asked of a
 * service that runs; completion starts none, and waits for none.
 */
import { connect } from '../../../client/index.ts';
import { ViridianError } from '../../../contracts/errors.ts';
import type { Action, CommandRow, Kind } from '../command-row.ts';
import { write } from '../output.ts';
import { COMMANDS, NOUNS, OTHERS } from '../table.ts';

/** A shell that waits for more is a nuisance. */
const PATIENCE = 300;

const SCRIPTS: Readonly<Record<string, string>> = {
  bash: `_hv() {
  local IFS=$'\\n'
  local words=("\${COMP_WORDS[@]:1:COMP_CWORD}")
  COMPREPLY=($(hv complete -- "\${words[@]//\\\\/}" 2>/dev/null))
  if [ "\${COMPREPLY[0]}" = ":file" ]; then COMPREPLY=(); compopt -o default
  elif [ "\${#COMPREPLY[@]}" -gt 0 ]; then COMPREPLY=($(printf '%q\\n' "\${COMPREPLY[@]}")); fi
}
complete -F _hv hv`,
  zsh: `#compdef hv
_hv() {
  local -a found
  found=(\${(f)"$(hv complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if [[ "\${found[1]}" = ":file" ]]; then _files; else compadd -a found; fi
}
if [ "$funcstack[1]" = "_hv" ]; then _hv "$@"; else compdef _hv hv; fi`,
  fish: `function __hv_complete
  set -l words (commandline -opc) (commandline -ct)
  set -l found (hv complete -- $words[2..-1] 2>/dev/null)
  if test "$found[1]" = ":file"
    __fish_complete_path (commandline -ct)
  else
    string join \\n $found
  end
end
complete -c hv -f -a '(__hv_complete)'`,
};

export const completion: Action = ([shell]) => {
  const script = SCRIPTS[shell!];
  if (script === undefined)
    throw new ViridianError(
      'invalid',
      `there is completion for ${Object.keys(SCRIPTS).join(', ')}, not for '${shell}'`,
    );
  write(script);
  return Promise.resolve(undefined);
};

/** What could stand in the place of the last word. */
export async function complete(words: readonly string[]): Promise<void> {
  const found = await candidates(words.slice(0, -1), words.at(-1) ?? '');
  for (const each of found) write(each);
}

export async function candidates(before: readonly string[], begun: string): Promise<readonly string[]> {
  const fitting = (all: readonly string[]): string[] => all.filter((each) => each.startsWith(begun)).sort();
  if (before.length === 0) {
    const own = COMMANDS.flatMap((row) => [
      ...(row.noun === undefined ? [row.verb] : []),
      ...(row.shortcut ? [row.shortcut] : []),
    ]);
    return fitting([...Object.keys(NOUNS), ...own, ...OTHERS]);
  }
  const [first, second] = before;
  let row: CommandRow | undefined;
  let args: readonly string[];
  if (first! in NOUNS) {
    const rows = COMMANDS.filter(({ noun }) => noun === first);
    if (second === undefined) return fitting(rows.map(({ verb }) => verb));
    row = rows.find(({ verb, aliases }) => verb === second || aliases?.includes(second));
    args = before.slice(2);
  } else {
    row = COMMANDS.find(({ noun, verb, shortcut }) => (noun === undefined && verb === first) || shortcut === first);
    args = before.slice(1);
  }
  if (row === undefined) return [];
  const options = row.options ?? [];
  const long = (flags: string): string => /--[\w-]+/.exec(flags)![0];
  const taking = options.find(({ flags }) => flags.includes('<') && long(flags) === args.at(-1));
  if (taking) return await ofKind(taking.kind, begun, args);
  if (begun.startsWith('-')) {
    const common = [
      ...(row.shows ? ['--output', '--json', '--quiet'] : []),
      ...(row.changes ? ['--what-if'] : []),
      ...(row.asks ? ['--yes'] : []),
    ];
    return fitting([...options.map(({ flags }) => long(flags)), ...common, '--help']);
  }
  const position = args.filter((arg) => !arg.startsWith('-')).length;
  const many = row.args?.includes('...') ?? false;
  const kinds = row.kinds ?? [];
  return await ofKind(kinds[many ? Math.min(position, kinds.length - 1) : position], begun, args);
}

async function ofKind(kind: Kind | undefined, begun: string, args: readonly string[]): Promise<readonly string[]> {
  if (kind === undefined) return [];
  if (kind === 'file' || kind === 'folder') return [':file'];
  const all = typeof kind === 'string' ? await names(kind, args).catch(() => []) : kind;
  return all.filter((each) => each.startsWith(begun)).sort();
}

async function names(kind: 'vm' | 'checkpoint' | 'switch', args: readonly string[]): Promise<readonly string[]> {
  const late = new Promise<readonly string[]>((resolve) => setTimeout(resolve, PATIENCE, []).unref());
  const ask = async (): Promise<readonly string[]> => {
    const host = await connect({ start: false });
    if (kind === 'vm') return (await host.list()).map(({ name }) => name);
    if (kind === 'switch') return (await host.transport.call('listSwitches')).map(({ name }) => name);
    const vm = await host.get(args.find((arg) => !arg.startsWith('-')) ?? '');
    return (await vm.checkpoints()).map(({ name }) => name);
  };
  return await Promise.race([ask(), late]);
}
