/**
 * V8's machine code of WebAssembly modules, as bytes that another process takes up in a hundredth of the time that compiling
 * takes. V8 has this for browsers' caches, in C++ (v8-wasm.h); Node has no way to it. bridge.asm is one, for the very Node that it
 * was written for and tested with: elsewhere, modules are compiled.
 */
import process from 'node:process';
import { quietly } from '../libc.ts';
import { BRIDGE, Entry, FUNCTIONS, Word } from './bridge.ts';

/** Node's versions whose V8 has what the bridge calls, laid out as it expects. */
const TESTED: readonly string[] = ['v26.10.0'];

const PROT_READ_WRITE = 3;
const PROT_READ_EXECUTE = 5;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const PAGE = 4096;
const MADE = 2n;
/** The last number that is an index. */
const PROPERTY = 0xffff_fffe;

export interface MachineCode {
  /** Of the functions of a module that V8 has optimized by now; undefined: there is none. */
  of(module: WebAssembly.Module): Uint8Array<ArrayBuffer> | undefined;
  /**
   * The module of these bytes with that machine code. V8 compares versions, processors and settings, but executes what it gets, and
   * ends the process where that is of another module: `code` is what of() has given for the same bytes, whole, and from nobody who
   * may not run programs in this process. Undefined: it was made by another V8, or with other settings.
   * @param bytes a valid module
   */
  module(bytes: Uint8Array<ArrayBuffer>, code: Uint8Array<ArrayBuffer>): WebAssembly.Module | undefined;
}

let made: MachineCode | null | undefined;

/** Undefined where there is no way to it. */
export function machineCode(): MachineCode | undefined {
  if (!TESTED.includes(process.version) || process.arch !== 'x64') return undefined;
  made ??= create() ?? null;
  return made ?? undefined;
}

function create(): MachineCode | undefined {
  return quietly((ffi) => {
    const { lib, functions: c } = ffi.dlopen(null, {
      mmap: { arguments: ['u64', 'u64', 'i32', 'i32', 'i32', 'i64'], return: 'i64' },
      mprotect: { arguments: ['u64', 'u64', 'i32'], return: 'i32' },
      // It calls a function by its address, once where there is one element: FFI calls functions with names only.
      bsearch: { arguments: ['u64', 'u64', 'u64', 'u64', 'u64'], return: 'u64' },
      free: { arguments: ['u64'], return: 'void' },
    });
    const table = new BigUint64Array(Word.COUNT);
    for (const [n, name] of FUNCTIONS.entries()) table[n] = ffi.dlsym(lib, name);
    const bridge = BigInt(c.mmap(0n, BigInt(PAGE), PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0n));
    if (bridge === -1n) return undefined;
    ffi.exportBuffer(BRIDGE, bridge, BRIDGE.length);
    if (c.mprotect(bridge, BigInt(PAGE), PROT_READ_EXECUTE) !== 0) return undefined;
    const address = ffi.getRawPointer(table);
    for (const [word, entry] of [
      [Word.ON_CODE, Entry.GIVE_CODE],
      [Word.ON_DONE, Entry.TAKE_MODULE],
    ] as const)
      table.set([address, 0n, bridge + BigInt(Entry.MANAGE), bridge + BigInt(entry)], word);
    /** The property of the global object that both sides know, for the time of a call. */
    const shared = globalThis as Record<number, unknown>;
    table[Word.PROPERTY] = BigInt(PROPERTY);
    /** The status that the function leaves. */
    const call = (entry: number): bigint => {
      c.bsearch(address, address, 1n, 1n, bridge + BigInt(entry));
      const status = table[Word.STATUS] as bigint;
      table[Word.STATUS] = 0n;
      return status;
    };
    return {
      of: (module) => {
        table.fill(0n, Word.CODE, Word.CODE + 2);
        // Somebody has frozen it.
        if (!Reflect.set(shared, PROPERTY, module)) return undefined;
        call(Entry.SERIALIZE);
        Reflect.deleteProperty(shared, PROPERTY);
        const [at, length] = table.subarray(Word.CODE, Word.CODE + 2) as unknown as [bigint, bigint];
        if (at === 0n) return undefined;
        const code = new Uint8Array(ffi.toArrayBuffer(at, Number(length), true));
        c.free(at);
        return code.length === 0 ? undefined : code;
      },
      module: (bytes, code) => {
        table.set(
          [ffi.getRawPointer(bytes), BigInt(bytes.length), ffi.getRawPointer(code), BigInt(code.length)],
          Word.MODULE,
        );
        const status = call(Entry.DESERIALIZE);
        const module = shared[PROPERTY];
        Reflect.deleteProperty(shared, PROPERTY);
        return status === MADE ? (module as WebAssembly.Module) : undefined;
      },
    };
  });
}
