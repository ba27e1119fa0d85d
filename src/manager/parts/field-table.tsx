/** Forms by tables: of each value that an object has, what it is called, how it is shown, and how what is written is read. */
import { textIn } from '../store/form.ts';
import { bytes, parseSize } from '../store/format.ts';
import { forwardText, parseForwards, parsePorts, portText } from '../store/forwards.ts';
import { Area, Check, Choice, Field, type Option } from './field.tsx';

interface Kind {
  readonly show: (value: never) => string;
  /** @throws Error with what cannot be */
  readonly read: (text: string, label: string) => unknown;
}

const MEGA = 1e6;
const wordsIn = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);

const KINDS = {
  text: { show: (value: string) => value, read: (text) => text },
  area: { show: (value: string) => value, read: (text) => text },
  choice: { show: (value: string) => value, read: (text) => text },
  /** Nothing written is null, in this and what follows. */
  optional: { show: (value: string) => value, read: (text) => text || null },
  optionalChoice: { show: (value: string) => value, read: (text) => text || null },
  number: { show: (value: number) => String(value), read: (text) => (text === '' ? null : Number(text)) },
  size: { show: (value: number) => bytes(value), read: sizeOf },
  /** Bits in a second, written as millions. */
  megabits: {
    show: (value: number) => String(value / MEGA),
    read: (text) => (text === '' ? null : Math.round(Number(text) * MEGA)),
  },
  words: { show: (value: readonly string[]) => value.join(' '), read: wordsIn },
  optionalWords: {
    show: (value: readonly string[]) => value.join(' '),
    read: (text) => (text === '' ? null : wordsIn(text)),
  },
  forwards: {
    show: (value: Parameters<typeof forwardText>[0][]) => value.map(forwardText).join(' '),
    read: parseForwards,
  },
  ports: {
    show: (value: Parameters<typeof portText>[0][]) => value.map(portText).join(' '),
    read: parsePorts,
  },
  check: { show: (value: boolean) => (value ? 'on' : ''), read: (text) => text === 'on' },
} as const satisfies Readonly<Record<string, Kind>>;

function sizeOf(text: string, label: string): number | null {
  if (text === '') return null;
  const size = parseSize(text);
  if (size === undefined) throw new Error(`the ${label.toLowerCase()} must be a size, as 512M or 2G`);
  return size;
}

export interface FieldOf {
  /** The value's name in its object. */
  readonly of: string;
  readonly label: string;
  readonly kind: keyof typeof KINDS;
  readonly hint?: string | undefined;
  readonly options?: readonly Option[];
  readonly min?: number;
  readonly max?: number;
  readonly step?: number;
  readonly pattern?: string;
  readonly placeholder?: string;
  readonly required?: boolean;
  /** Beside another. */
  readonly half?: boolean;
}

type Values = object;

function shown({ of, kind }: FieldOf, values: Values): string {
  const value = (values as Readonly<Record<string, unknown>>)[of];
  const { show } = KINDS[kind] as { readonly show: (value: unknown) => string };
  return value === undefined || value === null ? '' : show(value);
}

export function FieldTable({ fields, values }: { fields: readonly FieldOf[]; values: Values }) {
  return (
    <div className="field-table">
      {fields.map((field) => (
        <div key={field.of} data-half={field.half}>
          <One field={field} text={shown(field, values)} />
        </div>
      ))}
    </div>
  );
}

function One({ field, text }: { field: FieldOf; text: string }) {
  const { of: name, kind, label, hint, options = [], half: _, ...limits } = field;
  const common = { label, name, hint, defaultValue: text };
  switch (kind) {
    case 'area':
      return <Area {...common} />;
    case 'choice':
    case 'optionalChoice':
      // Chosen once the options are known.
      return <Choice {...common} key={options.length} options={options} />;
    case 'check':
      return <Check name={name} label={label} defaultChecked={text === 'on'} />;
    case 'number':
    case 'megabits':
      return <Field {...common} {...limits} type="number" step={kind === 'megabits' ? 'any' : 1} />;
    default:
      return <Field {...common} {...limits} autoComplete="off" />;
  }
}

/** What of the values is another now. What was left as it is stays as it is, to the byte. @throws Error with what cannot be */
export function changesIn(fields: readonly FieldOf[], values: Values, data: FormData): Record<string, unknown> {
  return Object.fromEntries(
    fields.flatMap((field) => {
      const text = textIn(data, field.of).replaceAll('\r\n', '\n').trim();
      if (text === shown(field, values).trim()) return [];
      return [[field.of, KINDS[field.kind].read(text, field.label)]];
    }),
  );
}
