/** A file of the host's by its path, with those that the service knows as suggestions. */
import { type ComponentProps, useId } from 'react';
import { Field } from './field.tsx';

export function FileField({
  known = [],
  ...rest
}: Omit<ComponentProps<typeof Field>, 'list'> & { known?: readonly string[] }) {
  const id = useId();
  return (
    <>
      <Field pattern="/.*" title="An absolute path, as /srv/disks/data.vhdx" list={id} autoComplete="off" {...rest} />
      <datalist id={id}>
        {known.map((file) => (
          <option key={file} value={file} />
        ))}
      </datalist>
    </>
  );
}
