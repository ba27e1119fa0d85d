/**
 * The generation counter (Microsoft, "Virtual Machine Generation ID"): 16 random bytes in the guest's memory, where its ACPI
 * device says. They are others when the machine goes on from a saved state, so that a guest knows that what it took for
 * unique (the state of its random numbers) may exist twice. A restart changes nothing.
 */
import { array, struct, type View } from '../../support/struct.ts';
import type { InspectNode } from '../../vid/ports.ts';

export const GENERATION_ID_SIZE = 16;

export const generationIdState = struct('generation-id', 1, { id: array('u8', GENERATION_ID_SIZE) });

export interface GenerationIdPorts {
  /** Puts the ID where the guest looks. */
  write(id: Uint8Array): void;
  /** Raises the general-purpose event that has the guest look. */
  notify(): void;
}

export class GenerationId {
  readonly #state: View<typeof generationIdState.fields>;
  readonly #ports: GenerationIdPorts;

  constructor(state: View<typeof generationIdState.fields>, ports: GenerationIdPorts) {
    this.#state = state;
    this.#ports = ports;
  }

  /** The machine is new. @param id 16 random bytes. */
  begin(id: Uint8Array): void {
    this.#state.id.set(id);
    this.place();
  }

  /** The machine is another than its guest thinks. */
  change(id: Uint8Array): void {
    this.begin(id);
    this.#ports.notify();
  }

  /** After the guest's memory was filled. */
  place(): void {
    this.#ports.write(this.#state.id.slice());
  }

  /** A machine that was reset is the same machine. */
  reset(): void {}

  /** As Windows writes GUIDs. */
  inspect(): InspectNode {
    const hex = (first: number, end: number, step = 1): string => {
      const bytes = [...this.#state.id.subarray(first, end)];
      return (step < 0 ? bytes.reverse() : bytes).map((byte) => byte.toString(16).padStart(2, '0')).join('');
    };
    return { id: [hex(0, 4, -1), hex(4, 6, -1), hex(6, 8, -1), hex(8, 10), hex(10, 16)].join('-') };
  }
}
