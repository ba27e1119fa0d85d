/** Which handler runs which product of a form: the numbering shared by the module's builder and the record encoder. */
import { decodeTable } from '../x86/decode-table.ts';
import type { Instruction } from '../x86/decoder.ts';
import type { Form, SemanticFunction } from '../x86/form.ts';
import { isInline } from './inline.ts';
import type { DecodingTables } from './module.ts';
import type { Variant } from './port.ts';
import { Handler } from './record.ts';
import { FLAT, LOCKED, MEMORY, recordTable, VARIATION_BITS, WHILE_EQUAL, WHILE_UNEQUAL } from './record-table.ts';

const LOG2: Readonly<Record<number, number>> = { 1: 0, 2: 1, 4: 2, 8: 3 };

/** A product's number within its form. */
function packed(size: number, memory: boolean, flat: boolean, lock: boolean, repeat: 'none' | 'rep' | 'repne'): number {
  return (
    (LOG2[size] as number) |
    (memory ? MEMORY : 0) |
    (flat ? FLAT : 0) |
    (lock ? LOCKED : 0) |
    (repeat === 'rep' ? WHILE_EQUAL : repeat === 'repne' ? WHILE_UNEQUAL : 0)
  );
}

/** Whether the product differs between 64-bit mode with 64-bit addresses (`flat`) and everything else. */
function isFlavored(form: Form, memory: boolean): boolean {
  return memory || form.flavored;
}

function variantsOf(form: Form): Variant[] {
  const memories = !form.hasModrm || form.rm === 'register' ? [false] : form.rm === 'memory' ? [true] : [false, true];
  const { mode, lock, implicitLock, repeat } = form.options;
  const repeats =
    repeat === undefined
      ? (['none'] as const)
      : repeat === 'rep'
        ? (['none', 'rep'] as const)
        : (['none', 'rep', 'repne'] as const);
  const result: Variant[] = [];
  for (const size of form.sizes)
    for (const memory of memories)
      for (const flat of isFlavored(form, memory) && mode !== 'not64' ? [true, false] : [false])
        for (const locked of memory && implicitLock ? [true] : lock && memory ? [false, true] : [false])
          for (const r of repeats) result.push({ form, size, memory, flat, lock: locked, repeat: r });
  return result;
}

/** What the code of a form depends on in its operands. */
function operandText({ operands }: Form): string {
  return operands
    .map((o) => `${o.kind}${o.kind === 'I' || o.kind === 'J' ? '' : o.width}${o.access}${o.register}`)
    .join();
}

/** Numbers things in the order in which they are met. */
function numberOf<T>(numbers: Map<T, number>, thing: T): number {
  let number = numbers.get(thing);
  if (number === undefined) numbers.set(thing, (number = numbers.size));
  return number;
}

export class HandlerTable implements DecodingTables {
  /** Handlers inside the main loop, in order from Handler.FIRST. */
  readonly inline: readonly Variant[];
  /** Handlers that are functions, in order after the inline ones. */
  readonly outline: readonly Variant[];
  readonly firstOutline: number;
  readonly decoding: Int32Array;
  readonly numbers: Uint16Array;
  readonly forms: readonly Form[];
  readonly records: Int32Array;

  constructor(forms: readonly Form[]) {
    this.forms = forms;
    this.decoding = decodeTable(forms);
    this.records = recordTable(forms);
    // Products of different forms that are the same code share a handler: the code of a form has a number.
    const semantics = new Map<SemanticFunction, number>();
    const codes = new Map<string, number>();
    const groups = new Map<number, { variant: Variant; inline: boolean; keys: number[] }>();
    for (const form of forms) {
      const code = numberOf(codes, `${numberOf(semantics, form.semantics)}:${operandText(form)}:${form.flavored}`);
      for (const variant of variantsOf(form)) {
        const variation = packed(variant.size, variant.memory, variant.flat, variant.lock, variant.repeat);
        const key = (form.id << VARIATION_BITS) | variation;
        const inline = isInline(variant, isFlavored(form, variant.memory));
        const group = groups.get((code << VARIATION_BITS) | variation);
        if (group) {
          group.keys.push(key);
          group.inline ||= inline;
        } else groups.set((code << VARIATION_BITS) | variation, { variant, inline, keys: [key] });
      }
    }
    const all = [...groups.values()];
    const inline = all.filter((g) => g.inline);
    const outline = all.filter((g) => !g.inline);
    this.inline = inline.map((g) => g.variant);
    this.outline = outline.map((g) => g.variant);
    this.firstOutline = Handler.FIRST + inline.length;
    this.numbers = new Uint16Array(forms.length << VARIATION_BITS);
    [...inline, ...outline].forEach((g, i) => {
      for (const key of g.keys) this.numbers[key] = Handler.FIRST + i;
    });
  }

  /** The handler that executes a decoded instruction. */
  of(i: Instruction): number {
    const { form, isMemory } = i;
    const takes = form.options.repeat;
    const repeat =
      takes === undefined || i.repeat === 0 ? 'none' : i.repeat === 0xf3 || takes === 'rep' ? 'rep' : 'repne';
    const locked = isMemory && (i.lock || form.options.implicitLock === true);
    return this.find(form, i.size, isMemory, i.long64 && i.addressSize === 3, locked, repeat);
  }

  /** A handler's place in the table of functions. */
  functionOf(handler: number): number {
    return handler >= this.firstOutline ? handler - this.firstOutline : this.outline.length + handler - Handler.FIRST;
  }

  find(
    form: Form,
    size: number,
    memory: boolean,
    flat: boolean,
    lock: boolean,
    repeat: 'none' | 'rep' | 'repne',
  ): number {
    const variation = packed(size, memory, isFlavored(form, memory) && flat, lock, repeat);
    const number = this.numbers[(form.id << VARIATION_BITS) | variation];
    if (!number) throw new Error(`no handler for ${form.mnemonic} (${form.encoding}) size ${size}`);
    return number;
  }
}
