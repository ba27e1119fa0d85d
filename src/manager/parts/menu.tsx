/** A button with a menu. Until somebody wants it, the button is all there is: a list has hundreds. */
import { Menu as Base } from '@base-ui/react/menu';
import { Fragment, useState } from 'react';

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
  const [wanted, setWanted] = useState(false);
  const className = small ? 'button small' : 'button';
  if (!wanted)
    return (
      <button
        type="button"
        className={className}
        aria-label={name}
        aria-haspopup="menu"
        aria-expanded={false}
        onClick={() => setWanted(true)}
        onKeyDown={(event) => {
          if (event.key !== 'ArrowDown') return;
          event.preventDefault();
          setWanted(true);
        }}
      >
        {label}
      </button>
    );
  return (
    <Base.Root defaultOpen>
      <Base.Trigger className={className} aria-label={name}>
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
