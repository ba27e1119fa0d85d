/** The keys of `hv console` that are ours. */
export const CONSOLE_HELP = `Every key goes to the guest, except:
  Ctrl-] q       leave the console; the VM goes on
  Ctrl-] i       show the VM's state
  Ctrl-] ?       show these keys
  Ctrl-] Ctrl-]  send Ctrl-] to the guest`;
