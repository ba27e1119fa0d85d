/** `hv vhd ...`: what it understands. What it does is in vhd.ts. */
import type { Command } from 'commander';
import { ViridianError } from '../../contracts/errors.ts';
import { describeExitCodes } from '../../contracts/exit-codes.ts';
import { parseFile } from '../arguments.ts';
import { parseSize } from './sizes.ts';

const HELP = `
Files:
  A format is taken from --format, else from the file's name (.vhdx .vhd .raw .img .iso .qcow2). Only 'info' looks at
  the file itself: what a guest wrote into its raw disk must not decide.
  A parent must lie in the disk's folder or below it, or be named with --allow-parent.

Sizes:
  512M, 1.5G, 2T; a plain number is bytes.

Exit codes:
${describeExitCodes('  ', false)}
`;

/** The cmdlets of Hyper-V's PowerShell module, for those who come from there. */
const CMDLETS: Readonly<Record<string, string>> = {
  'new-vhd': 'create',
  'get-vhd': 'info',
  'test-vhd': 'check',
  'resize-vhd': 'resize',
  'convert-vhd': 'convert',
  'optimize-vhd': 'compact',
  'merge-vhd': 'merge',
};

/** `hv New-VHD a.vhdx ...` is `hv vhd create a.vhdx ...`. */
export function expandVhdCmdlet(args: readonly string[]): readonly string[] {
  const command = CMDLETS[(args[0] ?? '').toLowerCase()];
  return command === undefined ? args : ['vhd', command, ...args.slice(1)];
}

export interface VhdFlags {
  readonly format?: string;
  readonly fromFormat?: string;
  readonly size?: number;
  readonly type?: string;
  readonly parent?: string;
  readonly blockSize?: number;
  readonly sectorSize?: string;
  readonly allowParent?: readonly string[];
  readonly force?: boolean;
  readonly repair?: boolean;
  readonly shrink?: boolean;
  readonly delete?: boolean;
  readonly json?: boolean;
}

/** One of several words. */
function word(option: string, words: readonly string[]): (text: string) => string {
  return (text) => {
    if (!words.includes(text))
      throw new ViridianError('invalid', `${option} must be ${words.join(', ')}, not '${text}'`);
    return text;
  };
}

const FORMATS = ['vhdx', 'vhd', 'raw', 'iso', 'qcow2'];
const WRITABLE = ['vhdx', 'vhd', 'raw'];

export function vhdCommands(hv: Command): void {
  const vhd = hv.command('vhd').description('make, look into, check and change disk files');
  vhd.addHelpText('after', HELP);

  const add = (usage: string, text: string): Command =>
    vhd.command(usage).description(text).option('--json', 'the result as JSON, on stdout').addHelpText('after', HELP);
  const act = (command: Command, name: string): void => {
    command.action(async (...all: unknown[]) => {
      const actions = await import('./vhd.ts');
      const texts = all.filter((each) => typeof each === 'string');
      process.exitCode = await actions.vhd(name, texts, command.opts<VhdFlags>());
    });
  };
  const format = (command: Command, what = 'of the file', words = FORMATS): Command =>
    command.option('--format <format>', `${words.join(', ')}: the format ${what}`, word('--format', words));
  const allow = (command: Command): Command =>
    command.option(
      '--allow-parent <file>',
      'a parent that may lie elsewhere; repeatable',
      (text: string, all?: readonly string[]) => [...(all ?? []), parseFile('--allow-parent')(text)],
    );
  const shape = (command: Command): Command =>
    command
      .option('--type <type>', 'fixed, dynamic or differencing', word('--type', ['fixed', 'dynamic', 'differencing']))
      .option('--block-size <size>', 'of a VHDX: 1M to 256M; of a VHD: 4K to 256M', (text) =>
        parseSize('--block-size', text),
      )
      .option(
        '--sector-size <size>',
        '512 (the guest sees 512e), 512n or 4096',
        word('--sector-size', ['512', '512n', '4096']),
      )
      .option('--force', 'replace the file if it is there');

  act(
    allow(
      format(
        shape(
          add('create <file>', 'make a new disk')
            .option('--size <size>', 'of the disk', (text) => parseSize('--size', text))
            .option('--parent <file>', 'make a differencing disk over this one', parseFile('--parent')),
        ),
        'of the new file',
        WRITABLE,
      ),
    ),
    'create',
  );
  act(format(add('info <file>', 'what a file is')), 'info');
  act(
    allow(format(add('check <file>', 'hold the file against its format'))).option(
      '--repair',
      'mend what can be mended without losing anything',
    ),
    'check',
  );
  act(
    allow(format(add('resize <file> <size>', 'change the size of a disk'))).option(
      '--shrink',
      'allow a smaller size: what lies beyond is lost',
    ),
    'resize',
  );
  act(
    allow(
      format(shape(add('convert <from> <to>', 'copy a disk into another format')), 'of the new file', WRITABLE),
    ).option('--from-format <format>', 'the format of the old file', word('--from-format', FORMATS)),
    'convert',
  );
  act(allow(format(add('compact <file>', 'give back space that the disk does not need'))), 'compact');
  act(
    allow(format(add('merge <file>', 'write what a differencing disk holds into its parent'))).option(
      '--delete',
      'delete the differencing disk afterwards',
    ),
    'merge',
  );
}
