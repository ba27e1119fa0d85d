/**
 * Which WebAssembly features this Node has: a module that needs the feature, as bytes, valid only where it is known.
 * Every module is one function type and one function without results, around the instruction in question.
 */

/** A module with one function of type [] -> []: sections 1 (type), 3 (function), optional others, 10 (code). */
function moduleOf(
  body: readonly number[],
  before: readonly number[] = [],
  locals: readonly number[] = [0],
): Uint8Array<ArrayBuffer> {
  const code = [...locals, ...body, 0x0b];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...[0x01, 0x04, 0x01, 0x60, 0x00, 0x00],
    ...[0x03, 0x02, 0x01, 0x00],
    ...before,
    ...[0x0a, code.length + 2, 0x01, code.length, ...code],
  ]);
}

/** Section 5: memories, by their limits. */
function memories(...limits: readonly (readonly number[])[]): number[] {
  const content = [limits.length, ...limits.flat()];
  return [0x05, content.length, ...content];
}

export interface WasmFeature {
  readonly name: string;
  /** The engine cannot run without it. */
  readonly required: boolean;
  readonly use: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const SHARED = [0x03, 0x01, 0x01];
const V128_ZERO = [0xfd, 0x0c, ...new Array<number>(16).fill(0)];

export const WASM_FEATURES: readonly WasmFeature[] = [
  {
    name: 'threads',
    required: true,
    use: 'guest memory shared by processors and devices',
    // i32.const 0; i32.const 0; i32.const 0; memory.atomic.wait... shown by atomic.notify; drop
    bytes: moduleOf([0x41, 0, 0x41, 0, 0xfe, 0x00, 0x02, 0x00, 0x1a], memories(SHARED)),
  },
  {
    name: 'SIMD',
    required: true,
    use: 'SSE instructions',
    // v128.const 0; i8x16.popcnt; drop
    bytes: moduleOf([...V128_ZERO, 0xfd, 0x62, 0x1a]),
  },
  {
    name: 'bulk memory',
    required: true,
    use: 'REP string instructions',
    // i32.const 0 (three times); memory.fill
    bytes: moduleOf([0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 0x0b, 0x00], memories([0x00, 0x01])),
  },
  {
    name: 'exceptions (exnref)',
    required: true,
    use: 'leaving an instruction that faults',
    // block; try_table (catch_all 0); end; end
    bytes: moduleOf([0x02, 0x40, 0x1f, 0x40, 0x01, 0x02, 0x00, 0x0b, 0x0b]),
  },
  {
    name: 'tail calls',
    required: false,
    use: 'jumping from one translated region to the next',
    // return_call 0
    bytes: moduleOf([0x12, 0x00]),
  },
  {
    name: 'branch hints',
    required: false,
    use: 'laying out unlikely paths out of line',
    // A custom section that an engine without it skips; all that can be tested is that the module is accepted.
    bytes: moduleOf(
      [0x41, 0, 0x04, 0x40, 0x0b],
      [
        ...[0x00, 0x20, 0x19, ...new TextEncoder().encode('metadata.code.branch_hint')],
        ...[0x01, 0x00, 0x01, 0x03, 0x01, 0x00],
      ],
    ),
  },
  {
    name: 'multiple memories',
    required: false,
    use: "keeping the engine's own state apart from guest memory",
    bytes: moduleOf([], memories([0x00, 0x01], [0x00, 0x01])),
  },
  {
    name: 'memory64',
    required: false,
    use: 'partitions of more than 3 GiB (not used yet)',
    bytes: moduleOf([], memories([0x04, 0x01])),
  },
  {
    name: 'relaxed SIMD',
    required: false,
    use: 'fused multiply-add (not used yet)',
    // f32x4.relaxed_madd
    bytes: moduleOf([...V128_ZERO, ...V128_ZERO, ...V128_ZERO, 0xfd, 0x85, 0x02, 0x1a]),
  },
];

export function hasWasmFeature(feature: WasmFeature): boolean {
  return WebAssembly.validate(feature.bytes);
}
