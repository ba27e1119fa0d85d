/** `hv image ...`: what it understands. What it does is in image.ts. */
import { type Command, Option } from 'commander';
import { ViridianError } from '../../contracts/errors.ts';
import { describeExitCodes } from '../../contracts/exit-codes.ts';
import { parseFile } from '../arguments.ts';
import { parseSize } from '../vhd/sizes.ts';

const HELP = `
A Debian image boots with: hv run --disk FILE. Its kernel is read out of the disk.
It needs Debian's apt, e2fsprogs and, unless run by root, fakeroot and uidmap; what is missing
is said. A cloud image of somebody else's takes its user from a seed: hv image seed.

Exit codes:
${describeExitCodes('  ', false)}
`;

export interface ImageFlags {
  readonly size?: number;
  readonly include?: readonly string[];
  readonly user?: string;
  readonly password?: string;
  readonly passwordFile?: string;
  readonly sshKey?: readonly string[];
  readonly hostname?: string;
  readonly timezone?: string;
  readonly mirror?: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

export function imageCommands(hv: Command): void {
  const image = hv.command('image').description('make disks with an operating system on them');
  image.addHelpText('after', HELP);

  const login = (command: Command): Command =>
    command
      .option('--user <name>', "who logs in, and may use sudo (default: 'debian')")
      .addOption(new Option('--password <text>', 'the password').conflicts('passwordFile'))
      .option('--password-file <file>', 'the file whose first line is the password', parseFile('--password-file'))
      .option('--ssh-key <file>', 'a public key that opens a session; repeatable', (text, all?: readonly string[]) => [
        ...(all ?? []),
        parseFile('--ssh-key')(text),
      ])
      .option('--hostname <name>', 'the name of the machine')
      .option('--force', 'replace the file if it is there')
      .option('--json', 'the result as JSON, on stdout')
      .addHelpText('after', HELP);

  login(image.command('create <system> <file>').description("build a disk; the system is 'debian' (12, bookworm)"))
    .option('--size <size>', 'of the disk (default: 4G)', (text) => parseSize('--size', text))
    .option('--include <packages>', 'packages beside the usual, with commas; repeatable', (text, all?: string[]) => [
      ...(all ?? []),
      ...text.split(',').filter((name) => name !== ''),
    ])
    .option('--timezone <name>', "such as Europe/Berlin (default: 'Etc/UTC')")
    .option('--mirror <url>', "where to fetch Debian's packages (default: where the host's apt does)", httpUrl)
    .action(async (system: string, file: string, flags: ImageFlags) => {
      if (system !== 'debian') throw new ViridianError('invalid', `the system must be debian, not '${system}'`);
      const { createImage } = await import('./image.ts');
      process.exitCode = await createImage(file, flags);
    });

  login(
    image
      .command('seed <file>')
      .description('write a disc that gives a cloud image its user (cloud-init, NoCloud), to attach beside its disk'),
  ).action(async (file: string, flags: ImageFlags) => {
    const { createSeed } = await import('./image.ts');
    process.exitCode = await createSeed(file, flags);
  });
}

function httpUrl(text: string): string {
  if (!/^https?:\/\/\S+$/.test(text)) throw new ViridianError('invalid', `--mirror must be a URL, not '${text}'`);
  return text;
}
