/** What a VM shows now: its screen, or the last lines of its console. Only what is in view is looked at. */
import { memo, useEffect, useRef, useState } from 'react';
import { ApiFailure, call, openSocket } from '../store/api.ts';
import { lastLines } from './last-lines.ts';

const PERIOD = 5000;

type Shown = { readonly url: string } | { readonly text: string } | undefined;

export const Thumbnail = memo(function Thumbnail({ vm, on }: { vm: string; on: boolean }) {
  const box = useRef<HTMLDivElement>(null);
  const [visible, setVisible] = useState(false);
  const [shown, setShown] = useState<Shown>();
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => setVisible(entry?.isIntersecting ?? false));
    observer.observe(box.current!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!visible || !on) return;
    return watch(vm, setShown);
  }, [visible, on, vm]);
  useEffect(() => () => forget(shown), [shown]);
  return (
    <div className="thumb" ref={box} data-off={!on} aria-hidden>
      {!on || shown === undefined ? null : 'url' in shown ? <img src={shown.url} alt="" /> : <pre>{shown.text}</pre>}
    </div>
  );
});

function forget(shown: Shown): void {
  if (shown !== undefined && 'url' in shown) URL.revokeObjectURL(shown.url);
}

/** Returns how to stop it. */
function watch(vm: string, show: (shown: Shown) => void): () => void {
  const abort = new AbortController();
  let socket: WebSocket | undefined;
  let timer = 0;
  const look = async (): Promise<void> => {
    try {
      const png = await call('getScreen', { params: { vm }, signal: abort.signal });
      show({ url: URL.createObjectURL(new Blob([png as Uint8Array<ArrayBuffer>], { type: 'image/png' })) });
    } catch (error) {
      if (abort.signal.aborted || !(error instanceof ApiFailure)) return;
      // It shows nothing on a screen: then its console, as it comes.
      if (error.status === 409) socket ??= follow(vm, show);
    }
    if (!abort.signal.aborted) timer = window.setTimeout(() => void look(), PERIOD);
  };
  void look();
  return () => {
    abort.abort();
    clearTimeout(timer);
    socket?.close();
  };
}

function follow(vm: string, show: (shown: Shown) => void): WebSocket {
  const socket = openSocket(`/vms/${encodeURIComponent(vm)}/console`);
  const decoder = new TextDecoder();
  let text = '';
  let due = false;
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
    text = (text + decoder.decode(data, { stream: true })).slice(-8192);
    if (due) return;
    due = true;
    setTimeout(() => {
      due = false;
      show({ text: lastLines(text) });
    }, 250);
  };
  return socket;
}
