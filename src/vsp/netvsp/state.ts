/** An adapter as plain data, for saved states: its shape, and the checks with which it is taken from a file. */
import { asArray, asBoolean, asBytes, asRecord, asText, asWhole } from '../../support/plain.ts';
import type { Settings } from './control.ts';
import { MAXIMUM_SECTIONS } from './protocol.ts';
import type { Outstanding } from './receive.ts';
import { RSS_TABLE_ENTRIES } from './rndis.ts';

export interface SavedNetvsp {
  readonly version: 1;
  /** The version agreed; 0: none. */
  readonly nvsp: number;
  readonly settings: Settings;
  readonly receive: { readonly gpadl: number; readonly id: number; readonly outstanding: Outstanding } | null;
  readonly send: { readonly gpadl: number; readonly id: number } | null;
  readonly transaction: number;
  /** Control messages, in hexadecimal. */
  readonly waiting: readonly string[];
  /** What the guest was told. */
  readonly linkUp: boolean;
  /** The address it was made with, in hexadecimal. */
  readonly address: string;
}

const U32 = 0xffff_ffff;
const U16 = 0xffff;

/** @throws RangeError when the data are no adapter's. */
export function parseSavedNetvsp(
  saved: unknown,
  what: string,
): Omit<SavedNetvsp, 'waiting'> & { readonly waiting: Uint8Array[] } {
  const record = asRecord(saved, what);
  if (record.version !== 1) throw new RangeError(`${what} has another version`);
  const { receive, send } = record;
  const settings = parseSettings(record.settings, what);
  return {
    version: 1,
    nvsp: asWhole(record.nvsp, what, U32),
    settings,
    receive: receive === null ? null : parseReceive(receive, what),
    send: send === null ? null : parseBuffer(send, what),
    transaction: asWhole(record.transaction, what),
    waiting: asArray(record.waiting, what).map((text) => asBytes(text, what)),
    linkUp: asBoolean(record.linkUp, what),
    // States of before it was recorded: the address in use, which guests seldom change.
    address: record.address === undefined ? settings.mac : asText(record.address, what),
  };
}

function parseSettings(plain: unknown, what: string): Settings {
  const { initialized, filter, mac, rsc4, rsc6, table, ...rest } = asRecord(plain, what);
  if (Object.keys(rest).length > 0 || asBytes(mac, what).length !== 6) throw new RangeError(`${what} makes no sense`);
  const entries = asArray(table, what).map((entry) => asWhole(entry, what, U16));
  if (entries.length > RSS_TABLE_ENTRIES) throw new RangeError(`${what} makes no sense`);
  return {
    initialized: asBoolean(initialized, what),
    filter: asWhole(filter, what, U32),
    mac: asText(mac, what),
    rsc4: asBoolean(rsc4, what),
    rsc6: asBoolean(rsc6, what),
    table: entries,
  };
}

function parseBuffer(plain: unknown, what: string): { readonly gpadl: number; readonly id: number } {
  const { gpadl, id } = asRecord(plain, what);
  return { gpadl: asWhole(gpadl, what, U32), id: asWhole(id, what, U16) };
}

function parseReceive(plain: unknown, what: string): NonNullable<SavedNetvsp['receive']> {
  const outstanding = asArray(asRecord(plain, what).outstanding, what).map((pair) => {
    const [transaction, sections] = asArray(pair, what);
    return [
      asWhole(transaction, what),
      asArray(sections, what).map((section) => asWhole(section, what, MAXIMUM_SECTIONS)),
    ] as const;
  });
  return { ...parseBuffer(plain, what), outstanding };
}
