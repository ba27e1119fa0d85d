/**
 * What waits for a processor beside the interrupts of its APIC: NMIs, INIT and a start-up IPI, in one word that any thread
 * may post to (SDM vol. 3, "Handling Multiple NMIs" and "INIT IPI / Startup IPI").
 */
const NMI = 1;
const INIT = 2;
const SIPI = 4;
const SIPI_VECTOR = 8;
/** A second NMI, behind one that no handler has begun with yet. */
const NMI_BEHIND = 1 << 16;

export class ProcessorEvents {
  readonly #word: Uint32Array;

  constructor(word: Uint32Array) {
    this.#word = word;
  }

  /**
   * One NMI waits while another is handled. Where none is handled yet, two are kept: a processor would long have begun with
   * the first when the second of two senders arrives, but here its thread may not have run.
   */
  postNmi(): void {
    for (;;) {
      const old = Atomics.load(this.#word, 0);
      if (Atomics.compareExchange(this.#word, 0, old, old | (old & NMI ? NMI_BEHIND : NMI)) === old) return;
    }
  }

  /** An NMI is being handled: those that wait are one. */
  mergeNmis(): void {
    Atomics.and(this.#word, 0, ~NMI_BEHIND);
  }

  postInit(): void {
    Atomics.or(this.#word, 0, INIT);
  }

  /** A later start-up IPI that nobody has taken replaces the vector of an earlier one. */
  postSipi(vector: number): void {
    for (;;) {
      const old = Atomics.load(this.#word, 0);
      const next = (old & (NMI | NMI_BEHIND | INIT)) | SIPI | (vector << SIPI_VECTOR);
      if (Atomics.compareExchange(this.#word, 0, old, next) === old) return;
    }
  }

  get any(): boolean {
    return Atomics.load(this.#word, 0) !== 0;
  }

  get nmi(): boolean {
    return (Atomics.load(this.#word, 0) & NMI) !== 0;
  }

  get init(): boolean {
    return (Atomics.load(this.#word, 0) & INIT) !== 0;
  }

  get sipi(): boolean {
    return (Atomics.load(this.#word, 0) & SIPI) !== 0;
  }

  takeNmi(): boolean {
    for (;;) {
      const old = Atomics.load(this.#word, 0);
      if ((old & NMI) === 0) return false;
      const next = old & ~(old & NMI_BEHIND ? NMI_BEHIND : NMI);
      if (Atomics.compareExchange(this.#word, 0, old, next) === old) return true;
    }
  }

  takeInit(): boolean {
    return (Atomics.and(this.#word, 0, ~INIT) & INIT) !== 0;
  }

  /** The vector of the start-up IPI, or -1. */
  takeSipi(): number {
    const old = Atomics.and(this.#word, 0, NMI | NMI_BEHIND | INIT);
    return (old & SIPI) === 0 ? -1 : (old >>> SIPI_VECTOR) & 0xff;
  }
}
