/** The translator's thread of one partition, as the parent has it: it is started when there is something to translate. */

import type { ChannelEnd, HostServices, Thread, ThreadEntry } from '../host/services.ts';
import type { TranslationCache } from '../host/translations.ts';
import type { FromTranslator, ToTranslator, TranslatorThreadData } from './protocol.ts';

/** MiB of its young generation: what it makes is garbage at once. */
const YOUNG = 12;
/** Milliseconds that the end of a partition waits until what there is to keep is in its file. */
const PATIENCE = 500;

export interface TranslationOptions {
  readonly host: HostServices;
  readonly entry: ThreadEntry;
  readonly memory: WebAssembly.Memory;
  readonly processors: number;
  readonly translations: TranslationCache | undefined;
  failed(error: Error): void;
}

export class PartitionTranslator {
  readonly #options: TranslationOptions;
  #thread: Thread<ToTranslator, FromTranslator> | undefined;
  #ends: readonly ChannelEnd[] = [];
  /** Called when what the thread had is in a file. */
  #answered: (() => void)[] = [];
  #asked = false;
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
      translations: translations && { path: translations.path, stored: translations.stored },
    };
    this.#thread = host.startThread<ToTranslator, FromTranslator>(entry, data, {
      ends: data.channels,
      youngGeneration: YOUNG,
    });
    this.#thread.onError((error) => {
      this.#failed = true;
      failed(error);
    });
    this.#thread.onMessage(() => {
      this.#asked = false;
      for (const done of this.#answered.splice(0)) done();
    });
  }

  /** Has the thread write down what is new, for other runs. */
  keep(): void {
    if (!this.#thread || this.#failed || this.#asked || !this.#options.translations) return;
    this.#asked = true;
    this.#thread.post('keep');
  }

  /** Ends the thread. What there is to keep is waited for, within limits. */
  async end(): Promise<void> {
    this.keep();
    if (this.#asked && !this.#failed) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const patience = setTimeout(resolve, PATIENCE);
      this.#answered.push(resolve);
      await promise;
      clearTimeout(patience);
    }
    await this.#thread?.terminate();
    this.#options.translations?.close();
  }
}
