/** Dialogs: Base UI keeps the focus in them and gives it back. */
import { Dialog as Base } from '@base-ui/react/dialog';
import { type FormEvent, type ReactNode, useState } from 'react';
import { Button } from './button.tsx';

export interface DialogProps {
  readonly title: string;
  readonly text?: ReactNode;
  readonly children?: ReactNode;
  /** On the button that does it. */
  readonly action: string;
  readonly danger?: boolean;
  /** Resolves with whether it was done, and the dialog may go. */
  readonly onAction: (data: FormData) => Promise<boolean> | boolean;
  readonly onClose: () => void;
}

export function Dialog({ title, text, children, action, danger, onAction, onClose }: DialogProps) {
  const [busy, setBusy] = useState(false);
  const submit = async (event: FormEvent<HTMLFormElement>): Promise<void> => {
    event.preventDefault();
    setBusy(true);
    const done = await onAction(new FormData(event.currentTarget));
    setBusy(false);
    if (done) onClose();
  };
  return (
    <Base.Root open onOpenChange={(open) => open || onClose()}>
      <Base.Portal>
        <Base.Backdrop className="backdrop" />
        <Base.Popup className="dialog" render={<form onSubmit={(event) => void submit(event)} />}>
          <Base.Title>{title}</Base.Title>
          {text === undefined ? null : <Base.Description className="wrap">{text}</Base.Description>}
          {children}
          <div className="buttons">
            <Button onClick={onClose}>Cancel</Button>
            <Button type="submit" look={danger ? 'danger' : 'main'} disabled={busy}>
              {action}
            </Button>
          </div>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
