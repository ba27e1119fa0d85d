/**
 * COM1 in a terminal (xterm.js). Its bytes come and go over a WebSocket; when that is cut off, it is opened again and the
 * console's history is shown anew. Copying: select, Ctrl+Shift+C; pasting: Ctrl+Shift+V or the button.
 */
import '@xterm/xterm/css/xterm.css';
import { FitAddon } from '@xterm/addon-fit';
import { Terminal as Xterm } from '@xterm/xterm';
import { type ReactNode, useEffect, useRef, useState } from 'react';
import { Button } from '../parts/button.tsx';
import { openSocket } from '../store/api.ts';
import { toast } from '../store/toasts.ts';

const AGAIN = 1000;
/** The VM has ended (docs/api.md). */
const ENDED = 4000;

/** @param kinds what else may be looked at, at the beginning of the bar. */
export function Terminal({ vm, name, kinds }: { vm: string; name: string; kinds: ReactNode }) {
  const box = useRef<HTMLDivElement>(null);
  const terminal = useRef<Xterm>(null);
  const [note, setNote] = useState('connecting');
  useEffect(() => {
    const { xterm, stop } = open(box.current!, vm, setNote);
    xterm.textarea?.setAttribute('aria-label', `Serial console of ${name}`);
    terminal.current = xterm;
    return stop;
  }, [vm, name]);
  const copy = async (): Promise<void> => {
    const text = terminal.current?.getSelection() ?? '';
    if (text === '') toast('info', 'Select text in the console first.');
    else
      await navigator.clipboard.writeText(text).catch(() => toast('error', 'The browser does not let this page copy.'));
  };
  const paste = async (): Promise<void> => {
    const text = await navigator.clipboard.readText().catch(() => undefined);
    if (text === undefined)
      toast('error', 'The browser does not let this page paste: use Ctrl+Shift+V in the console.');
    else terminal.current?.paste(text);
    terminal.current?.focus();
  };
  return (
    <>
      <div className="buttons">
        {kinds}
        <Button look="small" onClick={() => void copy()}>
          Copy
        </Button>
        <Button look="small" onClick={() => void paste()}>
          Paste
        </Button>
        <Button look="small" onClick={() => terminal.current?.clear()}>
          Clear
        </Button>
        <span className="quiet" role="status">
          {note}
        </span>
      </div>
      <div className="terminal-box" ref={box} />
    </>
  );
}

function open(
  element: HTMLElement,
  vm: string,
  note: (text: string) => void,
): { readonly xterm: Xterm; readonly stop: () => void } {
  const family = getComputedStyle(document.documentElement).getPropertyValue('--mono');
  const xterm = new Xterm({
    fontFamily: family,
    fontSize: 14,
    // At 1 a row ends above the underscores of some fonts.
    lineHeight: 1.15,
    scrollback: 10_000,
    screenReaderMode: true,
    theme: { background: '#0c0f0e', foreground: '#d6dfda', cursor: '#6fc3a5', selectionBackground: '#2f6f5b' },
  });
  const fit = new FitAddon();
  xterm.loadAddon(fit);
  xterm.open(element);
  xterm.attachCustomKeyEventHandler((event) => {
    const copying = event.ctrlKey && event.shiftKey && event.code === 'KeyC' && event.type === 'keydown';
    if (!copying) return !(event.ctrlKey && event.shiftKey && event.code === 'KeyV');
    event.preventDefault();
    void navigator.clipboard.writeText(xterm.getSelection()).catch(() => {});
    return false;
  });
  const observer = new ResizeObserver(() => fit.fit());
  observer.observe(element);
  xterm.focus();

  const encoder = new TextEncoder();
  let stopped = false;
  let timer = 0;
  let socket: WebSocket;
  const connect = (): void => {
    socket = openSocket(`/vms/${encodeURIComponent(vm)}/console`);
    const mine = socket;
    mine.onopen = () => {
      // The history comes again, from its beginning.
      xterm.reset();
      note('connected');
    };
    mine.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => xterm.write(new Uint8Array(data));
    mine.onclose = ({ code }) => {
      if (stopped) return;
      note(code === ENDED ? 'the virtual machine has ended; waiting for it' : 'cut off; connecting again');
      timer = window.setTimeout(connect, AGAIN);
    };
  };
  connect();
  xterm.onData((text) => socket.readyState === WebSocket.OPEN && socket.send(encoder.encode(text)));
  xterm.onBinary(
    (text) => socket.readyState === WebSocket.OPEN && socket.send(Uint8Array.from(text, (c) => c.charCodeAt(0))),
  );
  return {
    xterm,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      observer.disconnect();
      socket.close();
      xterm.dispose();
    },
  };
}
