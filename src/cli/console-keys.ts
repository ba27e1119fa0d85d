/**
 * The console's own keys. Everything typed goes to the guest, except Ctrl-] and the key after it, which are ours.
 */

const PREFIX = 0x1d;

export type KeyAction = 'leave' | 'inspect' | 'screenshot' | 'pause' | 'resume' | 'help';

const ACTIONS: Readonly<Record<string, KeyAction>> = {
  q: 'leave',
  Q: 'leave',
  i: 'inspect',
  s: 'screenshot',
  p: 'pause',
  r: 'resume',
  '?': 'help',
  h: 'help',
};

export const KEYS_HELP = `Ctrl-] q    turn the partition off and leave
Ctrl-] i    show the partition's state
Ctrl-] s    save what is on the synthetic screen as a PNG file
Ctrl-] p    pause the partition
Ctrl-] r    resume it, also where a full disk has paused it
Ctrl-] ?    show these keys
Ctrl-] Ctrl-]  send Ctrl-] to the guest`.replace(/ {2,}/g, '  ');

export class ConsoleKeys {
  #prefixed = false;

  /** Splits what was typed: the bytes for the guest, and what the user asked of us. */
  feed(typed: Uint8Array): { guest: Uint8Array; actions: KeyAction[] } {
    const guest: number[] = [];
    const actions: KeyAction[] = [];
    for (const byte of typed) {
      if (!this.#prefixed) {
        if (byte === PREFIX) this.#prefixed = true;
        else guest.push(byte);
        continue;
      }
      this.#prefixed = false;
      const action = ACTIONS[String.fromCharCode(byte)];
      if (action !== undefined) actions.push(action);
      else if (byte === PREFIX) guest.push(byte);
      // Any other key after the prefix was meant for us and means nothing: it must not reach the guest.
      else actions.push('help');
    }
    return { guest: Uint8Array.from(guest), actions };
  }
}
