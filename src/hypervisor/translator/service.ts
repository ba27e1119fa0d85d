/**
 * Translation of a batch of regions into one module: a function of the code alone, so that it can run on a thread of its
 * own. The processor compares the code again when it installs the result.
 */
import { isPure, REGION } from '../interpreter/build.ts';
import { type Callee, FunctionBuilder } from '../wasm/function.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import { Decoder, type Instruction } from '../x86/decoder.ts';
import { forms, helperDefinitions } from '../x86/table.ts';
import { emitRegion } from './emit.ts';
import { type Machine, TranslatorPort, Untranslatable } from './port.ts';
import { findRegion, type Region } from './region.ts';

export interface TranslationRequest {
  /** Address of the processor's VpState: a constant of the code. */
  readonly vp: number;
  readonly items: readonly {
    /** Names the item in the answer. */
    readonly record: number;
    /** A copy of the page's bytes, and where in it the block begins. */
    readonly page: Uint8Array;
    readonly entry: number;
  }[];
}

export interface TranslationResult {
  readonly module: WebAssembly.Module | undefined;
  /** Bytes of the module. */
  readonly bytes: number;
  readonly milliseconds: number;
  /** In the order of the request: the exported function, and the stretch of the page it was made from; or nothing. */
  readonly regions: readonly (
    | {
        readonly record: number;
        readonly name: string;
        readonly entry: number;
        readonly from: number;
        readonly code: Uint8Array;
        readonly size: number;
      }
    | undefined
  )[];
}

const NOTHING = { params: [], results: [] } as const;
const PLAIN = { params: ['i32', 'i64', 'i32', 'i32'], results: ['i32'] } as const;
const TYPES = new Map(helperDefinitions.map((d) => [d.name, d.type]));
const decoder = new Decoder(forms);
const translatable = new Map<number, boolean>();

export function translate(request: TranslationRequest): TranslationResult {
  const started = performance.now();
  const found = request.items.map(({ page, entry }) =>
    findRegion({ decoder, page, entry, translatable: isTranslatable }),
  );
  const regions = found.map((region, i) => {
    const item = request.items[i];
    if (!region || !item) return undefined;
    const { from, to, size } = region;
    return { record: item.record, name: `region${i}`, entry: item.entry, from, code: item.page.slice(from, to), size };
  });
  if (regions.every((r) => r === undefined))
    return { module: undefined, bytes: 0, milliseconds: performance.now() - started, regions };
  const bytes = build(found, request.vp);
  const module = new WebAssembly.Module(bytes);
  return { module, bytes: bytes.length, milliseconds: performance.now() - started, regions };
}

function helperType(name: string): Callee['type'] {
  if (name.startsWith('plain_')) return PLAIN;
  const type = isPure(name) ? TYPES.get(name) : undefined;
  if (!type) throw new Untranslatable();
  return type;
}

function build(regions: readonly (Region | undefined)[], vp: number): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ memory: { initial: 1, maximum: 65536 }, leaves: true });
  const callees = new Map<string, Callee>();
  const helper = (name: string): Callee => {
    let callee = callees.get(name);
    if (!callee) {
      callee = module.importFunction(name, helperType(name));
      callees.set(name, callee);
    }
    return callee;
  };
  regions.forEach((region, i) => {
    if (!region) return;
    module.function(
      `region${i}`,
      REGION,
      (f) => {
        emitRegion(f, { region, vp, helper });
      },
      true,
    );
  });
  return module.finish();
}

/** Whether a product can be translated, found out by trying it once. */
function isTranslatable(i: Instruction): boolean {
  if (!i.long64 || i.addressSize !== 3 || i.form.options.repeat !== undefined) return false;
  const key = (i.form.id << 7) | (Math.log2(i.size) << 4) | (i.isMemory ? 8 : 0) | (i.lock ? 4 : 0);
  let known = translatable.get(key);
  if (known === undefined) {
    known = tryOut(i);
    translatable.set(key, known);
  }
  return known;
}

function tryOut(instruction: Instruction): boolean {
  const f = new FunctionBuilder('trial', NOTHING, () => 0);
  const i64 = () => f.variable('i64');
  const machine: Machine = {
    f,
    vp: f.i32(0),
    registers: Array.from({ length: 16 }, i64),
    flagResult: i64(),
    flagCarries: i64(),
    flagAux: f.variable('i32'),
    page: i64(),
    helper: (name) => ({ name, type: helperType(name), index: () => 0 }),
    used: new Set(),
    written: new Set(),
    flagsUsed: false,
    flagsWritten: false,
  };
  const nothing = (): void => undefined;
  const ending = { redo: nothing, leave: nothing, branch: nothing, jump: nothing };
  try {
    instruction.form.semantics(new TranslatorPort(machine, instruction, 0, ending, undefined));
    return true;
  } catch (error) {
    if (error instanceof Untranslatable) return false;
    throw error;
  }
}
