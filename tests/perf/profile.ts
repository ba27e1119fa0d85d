/**
 * The profile of a boot, or of one workload: what is executed, how it is spread over blocks and handlers, and how often
 * the interpreter is left. Counting and timing slow the machine; no time here is one to compare.
 */
import { RECORD_COUNTS, RECORD_COUNTS_SIZE, RECORDS, vpArea } from '../../src/hypervisor/memory/layout.ts';
import { HandlerTable } from '../../src/hypervisor/interpreter/handlers.ts';
import type { Variant } from '../../src/hypervisor/interpreter/port.ts';
import { Field, Handler, RECORD } from '../../src/hypervisor/interpreter/record.ts';
import { forms } from '../../src/hypervisor/x86/table.ts';
import { type Mark, MarkerReader } from './markers.ts';
import type { Guest } from './machines.ts';
import { CountingMachine, type Exit } from './one-thread.ts';

const TOP = [1, 10, 100, 1000, 10_000] as const;
const HANDLERS_SHOWN = 100;

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
  readonly invalidatedBlocks: number;
  /** Times that all records were dropped; what was counted before the last one is lost. */
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
  let before: Snapshot | undefined;
  let profile: Profile | undefined;
  const machine = await CountingMachine.create(guest, (text, running) => {
    const mark: Mark = { seconds: 0, instructions: running.instructions };
    reader.feed(text, mark);
    if (workload === undefined) return;
    if (before === undefined && reader.begun === workload) before = snapshot(running, true);
    if (profile === undefined && before && reader.measurements.has(workload)) profile = report(running, before);
  });
  const start = snapshot(machine, true);
  machine.run();
  if (workload === undefined) return report(machine, start);
  if (profile === undefined) throw new Error(`${workload} did not end: ${reader.failures.join('; ')}`);
  return profile;
}

interface Snapshot {
  readonly instructions: number;
  readonly seconds: number;
  readonly decodes: number;
  readonly invalidated: number;
  readonly flushes: number;
  readonly exits: ReadonlyMap<string, Exit>;
  readonly counters: Readonly<Record<string, number>>;
}

function snapshot(machine: CountingMachine, clear: boolean): Snapshot {
  if (clear) new Uint8Array(machine.buffer, vpArea(0) + RECORD_COUNTS, RECORD_COUNTS_SIZE).fill(0);
  const { blockLookups, tlbMisses, faults } = machine.vp;
  return {
    instructions: machine.instructions,
    seconds: performance.now() / 1000,
    decodes: machine.decodes,
    invalidated: machine.invalidatedBlocks,
    flushes: machine.flushes,
    exits: new Map([...machine.exits].map(([name, exit]) => [name, { ...exit }])),
    counters: { blockLookups: Number(blockLookups), tlbMisses: Number(tlbMisses), faults: Number(faults) },
  };
}

export function variantName(v: Variant): string {
  const operands = v.form.operands.map((o) => o.text).join(',');
  const marks = [v.memory ? 'mem' : '', v.lock ? 'lock' : '', v.repeat === 'none' ? '' : v.repeat, v.form.flavored && !v.flat ? 'not64' : ''];
  return `${v.form.mnemonic} ${operands} ${v.size * 8} ${marks.filter((m) => m !== '').join(' ')}`.replace(/ +/g, ' ').trim();
}

function report(machine: CountingMachine, before: Snapshot): Profile {
  const after = snapshot(machine, false);
  const area = vpArea(0);
  const records = new DataView(machine.buffer, area + RECORDS);
  const counts = new BigUint64Array(machine.buffer, area + RECORD_COUNTS, RECORD_COUNTS_SIZE / 8);
  const table = new HandlerTable(forms);
  const variants = [...table.inline, ...table.outline];

  const executions = new Map<string, { inline: boolean; count: number }>();
  const addresses = new Set<number>();
  const blockAddresses = new Set<number>();
  const heat: number[] = [];
  let blockExecutions = 0;
  let total = 0;
  let inline = 0;
  for (const { record: first, gpa } of machine.blocks) {
    let instructions = 0;
    for (let at = first - area - RECORDS; ; at += RECORD) {
      const ip = records.getUint8(at + Field.IP);
      const length = records.getUint8(at + Field.LENGTH);
      const count = Number(counts[at / RECORD]);
      const start = at === first - area - RECORDS;
      // Another block, the end of the records, or a record that is no instruction.
      if (!start && ip === 0) break;
      if (start && count > 0) {
        blockExecutions += count;
        blockAddresses.add(gpa);
      }
      if (length === 0) break;
      if (count === 0) continue;
      instructions += count;
      addresses.add(gpa + ip);
      const handler = records.getUint16(at + Field.HANDLER, true);
      const variant = handler < Handler.FIRST ? undefined : variants[handler - Handler.FIRST];
      const form = forms[records.getUint16(at + Field.FORM, true)]!;
      const name = variant ? variantName(variant) : `${form.mnemonic} ${form.encoding} (in a block dropped since)`;
      const isInline = handler < table.firstOutline;
      const entry = executions.get(name) ?? { inline: isInline, count: 0 };
      entry.count += count;
      executions.set(name, entry);
      if (isInline) inline += count;
    }
    if (instructions > 0) heat.push(instructions);
    total += instructions;
  }
  heat.sort((a, b) => b - a);
  const handlers = [...executions]
    .map(([name, e]) => ({ name, inline: e.inline, executions: e.count, share: e.count / total }))
    .sort((a, b) => b.executions - a.executions);
  return {
    instructions: after.instructions - before.instructions,
    seconds: after.seconds - before.seconds,
    distinctInstructions: addresses.size,
    distinctBlocks: blockAddresses.size,
    blockExecutions,
    decodes: after.decodes - before.decodes,
    invalidatedBlocks: after.invalidated - before.invalidated,
    flushes: after.flushes - before.flushes,
    hotShare: TOP.map((n) => [n, heat.slice(0, n).reduce((sum, x) => sum + x, 0) / total] as const),
    handlers,
    inlineShare: inline / total,
    exits: Object.fromEntries(
      [...after.exits].map(([name, exit]): [string, Exit] => {
        const then = before.exits.get(name) ?? { calls: 0, milliseconds: 0 };
        return [name, { calls: exit.calls - then.calls, milliseconds: exit.milliseconds - then.milliseconds }];
      }).filter(([, exit]) => exit.calls > 0).sort(([, a], [, b]) => b.milliseconds - a.milliseconds || b.calls - a.calls),
    ),
    counters: Object.fromEntries(
      Object.entries(after.counters).map(([name, value]) => [name, value - (before.counters[name] ?? 0)]),
    ),
  };
}

export function profileText(p: Profile): string {
  const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;
  const lines = [
    `instructions          ${p.instructions}`,
    `  distinct            ${p.distinctInstructions}`,
    `blocks executed       ${p.blockExecutions}  (${(p.instructions / p.blockExecutions).toFixed(1)} instructions each)`,
    `  distinct            ${p.distinctBlocks}`,
    `  decoded             ${p.decodes}  (${p.invalidatedBlocks} invalidated, ${p.flushes} flushes of all)`,
    `not in the jump cache ${p.counters.blockLookups}`,
    `TLB misses            ${p.counters.tlbMisses}`,
    `exceptions            ${p.counters.faults}`,
    `seconds               ${p.seconds.toFixed(2)}  (counting: not one to compare)`,
    '',
    'share of instructions in the hottest blocks:',
    ...p.hotShare.map(([n, share]) => `  ${String(n).padStart(6)}  ${percent(share).padStart(8)}`),
    '',
    'exits to TypeScript       calls         ms   us each',
    ...Object.entries(p.exits).map(([name, { calls, milliseconds }]) =>
      `  ${name.padEnd(22)}${String(calls).padStart(8)} ${milliseconds.toFixed(1).padStart(10)} ${((milliseconds / calls) * 1000).toFixed(2).padStart(9)}`),
    '',
    `handlers (inside the main loop: ${percent(p.inlineShare)} of instructions; * is a function of its own):`,
    ...p.handlers.slice(0, HANDLERS_SHOWN).map(
      ({ name, inline, executions, share }) => `  ${inline ? ' ' : '*'} ${percent(share).padStart(8)} ${String(executions).padStart(11)}  ${name}`,
    ),
  ];
  return `${lines.join('\n')}\n`;
}
