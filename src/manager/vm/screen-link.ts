/** A VM's screen over a WebSocket: changed rectangles in, keys and mouse out (docs/api.md, "Streams"). */
import { openSocket } from '../store/api.ts';

const RATE = 50;
const AGAIN = 1000;

export type ScreenInput =
  | { readonly kind: 'key'; readonly code: string; readonly down: boolean }
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'mouse';
      readonly x: number;
      readonly y: number;
      readonly buttons?: number;
      readonly wheel?: number;
    };

export interface ScreenLink {
  send(input: ScreenInput): void;
  stop(): void;
}

/** What the service says of a rectangle before its PNG: four 16-bit numbers. */
const HEADER = 8;

export interface ScreenPart {
  readonly x: number;
  readonly y: number;
  /** Of the whole screen. */
  readonly width: number;
  readonly height: number;
  readonly picture: ImageBitmap;
}

export interface ScreenListener {
  part(part: ScreenPart): void;
  /** `blank`: the guest shows nothing. */
  note(state: 'connecting' | 'blank' | 'shown' | 'lost'): void;
}

export function openScreen(vm: string, listener: ScreenListener): ScreenLink {
  let socket: WebSocket;
  let stopped = false;
  let timer = 0;
  /** Frames are decoded in the order in which they came. */
  let turn = Promise.resolve();
  const show = async (bytes: ArrayBuffer): Promise<void> => {
    const png = new Blob([bytes.slice(HEADER)], { type: 'image/png' });
    const picture = await createImageBitmap(png).catch(() => undefined);
    if (stopped || picture === undefined) return;
    const header = new DataView(bytes);
    const word = (n: number): number => header.getUint16(n * 2, true);
    listener.note('shown');
    listener.part({ x: word(0), y: word(1), width: word(2), height: word(3), picture });
  };
  const connect = (): void => {
    listener.note('connecting');
    socket = openSocket(`/vms/${encodeURIComponent(vm)}/screen`);
    socket.onopen = () => socket.send(JSON.stringify({ kind: 'rate', milliseconds: RATE }));
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer | string>) => {
      if (typeof data === 'string') {
        if ((JSON.parse(data) as { kind: string }).kind === 'blank') listener.note('blank');
      } else turn = turn.then(() => show(data));
    };
    socket.onclose = () => {
      if (stopped) return;
      listener.note('lost');
      timer = window.setTimeout(connect, AGAIN);
    };
  };
  connect();
  return {
    send: (input) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(input));
    },
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      socket.close();
    },
  };
}

/** DOM's buttons (left, right, middle: bits 0, 1, 2) are the API's. */
export function placeIn(box: DOMRect, x: number, y: number): { readonly x: number; readonly y: number } {
  const within = (value: number): number => Math.min(1, Math.max(0, value));
  return { x: within((x - box.left) / (box.width || 1)), y: within((y - box.top) / (box.height || 1)) };
}
