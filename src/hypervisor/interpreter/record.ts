/**
 * The interpreter's predecoded instruction: 32 bytes in the processor's record area. Records of a block follow each
 * other; a block begins where control flow entered and ends at a branch, a page end or MAX_BLOCK bytes.
 */
export const RECORD = 32;

/** Byte offsets within a record. */
export const Field = {
  /** u16: index into the dispatch table. */
  HANDLER: 0,
  /** u8: offset of the instruction from the block's first byte. */
  IP: 2,
  /** u8: instruction length. */
  LENGTH: 3,
  /** u8: ModRM.reg or opcode register as a byte offset into its register file (or a plain number for S, C, D). */
  REG: 4,
  /** u8: ModRM.rm register, as REG; or base register as a byte offset. */
  RM: 5,
  BASE: 5,
  /** u8: index register as a byte offset. */
  INDEX: 6,
  /** u8: 0..3. */
  SCALE: 7,
  /** u32: second immediate, or the selector of a far pointer. */
  IMMEDIATE2: 8,
  /** u8: segment number; FLAT for none in 64-bit mode. */
  SEGMENT: 12,
  /** u8: log2 of address bytes: 1, 2, 3. */
  ADDRESS: 13,
  /** u16: the instruction form, for traces. */
  FORM: 14,
  /** i64: immediate, zero-extended from the operand size; of a branch, the target relative to the block's first byte. */
  IMMEDIATE: 16,
  /** i64: displacement. */
  DISPLACEMENT: 24,
  /** u32, of a region: how often accesses that are checked together could not be made so. */
  SPLITS: 24,
} as const;

/** A block covers at most this many instruction bytes, so that offsets fit a byte. */
export const MAX_BLOCK = 200;

/** Handlers that are no instruction. */
export const Handler = {
  /** The block was invalidated: look the instruction up again. */
  REFETCH: 0,
  /** End of a block without a branch: go on at the offset in IP. */
  CONTINUE: 1,
  /** Raises the exception in IMMEDIATE (vector) and IMMEDIATE2 (error code or -1). */
  RAISE: 2,
  /** Beginning of a block that is not translated: counts down in IMMEDIATE, and asks for translation at zero. */
  ENTER: 3,
  /** Beginning of a block that is translated: IMMEDIATE is the region's place in the table. */
  REGION: 4,
  FIRST: 5,
} as const;
