/**
 * The profile of a boot, or of one workload: what is executed, how it is spread over blocks and handlers, and how often
 * the interpreter is left. Counting and timing slow the machine; no time here is one to compare.
 */

import { HandlerTable } from '../../src/hypervisor/interpreter/handlers.ts';
import type { Variant } from '../../src/hypervisor/interpreter/port.ts';
import { Field, Handler, RECORD } from '../../src/hypervisor/interpreter/record.ts';
import { RECORD_COUNTS, RECORD_COUNTS_SIZE, RECORDS, vpArea } from '../../src/hypervisor/memory/layout.ts';
import { forms } from '../../src/hypervisor/x86/table.ts';
import type { Guest } from './machines.ts';
import { MarkerReader } from './markers.ts';
import { CountingMachine, type DecodedBlock, type Exit } from './one-thread.ts';

const TOP = [1, 10, 100, 1000, 10_000] as const;
const HANDLERS_SHOWN = 100;
const FUNCTIONS_SHOWN = 30;

export interface HandlerShare {
  readonly name: string;
  readonly inline: boolean;
  readonly executions: number;
  readonly share: number;
}

export interface Profile {
  readonly instructions: number;
  readonly seconds: number;
  readonly distinctInstructions: number;
  readonly distinctBlocks: number;
  readonly blockExecutions: number;
  /** Calls of the decoder: what exceeds the distinct blocks was dropped and made again. */
  readonly decodes: number;
  /** Of these, the ones that are made again at each execution: an instruction crosses pages. */
  readonly uncachedDecodes: number;
  /** And those of blocks whose place in the block table another block had taken, or that had been invalidated. */
  readonly repeatedDecodes: number;
  readonly invalidatedBlocks: number;
  /** Times that all records were dropped. */
  readonly flushes: number;
  /** [n, share of all instructions that the n hottest blocks execute]. */
  readonly hotShare: readonly (readonly [number, number])[];
  readonly handlers: readonly HandlerShare[];
  readonly inlineShare: number;
  readonly exits: Readonly<Record<string, Exit>>;
  readonly counters: Readonly<Record<string, number>>;
}

/** @param workload Its name, in an image that runs it; undefined: all of the run, start to power-off. */
export async function profileOf(guest: Guest, workload?: string): Promise<Profile> {
  const reader = new MarkerReader();
  let harvest = new Harvest();
  let before: Snapshot | undefined;
  let profile: Profile | undefined;
  const machine = await CountingMachine.create(guest, (text, running) => {
    reader.feed(text, { seconds: 0, instructions: running.instructions });
    if (workload === undefined) return;
    if (before === undefined && reader.begun === workload) {
      // What was executed up to here goes elsewhere.
      harvest.gather(running);
      harvest = new Harvest();
      before = snapshot(running);
    }
    if (profile === undefined && before && reader.measurements.has(workload))
      profile = report(running, before, harvest);
  });
  machine.beforeDrop = (blocks) => harvest.gather(machine, blocks);
  const start = snapshot(machine);
  machine.run();
  if (workload === undefined) return report(machine, start, harvest);
  if (profile === undefined) throw new Error(`${workload} did not end: ${reader.failures.join('; ')}`);
  return profile;
}

interface Snapshot {
  readonly instructions: number;
  readonly seconds: number;
  readonly decodes: number;
  readonly uncached: number;
  readonly repeated: number;
  readonly invalidated: number;
  readonly flushes: number;
  readonly exits: ReadonlyMap<string, Exit>;
  readonly counters: Readonly<Record<string, number>>;
}

function snapshot(machine: CountingMachine): Snapshot {
  const { blockLookups, tlbMisses, faults } = machine.vp;
  return {
    instructions: machine.instructions,
    seconds: performance.now() / 1000,
    decodes: machine.decodes,
    uncached: machine.uncached,
    repeated: machine.repeated,
    invalidated: machine.invalidatedBlocks,
    flushes: machine.flushes,
    exits: new Map([...machine.exits].map(([name, exit]) => [name, { ...exit }])),
    counters: { blockLookups: Number(blockLookups), tlbMisses: Number(tlbMisses), faults: Number(faults) },
  };
}

export function variantName(v: Variant): string {
  const operands = v.form.operands.map((o) => o.text).join(',');
  const marks = [
    v.memory ? 'mem' : '',
    v.lock ? 'lock' : '',
    v.repeat === 'none' ? '' : v.repeat,
    v.form.flavored && !v.flat ? 'not64' : '',
  ];
  return `${v.form.mnemonic} ${operands} ${v.size * 8} ${marks.filter((m) => m !== '').join(' ')}`
    .replace(/ +/g, ' ')
    .trim();
}

/** Executions, gathered from the records' counts. */
class Harvest {
  readonly handlers = new Map<string, { inline: boolean; count: number }>();
  readonly instructions = new Set<number>();
  /** Instructions executed by blocks, by the address of their first. */
  readonly blocks = new Map<number, number>();
  blockExecutions = 0;
  total = 0;
  inline = 0;
  readonly #table = new HandlerTable(forms);
  readonly #variants = [...this.#table.inline, ...this.#table.outline];

  /** Takes the counts of blocks and clears them. */
  gather(machine: CountingMachine, blocks: readonly DecodedBlock[] = machine.blocks): void {
    const base = vpArea(0) + RECORDS;
    const counts = new BigUint64Array(machine.buffer, vpArea(0) + RECORD_COUNTS, RECORD_COUNTS_SIZE / 8);
    const records = new DataView(machine.buffer, base);
    for (const { record, gpa } of blocks) this.#block(records, counts, record - base, gpa);
  }

  #block(records: DataView, counts: BigUint64Array, first: number, gpa: number): void {
    let instructions = 0;
    this.blockExecutions += Number(counts[first / RECORD]);
    let end = first;
    for (let at = first; ; at += RECORD) {
      const ip = records.getUint8(at + Field.IP);
      if (ip === 0 && at !== first) break;
      end = at + RECORD;
      // The last record is no instruction, but is counted too.
      if (records.getUint8(at + Field.LENGTH) === 0) break;
      const count = Number(counts[at / RECORD]);
      if (count === 0) continue;
      instructions += count;
      this.instructions.add(gpa + ip);
      this.#execution(records, at, count);
    }
    counts.fill(0n, first / RECORD, end / RECORD);
    if (instructions > 0) this.blocks.set(gpa, (this.blocks.get(gpa) ?? 0) + instructions);
    this.total += instructions;
  }

  #execution(records: DataView, at: number, count: number): void {
    const handler = records.getUint16(at + Field.HANDLER, true);
    const variant = handler < Handler.FIRST ? undefined : this.#variants[handler - Handler.FIRST];
    const form = forms[records.getUint16(at + Field.FORM, true)]!;
    const name = variant ? variantName(variant) : `${form.mnemonic} ${form.encoding} (in a block dropped since)`;
    const inline = handler < this.#table.firstOutline;
    const entry = this.handlers.get(name) ?? { inline, count: 0 };
    entry.count += count;
    this.handlers.set(name, entry);
    if (inline) this.inline += count;
  }
}

function report(machine: CountingMachine, before: Snapshot, harvest: Harvest): Profile {
  const after = snapshot(machine);
  harvest.gather(machine);
  const heat = [...harvest.blocks.values()];
  heat.sort((a, b) => b - a);
  const handlers = [...harvest.handlers]
    .map(([name, e]) => ({ name, inline: e.inline, executions: e.count, share: e.count / harvest.total }))
    .sort((a, b) => b.executions - a.executions);
  return {
    instructions: after.instructions - before.instructions,
    seconds: after.seconds - before.seconds,
    distinctInstructions: harvest.instructions.size,
    distinctBlocks: harvest.blocks.size,
    blockExecutions: harvest.blockExecutions,
    decodes: after.decodes - before.decodes,
    repeatedDecodes: after.repeated - before.repeated,
    uncachedDecodes: after.uncached - before.uncached,
    invalidatedBlocks: after.invalidated - before.invalidated,
    flushes: after.flushes - before.flushes,
    hotShare: TOP.map((n) => [n, heat.slice(0, n).reduce((sum, x) => sum + x, 0) / harvest.total] as const),
    handlers,
    inlineShare: harvest.inline / harvest.total,
    exits: Object.fromEntries(
      [...after.exits]
        .map(([name, exit]): [string, Exit] => {
          const then = before.exits.get(name) ?? { calls: 0, milliseconds: 0 };
          return [name, { calls: exit.calls - then.calls, milliseconds: exit.milliseconds - then.milliseconds }];
        })
        .filter(([, exit]) => exit.calls > 0)
        .sort(([, a], [, b]) => b.milliseconds - a.milliseconds || b.calls - a.calls),
    ),
    counters: Object.fromEntries(
      Object.entries(after.counters).map(([name, value]) => [name, value - (before.counters[name] ?? 0)]),
    ),
  };
}

export function profileText(p: Profile): string {
  const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;
  const handler = ({ name, inline, executions, share }: HandlerShare): string =>
    `  ${inline ? ' ' : '*'} ${percent(share).padStart(8)} ${String(executions).padStart(11)}  ${name}`;
  const lines = [
    `instructions          ${p.instructions}`,
    `  distinct            ${p.distinctInstructions}`,
    `blocks executed       ${p.blockExecutions}  (${(p.instructions / p.blockExecutions).toFixed(1)} instructions each)`,
    `  distinct            ${p.distinctBlocks}`,
    `  decoded             ${p.decodes}  (${p.uncachedDecodes} across pages, not kept; ${p.repeatedDecodes} again; ${p.invalidatedBlocks} invalidated; ${p.flushes} flushes of all)`,
    `not in the jump cache ${p.counters.blockLookups}`,
    `TLB misses            ${p.counters.tlbMisses}`,
    `exceptions            ${p.counters.faults}`,
    `seconds               ${p.seconds.toFixed(2)}  (counting: not one to compare)`,
    '',
    'share of instructions in the hottest blocks:',
    ...p.hotShare.map(([n, share]) => `  ${String(n).padStart(6)}  ${percent(share).padStart(8)}`),
    '',
    'exits to TypeScript       calls         ms   us each',
    ...Object.entries(p.exits).map(
      ([name, { calls, milliseconds }]) =>
        `  ${name.padEnd(22)}${String(calls).padStart(8)} ${milliseconds.toFixed(1).padStart(10)} ${((milliseconds / calls) * 1000).toFixed(2).padStart(9)}`,
    ),
    '',
    `handlers (inside the main loop: ${percent(p.inlineShare)} of instructions; * is a function of its own):`,
    ...p.handlers.slice(0, HANDLERS_SHOWN).map(handler),
    '',
    'the most executed functions:',
    ...p.handlers
      .filter((h) => !h.inline)
      .slice(0, FUNCTIONS_SHOWN)
      .map(handler),
  ];
  return `${lines.join('\n')}\n`;
}
