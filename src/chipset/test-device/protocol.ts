/**
 * Ports of the debug devices that bare-metal test kernels written for QEMU expect: isa-debug-exit, fw_cfg, pc-testdev and
 * hyperv-testdev, as QEMU's documentation (docs/specs/fw_cfg) and the kvm-unit-tests sources use them. Nothing here acts.
 */
export const DEBUG_EXIT = { first: 0xf4, count: 4 } as const;

export const FW_CFG_SELECTOR = 0x510;
export const FW_CFG_DATA = 0x511;
export const FW_CFG_KEY = { SIGNATURE: 0x00, ID: 0x01, RAM_SIZE: 0x03, CPU_COUNT: 0x05, MAX_RAM: 0x11 } as const;
/** The traditional interface only: no DMA. */
export const FW_CFG_ID = 1;
/** Bits 14 (write) and 15 (architecture-local) are not part of a key's number. */
export const FW_CFG_KEY_MASK = 0x3fff;

/** Four bytes that read back; the same four again at SCRATCH_BYTES, where they are reached byte by byte. */
export const SCRATCH = { first: 0xe0, count: 4 } as const;
/** QEMU remaps a page on a write here; nothing to do. */
export const FLUSH_PAGE = { first: 0xe4, count: 4 } as const;
export const SCRATCH_BYTES = { first: 0xe8, count: 4 } as const;
export const INTERRUPT_LINES = { first: 0x2000, count: 24 } as const;

/** `connection << 24 | operation << 16 | processor << 8 | sint`, written as 32 bits. */
export const HYPERV_TEST = { first: 0x3000, count: 4 } as const;
export const HYPERV_OPERATION = {
  SINT_ROUTE_CREATE: 1,
  SINT_ROUTE_DESTROY: 2,
  SINT_ROUTE_SET_SINT: 3,
  MSG_CONN_CREATE: 4,
  MSG_CONN_DESTROY: 5,
  EVT_CONN_CREATE: 6,
  EVT_CONN_DESTROY: 7,
} as const;
