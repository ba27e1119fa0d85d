/** The guest's screen on a canvas, with the reader's keyboard and mouse in the guest's synthetic devices. */

import { type KeyboardEvent, type PointerEvent, type ReactNode, useEffect, useRef, useState } from 'react';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Area } from '../parts/field.tsx';
import { Menu } from '../parts/menu.tsx';
import { call } from '../store/api.ts';
import { textIn } from '../store/form.ts';
import { attempt } from '../store/run.ts';
import { toast } from '../store/toasts.ts';
import { openScreen, placeIn, type ScreenLink } from './screen-link.ts';

const NOTES = {
  connecting: 'connecting',
  blank: 'the guest shows nothing: it has no driver for the screen (hyperv_drm), or has not loaded it yet',
  shown: 'connected',
  lost: 'cut off; connecting again',
} as const;

/** Characters that the service types at once. */
const MOST_TYPED = 10_000;

/** Pixels of a wheel's notch: browsers say 100 to 120. */
const NOTCH = 100;

/** What a browser or its system keeps for itself. */
const CHORDS: readonly (readonly [label: string, keys: readonly string[]])[] = [
  ...[1, 2, 3, 4, 5, 6, 7].map((n) => [`Ctrl-Alt-F${n}`, ['ControlLeft', 'AltLeft', `F${n}`]] as const),
  ['Ctrl-Alt-Backspace', ['ControlLeft', 'AltLeft', 'Backspace']],
  ['Alt-Tab', ['AltLeft', 'Tab']],
  ['Alt-F4', ['AltLeft', 'F4']],
  ['Alt-SysRq-B (restarts at once)', ['AltLeft', 'PrintScreen', 'KeyB']],
  ['Windows key', ['MetaLeft']],
];

/** Not of every browser. */
type KeyboardLock = Navigator & { readonly keyboard?: { lock?(): Promise<void> } };

/** @param kinds what else may be looked at, at the beginning of the bar. */
export function Screen({ vm, name, kinds }: { vm: string; name: string; kinds: ReactNode }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const bar = useRef<HTMLDivElement>(null);
  const link = useRef<ScreenLink>(null);
  const [note, setNote] = useState<keyof typeof NOTES>('connecting');
  const [scale, setScale] = useState<'fit' | 'exact'>('fit');
  const [pasting, setPasting] = useState(false);
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    const mine = openScreen(vm, {
      note: setNote,
      part: ({ x, y, width, height, picture }) => {
        if (context.canvas.width !== width || context.canvas.height !== height) resize(context.canvas, width, height);
        context.drawImage(picture, x, y);
        picture.close();
      },
    });
    link.current = mine;
    return () => mine.stop();
  }, [vm]);

  // A wheel that scrolls the page too is of no use; React's own listeners cannot say so.
  useEffect(() => {
    const element = canvas.current!;
    let turned = 0;
    const wheel = (event: WheelEvent): void => {
      event.preventDefault();
      const place = placeIn(element.getBoundingClientRect(), event.clientX, event.clientY);
      // Pixels, or lines or pages: a notch is a notch. A touchpad sends pixels by the few.
      turned += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : Math.sign(event.deltaY) * NOTCH;
      for (; Math.abs(turned) >= NOTCH; turned -= Math.sign(turned) * NOTCH)
        link.current?.send({ kind: 'mouse', ...place, wheel: turned > 0 ? -1 : 1 });
    };
    element.addEventListener('wheel', wheel, { passive: false });
    return () => element.removeEventListener('wheel', wheel);
  }, []);

  const held = useRef(new Set<string>());
  const key = (event: KeyboardEvent, down: boolean): void => {
    // Ctrl+Alt+Enter leaves; every other key is the guest's.
    if (event.ctrlKey && event.altKey && event.code === 'Enter') {
      event.preventDefault();
      if (down) void leave();
      return;
    }
    event.preventDefault();
    if (down) held.current.add(event.code);
    else held.current.delete(event.code);
    link.current?.send({ kind: 'key', code: event.code, down });
  };
  const leave = async (): Promise<void> => {
    // Nothing else can have the focus before.
    if (document.fullscreenElement !== null) await document.exitFullscreen();
    bar.current?.querySelector('button')?.focus();
  };
  /** What is held when the focus goes is let go: the guest would see it held for ever. */
  const release = (): void => {
    for (const code of held.current) link.current?.send({ kind: 'key', code, down: false });
    held.current.clear();
  };
  const fullScreen = async (): Promise<void> => {
    await box.current!.requestFullscreen();
    canvas.current!.focus();
    // Where the browser can: Escape, Alt+Tab and their like are the guest's too.
    await (navigator as KeyboardLock).keyboard?.lock?.().catch(() => {});
  };
  const type = async (text: string): Promise<void> => {
    const { untyped } = await call('sendKeys', { params: { vm }, body: { text: text.replaceAll('\r\n', '\n') } });
    if (untyped !== '') toast('info', `Not typed, a US keyboard does not have it: ${untyped}`);
  };
  const paste = async (): Promise<void> => {
    const text = await navigator.clipboard.readText().catch(() => undefined);
    if (text === undefined) toast('error', 'The browser does not let this page read the clipboard: use Type text.');
    else if (text !== '') await attempt('Paste', () => type(text.slice(0, MOST_TYPED)));
    canvas.current?.focus();
  };
  const pointer = (event: PointerEvent<HTMLCanvasElement>): void => {
    const place = placeIn(event.currentTarget.getBoundingClientRect(), event.clientX, event.clientY);
    link.current?.send({ kind: 'mouse', ...place, buttons: event.buttons & 7 });
  };
  const press = (label: string, keys: readonly string[]): void => {
    void attempt(label, () => call('sendKeys', { params: { vm }, body: { keys: [...keys] } }));
  };
  const screenshot = (): void => {
    canvas.current!.toBlob((blob) => {
      if (blob === null) return;
      const anchor = document.createElement('a');
      anchor.href = URL.createObjectURL(blob);
      anchor.download = `${name}.png`;
      anchor.click();
      URL.revokeObjectURL(anchor.href);
    });
  };
  return (
    <>
      <div className="buttons" ref={bar}>
        {kinds}
        <Button look="small" onClick={() => press('Ctrl-Alt-Del', ['ControlLeft', 'AltLeft', 'Delete'])}>
          Ctrl-Alt-Del
        </Button>
        <Menu
          small
          label="Keys"
          entries={CHORDS.map(([label, keys]) => ({ id: label, label, onChoose: () => press(label, keys) }))}
        />
        <Button look="small" onClick={() => void paste()}>
          Paste
        </Button>
        <Button look="small" onClick={() => setPasting(true)}>
          Type text
        </Button>
        <Button look="small" onClick={() => setScale(scale === 'fit' ? 'exact' : 'fit')}>
          {scale === 'fit' ? 'Exact size' : 'Fit'}
        </Button>
        <Button look="small" onClick={() => void fullScreen()}>
          Full screen
        </Button>
        <Button look="small" disabled={note !== 'shown'} onClick={screenshot}>
          Screenshot
        </Button>
        <span className="quiet" role="status">
          {NOTES[note]}
        </span>
      </div>
      <div className="screen-box" data-scale={scale} ref={box}>
        {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: the guest's keyboard and mouse are here */}
        <canvas
          ref={canvas}
          tabIndex={0}
          role="application"
          aria-label={`Screen of ${name}. Keys go to the guest; Ctrl+Alt+Enter leaves.`}
          width={640}
          height={400}
          hidden={note === 'blank'}
          onKeyDown={(event) => key(event, true)}
          onKeyUp={(event) => key(event, false)}
          onPointerMove={pointer}
          onPointerDown={(event) => {
            event.currentTarget.focus();
            event.currentTarget.setPointerCapture(event.pointerId);
            pointer(event);
          }}
          onPointerUp={pointer}
          onBlur={release}
          onContextMenu={(event) => event.preventDefault()}
        />
        {note === 'blank' ? <p>{NOTES.blank}</p> : null}
      </div>
      {pasting ? (
        <Dialog
          title="Type text"
          text="It is typed into the guest as on a US keyboard."
          action="Type"
          onClose={() => setPasting(false)}
          onAction={(data) => attempt('Type text', () => type(textIn(data, 'text')))}
        >
          <Area label="Text" name="text" rows={5} maxLength={MOST_TYPED} required autoFocus />
        </Dialog>
      ) : null}
    </>
  );
}

/** Its shape is what the style needs to fit it into a box. */
function resize(canvas: HTMLCanvasElement, width: number, height: number): void {
  Object.assign(canvas, { width, height });
  canvas.style.setProperty('--shape', String(width / height));
}
