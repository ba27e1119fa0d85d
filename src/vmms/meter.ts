/** Resource metering of one VM: asks its worker now and then, and adds up what all its runs have used. */
import type { VmMetrics } from '../contracts/api/vm.ts';
import type { UsageRecord } from './inventory.ts';

const PERIOD = 10_000;
/** An hour of what was seen, for who looks later. */
const KEPT = 360;

export class Meter {
  readonly #ask: () => Promise<VmMetrics>;
  readonly #keep: (usage: UsageRecord) => unknown;
  readonly #kept: () => UsageRecord;
  #base: UsageRecord | undefined;
  #timer: NodeJS.Timeout | undefined;
  #started = 0;
  #last: VmMetrics | undefined;
  #history: VmMetrics[] = [];
  /** An adopted worker's counters, as they were when it was adopted: they have been counted before. */
  #offset: VmMetrics | undefined;
  #adopted = false;
  #memorySeconds = 0;
  #lastTime = 0;

  constructor(ask: () => Promise<VmMetrics>, keep: (usage: UsageRecord) => unknown, kept: () => UsageRecord) {
    this.#ask = ask;
    this.#keep = keep;
    this.#kept = kept;
  }

  get last(): VmMetrics | undefined {
    return this.#last;
  }

  /** Oldest first, about ten seconds apart, earlier runs included. */
  get history(): readonly VmMetrics[] {
    return this.#history;
  }

  start(adopted = false): void {
    this.#adopted = adopted;
    this.#offset = undefined;
    clearInterval(this.#timer);
    this.#base = this.#kept();
    this.#started = this.#lastTime = Date.now();
    this.#memorySeconds = 0;
    this.#last = undefined;
    this.#timer = setInterval(() => void this.#sample(), PERIOD);
    this.#timer.unref();
  }

  async #sample(): Promise<void> {
    const run = this.#base;
    const metrics = await this.#ask().catch(() => undefined);
    if (metrics === undefined || run === undefined || run !== this.#base) return;
    this.take(metrics);
    this.#keep(this.#sum());
  }

  take(metrics: VmMetrics): void {
    const now = Date.now();
    this.#memorySeconds += ((now - this.#lastTime) / 1000) * metrics.memoryAssigned;
    this.#lastTime = now;
    if (this.#adopted) this.#offset ??= metrics;
    this.#last = metrics;
    const kept = this.#history.at(-1);
    // Those who look more often see more themselves.
    if (kept !== undefined && Date.parse(metrics.time) - Date.parse(kept.time) < PERIOD * 0.9) return;
    this.#history = [...this.#history.slice(-(KEPT - 1)), metrics];
  }

  #sum(): UsageRecord {
    const base = this.#base ?? this.#kept();
    const since = (of: (metrics: VmMetrics) => number): number =>
      (this.#last ? of(this.#last) : 0) - (this.#offset ? of(this.#offset) : 0);
    return {
      seconds: base.seconds + (Date.now() - this.#started) / 1000,
      processorSeconds: base.processorSeconds + since((m) => m.processorSeconds),
      memorySeconds: base.memorySeconds + this.#memorySeconds,
      diskReadBytes: base.diskReadBytes + since((m) => m.disk.readBytes),
      diskWrittenBytes: base.diskWrittenBytes + since((m) => m.disk.writtenBytes),
      networkBytes: base.networkBytes + since((m) => m.network.receivedBytes + m.network.sentBytes),
    };
  }

  /** What has been used up to now. */
  get usage(): UsageRecord {
    return this.#base === undefined ? this.#kept() : this.#sum();
  }

  /** The run has ended; the usage that is to be kept. */
  stop(): UsageRecord {
    clearInterval(this.#timer);
    const usage = this.usage;
    this.#base = undefined;
    this.#last = undefined;
    return usage;
  }
}
