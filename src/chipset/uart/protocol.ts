/** Registers and bits of a 16550A UART, as National Semiconductor's PC16550D data sheet spells them. Nothing here acts. */

/** Register offsets from the UART's first port. Offsets 0 and 1 are the divisor latch while LCR.DLAB is set. */
export const REGISTER = { RBR: 0, THR: 0, IER: 1, IIR: 2, FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7 } as const;
export const PORT_COUNT = 8;

export const IER = { ERBFI: 0x01, ETBEI: 0x02, ELSI: 0x04, EDSSI: 0x08 } as const;

/** Interrupt identification, low four bits, highest priority first; bits 6 and 7 say that the FIFOs are on. */
export const IIR = {
  RECEIVER_LINE_STATUS: 0x06,
  RECEIVED_DATA_AVAILABLE: 0x04,
  CHARACTER_TIMEOUT: 0x0c,
  THR_EMPTY: 0x02,
  MODEM_STATUS: 0x00,
  NONE: 0x01,
  FIFOS_ENABLED: 0xc0,
} as const;

export const FCR = { FIFO_ENABLE: 0x01, RCVR_RESET: 0x02, XMIT_RESET: 0x04, TRIGGER_SHIFT: 6 } as const;
/** Bytes in the receiver FIFO that raise "received data available", by FCR bits 7:6. */
export const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
export const FIFO_SIZE = 16;

export const LCR = { DLAB: 0x80 } as const;
export const MCR = { DTR: 0x01, RTS: 0x02, OUT1: 0x04, OUT2: 0x08, LOOP: 0x10 } as const;
export const LSR = {
  DR: 0x01,
  OE: 0x02,
  PE: 0x04,
  FE: 0x08,
  BI: 0x10,
  THRE: 0x20,
  TEMT: 0x40,
  FIFO_ERROR: 0x80,
} as const;
export const MSR = {
  DCTS: 0x01,
  DDSR: 0x02,
  TERI: 0x04,
  DDCD: 0x08,
  CTS: 0x10,
  DSR: 0x20,
  RI: 0x40,
  DCD: 0x80,
} as const;
