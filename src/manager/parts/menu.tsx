/** A button with a menu. */
import { Menu as Base } from '@base-ui/react/menu';
import { Fragment } from 'react';

export interface MenuEntry {
  readonly id: string;
  readonly label: string;
  readonly danger?: boolean | undefined;
  readonly onChoose: () => void;
}

export function Menu({
  label,
  name,
  entries,
  small,
}: {
  label: string;
  name?: string;
  entries: readonly MenuEntry[];
  small?: boolean;
}) {
  return (
    <Base.Root>
      <Base.Trigger className={small ? 'button small' : 'button'} aria-label={name}>
        {label}
      </Base.Trigger>
      <Base.Portal>
        <Base.Positioner className="menu-place" sideOffset={4} align="end">
          <Base.Popup className="menu">
            {entries.map(({ id, label: text, danger, onChoose }, at) => (
              <Fragment key={id}>
                {danger && at > 0 && !entries[at - 1]!.danger ? <Base.Separator className="menu-line" /> : null}
                <Base.Item className="menu-item" data-danger={danger || undefined} onClick={onChoose}>
                  {text}
                </Base.Item>
              </Fragment>
            ))}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}
