/** What the local APIC needs of the rest of the partition. */

/** Wakes a virtual processor, which then polls its APIC and timers. Any thread, with or without the platform lock; idempotent. */
export interface VpDoorbell {
  ring(vp: number): void;
}

/** End-of-interrupt broadcast of a level-triggered vector. Called without the platform lock: the port takes it. */
export interface IoApicEoi {
  ioApicEoi(vector: number): void;
}

/** The 8259 pair on LINT0. Called without the platform lock: the port takes it where it needs it. */
export interface ExternalInterrupt {
  extIntPending(): boolean;
  /** The interrupt-acknowledge cycle: the vector, the 8259's spurious one included. */
  extIntAcknowledge(): number;
}

/** Live state as plain data, structurally an `InspectNode`. */
export type InspectTree = { readonly [key: string]: string | number | bigint | boolean | InspectTree };

/** What the timer needs of `Clock`. */
export interface NanosecondClock {
  now(): bigint;
}

export interface InterruptRequest {
  readonly vector: number;
  /** DeliveryMode. */
  readonly deliveryMode: number;
  /** An APIC ID, or with `logical` a logical destination. */
  readonly destination: number;
  readonly logical: boolean;
  readonly trigger: 'edge' | 'level';
  /** A 32-bit x2APIC destination; otherwise 8 bits, of which 0xFF is the broadcast. */
  readonly wide?: boolean;
}
