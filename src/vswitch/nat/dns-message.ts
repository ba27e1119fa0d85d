/** DNS messages: RFC 1035, section 4. Only what a forwarder has to read, and the answers it gives itself. */
import { setU16, setU32, u16, u32 } from '../ethernet.ts';

export const DNS_PORT = 53;
export const DNS_HEADER = 12;
/** RFC 1035: what UDP carries when nothing else was said. */
export const PLAIN_UDP = 512;

export const RecordType = { A: 1, PTR: 12, AAAA: 28, ANY: 255 } as const;
export const ResponseCode = { NO_ERROR: 0, FORMAT_ERROR: 1, SERVER_FAILURE: 2, NO_SUCH_NAME: 3, REFUSED: 5 } as const;
const INTERNET = 1;
const Flag = {
  RESPONSE: 0x8000,
  AUTHORITATIVE: 0x0400,
  RECURSION_DESIRED: 0x0100,
  RECURSION_AVAILABLE: 0x0080,
} as const;
const OPCODE = 0x7800;

export interface Question {
  readonly id: number;
  readonly flags: number;
  /** Lower case, without the dot at the end. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Where the question ends. */
  readonly end: number;
}

/** The one question of a query or a response; undefined when there is not exactly one that makes sense. */
export function parseQuestion(bytes: Uint8Array): Question | undefined {
  if (bytes.length < DNS_HEADER || u16(bytes, 4) !== 1) return undefined;
  const name = readName(bytes, DNS_HEADER);
  if (name === undefined || name.end + 4 > bytes.length) return undefined;
  return {
    id: u16(bytes, 0),
    flags: u16(bytes, 2),
    name: name.text,
    type: u16(bytes, name.end),
    class: u16(bytes, name.end + 2),
    end: name.end + 4,
  };
}

export function isQuery({ flags }: Question): boolean {
  return (flags & (Flag.RESPONSE | OPCODE)) === 0;
}

export function isResponse({ flags }: Question): boolean {
  return (flags & Flag.RESPONSE) !== 0;
}

export function isInternet(question: Question): boolean {
  return question.class === INTERNET;
}

/** A name, and where what follows it begins. Pointers go backwards only, so that they end. */
function readName(bytes: Uint8Array, at: number): { text: string; end: number } | undefined {
  let text = '';
  let end: number | undefined;
  let lowest = at;
  for (;;) {
    const length = bytes[at];
    if (length === undefined || text.length > 255) return undefined;
    if (length === 0) return { text, end: end ?? at + 1 };
    if (length >= 0xc0) {
      const target = ((length & 0x3f) << 8) | (bytes[at + 1] ?? 0xff);
      end ??= at + 2;
      if (target >= lowest) return undefined;
      at = lowest = target;
      continue;
    }
    if (length > 63 || at + 1 + length > bytes.length) return undefined;
    let label = '';
    for (let i = 1; i <= length; i++) label += String.fromCharCode(bytes[at + i]!);
    text += (text === '' ? '' : '.') + label.toLowerCase();
    at += 1 + length;
  }
}

/** The name's labels; what no label can hold is cut. */
export function encodeName(name: string): Uint8Array {
  const bytes: number[] = [];
  for (const label of name.split('.')) {
    if (label === '') continue;
    const letters = label.slice(0, 63);
    bytes.push(letters.length);
    for (let i = 0; i < letters.length; i++) bytes.push(letters.charCodeAt(i) & 0xff);
  }
  bytes.push(0);
  return Uint8Array.from(bytes);
}

/** IPv4 addresses in the answers of a response. */
export function answeredAddresses(bytes: Uint8Array, question: Question): number[] {
  const addresses: number[] = [];
  let at = question.end;
  for (let n = u16(bytes, 6); n > 0; n--) {
    const name = readName(bytes, at);
    if (name === undefined || name.end + 10 > bytes.length) break;
    const length = u16(bytes, name.end + 8);
    at = name.end + 10 + length;
    if (at > bytes.length) break;
    if (u16(bytes, name.end) === RecordType.A && u16(bytes, name.end + 2) === INTERNET && length === 4)
      addresses.push(u32(bytes, at - 4));
  }
  return addresses;
}

export interface Answer {
  readonly type: number;
  readonly data: Uint8Array;
}

/** Seconds that our own answers are good for: a VM may be gone soon. */
const TTL = 5;

/** An answer of ours to a query. */
export function response(query: Uint8Array, question: Question, code: number, answers: readonly Answer[]): Uint8Array {
  const length = answers.reduce((sum, { data }) => sum + 12 + data.length, question.end);
  const bytes = new Uint8Array(length);
  bytes.set(query.subarray(0, question.end));
  const authoritative = code === ResponseCode.REFUSED || code === ResponseCode.SERVER_FAILURE ? 0 : Flag.AUTHORITATIVE;
  const desired = question.flags & Flag.RECURSION_DESIRED;
  setU16(bytes, 2, Flag.RESPONSE | authoritative | desired | Flag.RECURSION_AVAILABLE | code);
  setU16(bytes, 6, answers.length);
  setU32(bytes, 8, 0);
  let at = question.end;
  for (const { type, data } of answers) {
    // The name is the question's.
    setU16(bytes, at, 0xc000 | DNS_HEADER);
    setU16(bytes, at + 2, type);
    setU16(bytes, at + 4, INTERNET);
    setU32(bytes, at + 6, TTL);
    setU16(bytes, at + 10, data.length);
    bytes.set(data, at + 12);
    at += 12 + data.length;
  }
  return bytes;
}

/** The header of a query that makes no sense, sent back. */
export function formatError(query: Uint8Array): Uint8Array | undefined {
  if (query.length < DNS_HEADER || (query[2]! & 0x80) !== 0) return undefined;
  const bytes = query.slice(0, DNS_HEADER);
  setU16(bytes, 2, Flag.RESPONSE | (u16(query, 2) & (OPCODE | Flag.RECURSION_DESIRED)) | ResponseCode.FORMAT_ERROR);
  bytes.fill(0, 4);
  return bytes;
}

/** `5.0.30.172.in-addr.arpa`: 172.30.0.5. */
export function reverseAddress(name: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  const parts = match?.slice(1).map(Number);
  if (parts === undefined || parts.some((part) => part > 255)) return undefined;
  return parts.reduceRight((sum, part) => sum * 256 + part, 0);
}
