/** A form's text field; '' where there is none. */
export function textIn(data: FormData, name: string): string {
  const value = data.get(name);
  return typeof value === 'string' ? value : '';
}

/** What a virtual machine's name may be (contracts/api/vm.ts), for a field to check before anything is made under it. */
export const NAME = {
  pattern: '[\\p{L}\\p{N}][\\p{L}\\p{N} ._\\-]*',
  title: 'It starts with a letter or digit, and has letters, digits, spaces, ".", "_" and "-" only',
  maxLength: 100,
} as const;
