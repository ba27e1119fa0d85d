/**
 * Scripts for the launcher (launcher.asm): system calls that a process makes before it becomes the program that it is started
 * for. What they set survives execve(2) and holds for all threads; set from inside, it would miss those that Node has already.
 */
import { RECORD, SCRIPT, SCRIPT_ROOM } from './launcher.ts';

/** Bytes in the launcher's memory. A pointer to other bytes may stand in them. */
export class Memory {
  readonly bytes: Uint8Array;
  readonly pointers: readonly (readonly [offset: number, to: Memory])[];
  address = 0;

  constructor(bytes: Uint8Array, pointers: readonly (readonly [offset: number, to: Memory])[] = []) {
    this.bytes = bytes;
    this.pointers = pointers;
  }
}

type Argument = number | bigint | Memory;

/** Where a result goes: to an argument of a later call, or into memory (eight bytes). */
type Target = { readonly call: Call; readonly argument: number } | { readonly memory: Memory; readonly offset: number };

export class Call {
  readonly number: number;
  readonly arguments: readonly Argument[];
  target: Target | undefined;
  index = 0;

  constructor(number: number, args: readonly Argument[]) {
    this.number = number;
    this.arguments = args;
  }
}

/** Bytes that end in a zero. */
export function textMemory(text: string): Memory {
  return new Memory(new TextEncoder().encode(`${text}\0`));
}

export class Script {
  readonly #calls: Call[] = [];
  readonly #program: Memory;

  /** @param program What is executed at the end. */
  constructor(program: Memory) {
    this.#program = program;
  }

  call(number: number, ...args: readonly Argument[]): Call {
    return this.add(new Call(number, args));
  }

  add(call: Call): Call {
    this.#calls.push(call);
    call.index = this.#calls.length;
    return call;
  }

  /** Writes all results so far to a descriptor. */
  report(fd: number): void {
    this.call(1, fd, SCRIPT, (this.#calls.length + 2) * RECORD);
  }

  /**
   * @param whenPlaced Called when addresses are known, before bytes are taken. @throws RangeError when the launcher has no room.
   */
  encode(whenPlaced: (program: number) => void = () => {}): Uint8Array {
    const calls = this.#calls;
    const placed = new Set<Memory>();
    let end = SCRIPT + (calls.length + 1) * RECORD;
    const place = (memory: Memory): void => {
      if (placed.has(memory)) return;
      placed.add(memory);
      memory.address = end;
      end += Math.ceil(memory.bytes.length / 8) * 8;
      for (const [, to] of memory.pointers) place(to);
    };
    place(this.#program);
    for (const call of calls) for (const argument of call.arguments) if (argument instanceof Memory) place(argument);
    if (end - SCRIPT > SCRIPT_ROOM) throw new RangeError(`a script of ${end - SCRIPT} bytes`);
    whenPlaced(this.#program.address);
    const bytes = new Uint8Array(end - SCRIPT);
    const view = new DataView(bytes.buffer);
    const put = (at: number, value: Argument): void => {
      view.setBigInt64(at, BigInt(value instanceof Memory ? value.address : value), true);
    };
    put(0, calls.length);
    put(8, this.#program);
    for (const [n, call] of calls.entries()) {
      const at = (n + 1) * RECORD;
      put(at, call.number);
      put(at + 8, addressOf(call.target));
      for (const [i, argument] of call.arguments.entries()) put(at + 16 + i * 8, argument);
    }
    for (const memory of placed) {
      bytes.set(memory.bytes, memory.address - SCRIPT);
      for (const [offset, to] of memory.pointers) put(memory.address - SCRIPT + offset, to);
    }
    return bytes;
  }
}

function addressOf(target: Target | undefined): number {
  if (target === undefined) return 0;
  if ('call' in target) return SCRIPT + target.call.index * RECORD + 16 + target.argument * 8;
  return target.memory.address + target.offset;
}

/** What a call gave, out of a report: a value, or minus the error number; undefined when the report does not reach to it. */
export function resultOf(call: Call, report: Uint8Array): number | undefined {
  const at = call.index * RECORD;
  if (at + 8 > report.length) return undefined;
  return Number(new DataView(report.buffer, report.byteOffset, report.length).getBigInt64(at, true));
}
