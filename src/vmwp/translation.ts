/** The translator's thread of one partition, as the parent has it: it is started when there is something to translate. */
import type { ChannelEnd, HostServices, Thread, ThreadEntry } from '../host/services.ts';
import type { FromTranslator, ToTranslator, TranslatorThreadData } from './protocol.ts';

/** MiB of its young generation: what it makes is garbage at once. */
const YOUNG = 16;
/** Milliseconds that the end of a partition waits for what there is to keep. */
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
  #answered: ((bytes: Uint8Array | undefined) => void) | undefined;
  #keeping: Promise<void> | undefined;

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
    this.#thread.onError(failed);
    this.#thread.onMessage(({ bytes }) => this.#answered?.(bytes));
  }

  /** Keeps what is new for other runs. */
  async keep(): Promise<void> {
    this.#keeping ??= this.#keep().finally(() => {
      this.#keeping = undefined;
    });
    await this.#keeping;
  }

  async #keep(): Promise<void> {
    const { translations } = this.#options;
    if (!this.#thread || !translations) return;
    const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
    const patience = setTimeout(() => resolve(undefined), PATIENCE);
    this.#answered = resolve;
    this.#thread.post('keep');
    const bytes = await promise;
    clearTimeout(patience);
    if (bytes) await translations.keep(bytes);
  }

  async end(): Promise<void> {
    await this.keep();
    await this.#thread?.terminate();
  }
}
