/** A labelled field of a form. */
import { type ComponentProps, type ReactNode, useId } from 'react';

interface Common {
  readonly label: string;
  readonly hint?: ReactNode;
}

export function Field({ label, hint, ...rest }: Common & ComponentProps<'input'>) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input className="input" id={id} aria-describedby={hint ? `${id}-hint` : undefined} {...rest} />
      {hint ? <small id={`${id}-hint`}>{hint}</small> : null}
    </div>
  );
}

export function Area({ label, hint, ...rest }: Common & ComponentProps<'textarea'>) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <textarea className="input" id={id} rows={3} {...rest} />
      {hint ? <small>{hint}</small> : null}
    </div>
  );
}

export function Choice({
  label,
  hint,
  options,
  ...rest
}: Common & ComponentProps<'select'> & { options: readonly (string | readonly [string, string])[] }) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <select className="input" id={id} {...rest}>
        {options.map((option) => {
          const [value, text] = typeof option === 'string' ? [option, option] : option;
          return (
            <option key={value} value={value}>
              {text}
            </option>
          );
        })}
      </select>
      {hint ? <small>{hint}</small> : null}
    </div>
  );
}
