/** `hv console`: a VM's COM1 on this terminal. */
import { EXIT } from '../../../contracts/exit-codes.ts';
import { RawTerminal } from '../../../host/node/terminal.ts';
import { ConsoleKeys } from '../../console-keys.ts';
import { inspectText } from '../../inspect-text.ts';
import { say } from '../../say.ts';
import type { Action } from '../command-row.ts';
import { vmOf } from '../session.ts';
import { CONSOLE_HELP } from './keys.ts';

/** Milliseconds without an answer after the end of the input. */
const QUIET = 1000;

export const console: Action = async ([name], flags) => {
  const vm = await vmOf(name);
  await using stream = await vm.console({ history: flags.history !== false });
  const { stdin, stdout } = process;
  let terminal: RawTerminal | undefined;
  let left = false;
  const leave = (): void => {
    left = true;
    void stream[Symbol.asyncDispose]();
  };
  let ended = false;
  let quiet: NodeJS.Timeout | undefined;
  const keys = new ConsoleKeys();
  const showState = async (): Promise<void> => {
    const tree = await vm.host.transport.call('inspectVm', { params: { vm: vm.id } });
    say(`\n${inspectText(tree as never)}`);
  };
  stdin.on('error', () => {});
  if (stdin.isTTY) {
    terminal = new RawTerminal(stdin);
    say(`hv: the console of ${vm.name}: Ctrl-] q leaves, Ctrl-] ? shows the keys`);
    stdin.on('data', (typed: Uint8Array) => {
      const { guest, actions } = keys.feed(typed);
      if (guest.length > 0) stream.write(guest);
      for (const action of actions) {
        if (action === 'leave') leave();
        else if (action === 'inspect') showState().catch((error: unknown) => say(`hv: ${String(error)}`));
        else say(`\n${CONSOLE_HELP}`);
      }
    });
  } else {
    stdin.on('data', (bytes: Uint8Array) => stream.write(bytes));
    // What was typed last is to be answered before we go.
    stdin.on('end', () => {
      ended = true;
      quiet = setTimeout(leave, QUIET);
    });
  }
  try {
    for await (const bytes of stream) {
      if (ended) {
        clearTimeout(quiet);
        quiet = setTimeout(leave, QUIET);
      }
      if (!stdout.write(bytes)) await new Promise((resolve) => stdout.once('drain', resolve));
    }
  } finally {
    terminal?.restore();
    stdin.pause();
  }
  if (stdout.isTTY) process.stderr.write('\n');
  const { closed } = stream;
  if (left) return EXIT.ok;
  say(`hv: ${closed?.reason || 'the console was closed'}`);
  // Its end is what one was waiting for; being cut off is not.
  return closed?.code === 4000 ? EXIT.ok : EXIT.failure;
};
