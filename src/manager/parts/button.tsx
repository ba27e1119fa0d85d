/** Buttons of four looks. */
import type { ComponentProps } from 'react';

export type Look = 'main' | 'danger' | 'small' | 'plain';
const CLASSES: Readonly<Record<Look, string>> = {
  main: 'main-action',
  danger: 'danger',
  small: 'small',
  plain: 'plain',
};

export function Button({ look, ...rest }: ComponentProps<'button'> & { look?: Look | readonly Look[] }) {
  const looks = look === undefined ? [] : typeof look === 'string' ? [look] : look;
  return <button type="button" {...rest} className={['button', ...looks.map((each) => CLASSES[each])].join(' ')} />;
}
