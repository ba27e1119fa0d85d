/** A labelled field of a form. */
import { type ComponentProps, type ReactNode, useId } from 'react';

interface Common {
  readonly label: string;
  readonly hint?: ReactNode;
}

/** What is between a label and its hint. */
function Labelled({ label, hint, children }: Common & { children: (id: string, hintId?: string) => ReactNode }) {
  const id = useId();
  const hintId = hint ? `${id}-hint` : undefined;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children(id, hintId)}
      {hint ? <small id={hintId}>{hint}</small> : null}
    </div>
  );
}

export function Field({ label, hint, ...rest }: Common & ComponentProps<'input'>) {
  return (
    <Labelled label={label} hint={hint}>
      {(id, hintId) => <input className="input" id={id} aria-describedby={hintId} {...rest} />}
    </Labelled>
  );
}

export function Area({ label, hint, ...rest }: Common & ComponentProps<'textarea'>) {
  return (
    <Labelled label={label} hint={hint}>
      {(id, hintId) => <textarea className="input" id={id} rows={3} aria-describedby={hintId} {...rest} />}
    </Labelled>
  );
}

export type Option = string | readonly [value: string, text: string];

export function Choice({
  label,
  hint,
  options,
  ...rest
}: Common & ComponentProps<'select'> & { options: readonly Option[] }) {
  return (
    <Labelled label={label} hint={hint}>
      {(id, hintId) => (
        <select className="input" id={id} aria-describedby={hintId} {...rest}>
          {options.map((option) => {
            const [value, text] = typeof option === 'string' ? [option, option] : option;
            return (
              <option key={value} value={value}>
                {text}
              </option>
            );
          })}
        </select>
      )}
    </Labelled>
  );
}

export function Check({ label, ...rest }: { label: ReactNode } & ComponentProps<'input'>) {
  return (
    <label className="check">
      <input type="checkbox" {...rest} />
      <span>{label}</span>
    </label>
  );
}
