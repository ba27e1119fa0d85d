/**
 * Builds the interpreter's WebAssembly module from the instruction table: one function that loops over predecoded
 * records and switches on their handler, with the hot handlers inside it and the rest as functions that it calls.
 */
import { JUMP_CACHE, RECORD_COUNTS, RECORDS } from '../memory/layout.ts';
import { accessHelpers } from '../mmu/access.ts';
import { flushHelpers } from '../mmu/flush.ts';
import { segmentationHelpers } from '../mmu/segmentation.ts';
import { walkHelpers } from '../mmu/walk.ts';
import { COLD, countExit, jumpCacheEntry, PLACES, REGION, UNWIND } from '../translator/abi.ts';
import { RegionExit, VpState } from '../vp/state.ts';
import type { Callee, FunctionBuilder, FunctionType, Label, Table } from '../wasm/function.ts';
import { ModuleBuilder } from '../wasm/module.ts';
import type { Value } from '../wasm/value.ts';
import { type HelperContext, type HelperDefinition, Library } from '../x86/library.ts';
import type { HandlerTable } from './handlers.ts';
import { codeLinear, lookupHelpers, probeJumpCache } from './lookup.ts';
import { RunResult, tablesSection } from './module.ts';
import { InterpreterPort, type Variant } from './port.ts';
import { Field, Handler, RECORD } from './record.ts';

const at = (name: Parameters<typeof VpState.offset>[0]): number => VpState.offset(name);

const SYSTEM: FunctionType = { params: ['i64', 'i64'], results: ['i64'] };
/** Helpers that need nothing but their arguments; the x87's also have its state in VpState. Nothing of them faults. */
export function isPure(helper: string): boolean {
  return helper === 'divide_128' || /^(float|sse|x87)\./.test(helper);
}
const HANDLER: FunctionType = { params: ['i32', 'i32'], results: ['i32'] };

export interface BuildOptions {
  /** Counts the executions of each record, for profiles; see RECORD_COUNTS. */
  readonly counting?: boolean;
}

export function buildInterpreter(
  handlers: HandlerTable,
  definitions: readonly HelperDefinition[],
  memory: { initial: number; maximum: number },
  options: BuildOptions = {},
): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder({ memory });
  const fault = module.importTag('fault');
  const imported = new Map<string, ReturnType<ModuleBuilder['importFunction']>>();
  const library = new Library(module, fault, [
    ...walkHelpers,
    ...accessHelpers,
    ...flushHelpers,
    ...segmentationHelpers,
    ...definitions,
    ...lookupHelpers,
  ]);
  const provide = (name: string, type: FunctionType): void => {
    library.provide(module.importFunction(name, type));
  };
  provide('checked_access', { params: ['i64', 'i32', 'i32'], results: [] });
  provide('mmio_read', { params: ['i64', 'i32'], results: [] });
  provide('mmio_write', { params: ['i64', 'i32', 'i32'], results: [] });
  provide('code_written', { params: ['i32', 'i32'], results: [] });
  provide('decode', { params: ['i64', 'i32'], results: ['i32'] });
  provide('hot', { params: ['i32'], results: [] });
  provide('deliver', { params: [], results: ['i32'] });
  provide('split_lock', { params: [], results: [] });
  provide('split_unlock', { params: [], results: [] });
  // System operations are imported when the first product asks for one; all imports must come before functions are numbered.
  const context: HelperContext = {
    fault,
    helper: (name) => {
      if (!name.startsWith('system:')) return library.helper(name);
      let callee = imported.get(name);
      if (!callee) {
        callee = module.importFunction(name, SYSTEM);
        imported.set(name, callee);
      }
      return callee;
    },
  };

  // What translated code calls.
  for (const { name } of definitions) if (isPure(name)) library.export(name);
  // Those inside the loop follow as functions too, for translated code to call.
  const outline = [...handlers.outline, ...handlers.inline].map((variant, i) =>
    module.function(`${variantName(variant)}_${i}`, HANDLER, (f) => {
      outlineHandler(f, variant, context);
    }),
  );
  const outlineTable = module.table(outline as [Callee, ...Callee[]], { name: 'outline' });
  // What stands at every place of the table that holds no region.
  const none = module.function(
    'no_region',
    REGION,
    (f) => {
      // One processor, one instance: its state is where the table's owner says.
      f.return(f.param(0).or(UNWIND | COLD));
    },
    true,
  );
  const regionTable = module.table([none], { name: 'regions', size: PLACES });
  module.function(
    'run',
    { params: ['i32', 'i32'], results: ['i32'] },
    (f) => {
      mainLoop(f, handlers, context, options.counting === true, { outline: outlineTable, regions: regionTable });
    },
    true,
  );
  library.exportAll();
  module.custom(...tablesSection(handlers));

  return module.finish();
}

function variantName(v: Variant): string {
  return `${v.form.mnemonic}_${v.size * 8}${v.memory ? '_mem' : ''}${v.flat ? '_flat' : ''}${v.lock ? '_lock' : ''}`;
}

/** A handler as a function: (vp, record) -> 0 go on with the next record, 1 look up what `rip` says. */
function outlineHandler(f: FunctionBuilder, variant: Variant, context: HelperContext): void {
  const vp = f.param(0);
  const port = new InterpreterPort(
    {
      f,
      vp,
      record: () => f.param(1),
      inline: false,
      spill: () => undefined,
      ending: {
        lookup: () => {
          f.return(1);
        },
      },
    },
    variant,
    context,
  );
  variant.form.semantics(port);
  if (!port.ended) f.return(0);
}

/** run(vp, budget): interprets until the budget is used up or something wants attention. */
function mainLoop(
  f: FunctionBuilder,
  handlers: HandlerTable,
  context: HelperContext,
  counting: boolean,
  tables: Tables,
): void {
  const vp = f.param(0);
  const budget = f.variable('i32', f.param(1));
  const record = f.variable('i32', 0);
  const redo = f.variable('i32', 0);
  const spill = (): void => {
    f.store('i32.store', vp, budget.get(), at('budget'));
  };
  const ipOfRecord = (): Value =>
    f.load('i64.load', vp, at('blockIp')).add(f.load('i64.load8_u', record.get(), Field.IP));

  f.loop((outer) => {
    f.try(
      context.fault,
      () => {
        f.loop((lookupAgain) => {
          const window = f.load('i32.load', vp, at('flags')).and(f.load('i32.load', vp, at('interruptWindow')));
          f.if(
            f.load('i32.load', vp, at('attention')).or(window),
            () => {
              spill();
              f.return(RunResult.ATTENTION);
            },
            undefined,
            false,
          );
          // What shadows one instruction ends with it, and that one is executed now.
          f.if(
            f.load('i32.load', vp, at('interruptShadow')),
            () => {
              f.if(budget.get(), () => {
                f.store('i32.store', vp, 0, at('interruptShadow'));
              });
            },
            undefined,
            false,
          );
          // Zero while no record is being executed, so that a fault in fetching is told from one of an instruction.
          record.set(0);
          const found = probeJumpCache(f, vp);
          f.if(
            found.eqz(),
            () => {
              spill();
              record.set(f.call1(context.helper('lookup'), vp));
            },
            () => {
              record.set(found);
            },
            false,
          );
          f.store('i64.store', vp, f.load('i64.load', vp, at('rip')), at('blockIp'));
          f.if(
            redo.get(),
            () => {
              redo.set(0);
              f.if(f.load('i32.load16_u', record.get(), Field.HANDLER).eq(Handler.REGION), () => {
                record.set(record.get().add(RECORD));
              });
            },
            undefined,
            false,
          );
          f.loop((dispatch) => {
            f.if(
              budget.get().eqz(),
              () => {
                f.store('i64.store', vp, ipOfRecord(), at('rip'));
                spill();
                f.return(RunResult.BUDGET);
              },
              undefined,
              false,
            );
            budget.set(budget.get().sub(1));
            if (counting) countRecord(f, vp, record.get());
            dispatchTable(f, handlers, context, {
              vp,
              budget,
              record,
              dispatch,
              lookupAgain,
              redo,
              tables,
              spill,
              ipOfRecord,
            });
          }, 'dispatch');
        }, 'lookup');
      },
      () => {
        const called = f.load('i32.load', vp, at('calledRecord'));
        f.if(
          called,
          () => {
            // In the interpreter's function for an instruction of a region.
            record.set(called);
            budget.set(f.load('i32.load', vp, at('budget')));
            f.store('i32.store', vp, 0, at('calledRecord'));
          },
          undefined,
          false,
        );
        // The instruction that faulted has not retired.
        f.if(record.get().ne(0), () => {
          f.store('i64.store', vp, ipOfRecord(), at('rip'));
          budget.set(budget.get().add(1));
        });
        spill();
        f.if(f.call1(context.helper('short_deliver'), vp).eqz(), () => {
          f.if(f.call1(context.helper('deliver')), () => {
            f.return(RunResult.SHUTDOWN);
          });
        });
      },
    );
    f.br(outer);
  }, 'outer');
  f.return(RunResult.SHUTDOWN);
}

function countRecord(f: FunctionBuilder, vp: Value, record: Value): void {
  const records = vp.add(RECORDS);
  const counter = records.add(record.sub(records).shrU(Math.log2(RECORD / 8)));
  f.store('i64.store', counter, f.load('i64.load', counter, RECORD_COUNTS - RECORDS).add(1), RECORD_COUNTS - RECORDS);
}

interface Tables {
  readonly outline: Table;
  readonly regions: Table;
}

interface Loop {
  readonly vp: Value;
  readonly budget: ReturnType<FunctionBuilder['variable']>;
  readonly record: ReturnType<FunctionBuilder['variable']>;
  readonly dispatch: Label;
  readonly lookupAgain: Label;
  /** 1 when a region has left an instruction to the interpreter, which must not enter the region again there. */
  readonly redo: ReturnType<FunctionBuilder['variable']>;
  readonly tables: Tables;
  spill(): void;
  ipOfRecord(): Value;
}

function dispatchTable(f: FunctionBuilder, handlers: HandlerTable, context: HelperContext, loop: Loop): void {
  const { vp, budget, record, dispatch, lookupAgain, redo } = loop;
  const goOn = (): void => {
    record.set(record.get().add(RECORD));
    f.br(dispatch);
  };
  const notAnInstruction = (): void => {
    budget.set(budget.get().add(1));
  };
  const bodies: (() => void)[] = [];
  bodies[Handler.REFETCH] = () => {
    notAnInstruction();
    f.store('i64.store', vp, loop.ipOfRecord(), at('rip'));
    f.br(lookupAgain);
  };
  bodies[Handler.CONTINUE] = bodies[Handler.REFETCH] as () => void;
  bodies[Handler.RAISE] = () => {
    f.store('i32.store', vp, f.load('i32.load', record.get(), Field.IMMEDIATE), at('faultVector'));
    f.store('i32.store', vp, f.load('i32.load', record.get(), Field.IMMEDIATE2), at('faultError'));
    f.throw(context.fault);
  };
  bodies[Handler.ENTER] = () => {
    notAnInstruction();
    const left = f.load('i32.load', record.get(), Field.IMMEDIATE).sub(1);
    f.store('i32.store', record.get(), left, Field.IMMEDIATE);
    f.if(
      left.eqz(),
      () => {
        f.call(context.helper('hot'), record.get());
      },
      undefined,
      false,
    );
    goOn();
  };
  bodies[Handler.REGION] = () => {
    const place = f.load('i32.load', record.get(), Field.IMMEDIATE);
    // Other regions are to find it without coming here.
    const entry = jumpCacheEntry(vp, codeLinear(f, vp));
    f.if(f.load('i32.load', entry, JUMP_CACHE + 8).eq(record.get()), () => {
      f.store('i32.store', entry, place, JUMP_CACHE + 12);
    });
    f.store('i32.store', vp, 0, at('unwind'));
    record.set(0);
    const count = (counter: 'regionEntries' | 'regionInstructions', by: Value | number): void => {
      f.store('i64.store', vp, f.load('i64.load', vp, at(counter)).add(by), at(counter));
    };
    const before = budget.get();
    count('regionEntries', 1);
    const [left] = f.callIndirect(loop.tables.regions, REGION, place, budget.get().add(1), 0) as [Value];
    f.if(
      left.ltS(0),
      () => {
        redo.set(1);
        budget.set(left.not());
      },
      () => {
        f.if(left.and(COLD), () => {
          countExit(f, vp, RegionExit.COLD);
        });
        budget.set(left.and(~(UNWIND | COLD)));
      },
    );
    count('regionInstructions', before.add(1).sub(budget.get()).extU());
    f.br(lookupAgain);
  };
  handlers.inline.forEach((variant, i) => {
    bodies[Handler.FIRST + i] = () => {
      const port = new InterpreterPort(
        {
          f,
          vp,
          record: () => record.get(),
          inline: true,
          spill: loop.spill,
          ending: {
            lookup: () => {
              f.br(lookupAgain);
            },
          },
        },
        variant,
        context,
      );
      variant.form.semantics(port);
      if (!port.ended) goOn();
    };
  });
  const labels: Label[] = [];
  const nest = (n: number): void => {
    if (n < 0) {
      f.block((call) => {
        f.brTable(f.load('i32.load16_u', record.get(), Field.HANDLER), labels, call);
      });
      loop.spill();
      const index = f.load('i32.load16_u', record.get(), Field.HANDLER).sub(handlers.firstOutline);
      const [leave] = f.callIndirect(loop.tables.outline, HANDLER, index, vp, record.get()) as [Value];
      f.brIf(lookupAgain, leave);
      goOn();
      return;
    }
    f.block((label) => {
      labels[n] = label;
      nest(n - 1);
    });
    f.scope(() => {
      (bodies[n] as () => void)();
    });
  };
  nest(bodies.length - 1);
}
