/** The guest's screen on a canvas, with the reader's keyboard and mouse in the guest's synthetic devices. */

import { type KeyboardEvent, type PointerEvent, useEffect, useRef, useState } from 'react';
import { Button } from '../parts/button.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { Area } from '../parts/field.tsx';
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

export function Screen({ vm, name }: { vm: string; name: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const box = useRef<HTMLDivElement>(null);
  const link = useRef<ScreenLink>(null);
  const [note, setNote] = useState<keyof typeof NOTES>('connecting');
  const [scale, setScale] = useState<'fit' | 'exact'>('fit');
  const [pasting, setPasting] = useState(false);
  useEffect(() => {
    const context = canvas.current!.getContext('2d')!;
    const mine = openScreen(vm, {
      note: setNote,
      part: ({ x, y, width, height, picture }) => {
        if (context.canvas.width !== width || context.canvas.height !== height)
          Object.assign(context.canvas, { width, height });
        context.drawImage(picture, x, y);
        picture.close();
      },
    });
    link.current = mine;
    return () => mine.stop();
  }, [vm]);

  const key = (event: KeyboardEvent, down: boolean): void => {
    // Ctrl+Alt+Enter leaves; every other key is the guest's.
    if (event.ctrlKey && event.altKey && event.code === 'Enter') {
      if (down) event.currentTarget.parentElement?.querySelector<HTMLElement>('button')?.focus();
      canvas.current?.blur();
      return;
    }
    event.preventDefault();
    link.current?.send({ kind: 'key', code: event.code, down });
  };
  const pointer = (event: PointerEvent<HTMLCanvasElement>): void => {
    const place = placeIn(event.currentTarget.getBoundingClientRect(), event.clientX, event.clientY);
    link.current?.send({ kind: 'mouse', ...place, buttons: event.buttons & 7 });
  };
  const wheel = (event: React.WheelEvent<HTMLCanvasElement>): void => {
    const place = placeIn(event.currentTarget.getBoundingClientRect(), event.clientX, event.clientY);
    link.current?.send({ kind: 'mouse', ...place, wheel: event.deltaY > 0 ? -1 : 1 });
  };
  const ctrlAltDel = (): void => {
    void attempt('Ctrl-Alt-Del', () =>
      call('sendKeys', { params: { vm }, body: { keys: ['ControlLeft', 'AltLeft', 'Delete'] } }),
    );
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
      <div className="buttons">
        <Button look="small" onClick={ctrlAltDel}>
          Ctrl-Alt-Del
        </Button>
        <Button look="small" onClick={() => setPasting(true)}>
          Type text
        </Button>
        <Button look="small" onClick={() => setScale(scale === 'fit' ? 'exact' : 'fit')}>
          {scale === 'fit' ? 'Exact size' : 'Fit'}
        </Button>
        <Button look="small" onClick={() => void box.current?.requestFullscreen().then(() => canvas.current?.focus())}>
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
          onWheel={wheel}
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
          onAction={(data) =>
            attempt('Type text', async () => {
              const text = textIn(data, 'text').replaceAll('\r\n', '\n');
              const { untyped } = await call('sendKeys', { params: { vm }, body: { text } });
              if (untyped !== '') toast('info', `Not typed, a US keyboard does not have it: ${untyped}`);
            })
          }
        >
          <Area label="Text" name="text" rows={5} maxLength={10_000} required autoFocus />
        </Dialog>
      ) : null}
    </>
  );
}
