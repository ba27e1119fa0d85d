/** The translator's thread of one partition, as the parent has it: it is started when there is something to translate. */
import type { ChannelEnd, HostServices, Thread, ThreadEntry } from '../host/services.ts';
import type { FromTranslator, ToTranslator, TranslatorThreadData } from './protocol.ts';

/** MiB of its young generation: what it makes is garbage at once. */
const YOUNG = 16;
/** Milliseconds that the end of a partition waits until what there is to keep is in its file. */
const PATIENCE = 500;

export interface Translations {
  /** What other runs have kept. */
  readonly kept: Uint8Array | undefined;
  /** Keeps what this run adds to that. */
  keep(bytes: Uint8Array): Promise<void>;
}

export interface TranslationOptions {
  readonly host: HostServices;
  readonly entry: ThreadEntry;
  readonly memory: WebAssembly.Memory;
  readonly processors: number;
  readonly translations: Translations | undefined;
  failed(error: Error): void;
}

export class PartitionTranslator {
  readonly #options: TranslationOptions;
  #thread: Thread<ToTranslator, FromTranslator> | undefined;
  #ends: readonly ChannelEnd[] = [];
  /** Called when the thread has answered and what it had is on its way to a file. */
  #answered: (() => void)[] = [];
  #asked = false;
  #writing: Promise<void> = Promise.resolve();
  #failed = false;

  constructor(options: TranslationOptions) {
    this.#options = options;
  }

  /** The processors' ends of the channels to the thread. */
  openChannels(): readonly ChannelEnd[] {
    const { host, processors } = this.#options;
    const channels = Array.from({ length: processors }, () => host.openChannel());
    this.#ends = channels.map(([, end]) => end);
    return channels.map(([end]) => end);
  }

  /** What is sent before waits in the channels. */
  start(): void {
    if (this.#thread) return;
    const { host, entry, memory, translations, failed } = this.#options;
    const data: TranslatorThreadData = {
      memory,
      channels: this.#ends,
      keep: translations !== undefined,
      kept: translations?.kept,
    };
    this.#thread = host.startThread<ToTranslator, FromTranslator>(entry, data, {
      ends: data.channels,
      youngGeneration: YOUNG,
    });
    this.#thread.onError((error) => {
      this.#failed = true;
      failed(error);
    });
    this.#thread.onMessage(({ bytes }) => {
      this.#asked = false;
      if (bytes) this.#writing = this.#writing.then(() => translations?.keep(bytes));
      for (const done of this.#answered.splice(0)) done();
    });
  }

  /** Has the thread say what is new; that is kept for other runs when the answer comes. */
  keep(): void {
    if (!this.#thread || this.#failed || this.#asked || !this.#options.translations) return;
    this.#asked = true;
    this.#thread.post('keep');
  }

  /** Ends the thread. What there is to keep is waited for, within limits. */
  async end(): Promise<void> {
    this.keep();
    const { promise, resolve } = Promise.withResolvers<void>();
    const patience = setTimeout(resolve, PATIENCE);
    if (this.#asked && !this.#failed) this.#answered.push(() => void this.#writing.then(resolve));
    else void this.#writing.then(resolve);
    await promise;
    clearTimeout(patience);
    await this.#thread?.terminate();
  }
}
