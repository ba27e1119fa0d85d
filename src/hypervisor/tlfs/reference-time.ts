/**
 * The partition reference counter (100 ns since the partition was created) and the reference TSC page. TLFS, "Partition
 * Reference Time Enlightenment". The counter is computed from the TSC by the page's own formula, so that the MSR and the
 * page never disagree.
 */
import { PAGE_SIZE } from './constants.ts';
import { enabledPage } from './pages.ts';
import type { TlfsMemory, TscSource } from './ports.ts';
import type { HypervPartitionView } from './state.ts';

const UNITS_PER_SECOND = 10_000_000n;
const U64 = (1n << 64n) - 1n;

export class ReferenceTime {
  readonly #state: HypervPartitionView;
  readonly #source: TscSource;
  /** 64.64 fixed point: 100 ns units per TSC tick. */
  readonly scale: bigint;

  constructor(state: HypervPartitionView, source: TscSource) {
    if (source.tscFrequency <= Number(UNITS_PER_SECOND))
      throw new RangeError(
        `TSC frequency ${source.tscFrequency} Hz is too low: the reference TSC page needs more than 10 MHz`,
      );
    this.#state = state;
    this.#source = source;
    this.scale = (UNITS_PER_SECOND << 64n) / BigInt(source.tscFrequency);
  }

  /** Makes the counter read `time` now. At creation and after a restore, while no processor runs. */
  set(time: bigint): void {
    this.#state.referenceOffset = (time - this.#scaled()) & U64;
  }

  now(): bigint {
    return (this.#scaled() + this.#state.referenceOffset) & U64;
  }

  #scaled(): bigint {
    return ((this.#source.tsc() & U64) * this.scale) >> 64n;
  }

  /**
   * Writes the reference TSC page where the MSR says, if it is enabled. Platform lock held. A reader that sees sequence 0
   * uses the MSR; one that sees the sequence change reads again.
   */
  writePage(memory: TlfsMemory): void {
    const page = enabledPage(this.#state.referenceTsc);
    if (page === undefined) return;
    memory.write(page, new Uint8Array(4));
    const body = new DataView(new ArrayBuffer(PAGE_SIZE - 4));
    body.setBigUint64(4, this.scale, true);
    body.setBigUint64(12, this.#state.referenceOffset, true);
    memory.write(page + 4, new Uint8Array(body.buffer));
    // 0 and all ones both have meant "invalid" in editions of the specification.
    let sequence = (this.#state.referenceSequence + 1) >>> 0;
    if (sequence === 0 || sequence === 0xffffffff) sequence = 1;
    this.#state.referenceSequence = sequence;
    memory.compareExchange32(page, 0, sequence);
  }
}
