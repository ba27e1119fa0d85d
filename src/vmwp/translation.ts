/**
 * The translator's thread of one partition, as the parent has it: it is started when there is something to translate, and ends when
 * there has been nothing for some time, because it has a heap of its own. What the processors send meanwhile waits in the channels.
 *
 * The word `listening` says whether a thread reads there. A processor sends first and looks at the word then; a thread that wants to
 * end clears the word first and looks at its channels then: one of them sees the other.
 */

import type { ChannelEnd, HostServices, Thread, ThreadEntry } from '../host/services.ts';
import type { TranslationCache } from '../host/translations.ts';
import type { Given } from '../hypervisor/translator/kept.ts';
import type { FromTranslator, ToTranslator, TranslatorThreadData } from './protocol.ts';

/** MiB of its young generation: what it makes is garbage at once. */
const YOUNG = 12;
const IDLE_AFTER = 4000;
/** Milliseconds that the end of a partition waits until what there is to keep is in its file. */
const PATIENCE = 500;

export interface TranslationOptions {
  readonly host: HostServices;
  readonly entry: ThreadEntry;
  readonly memory: WebAssembly.Memory;
  readonly processors: number;
  readonly translations: TranslationCache | undefined;
  /** Milliseconds without a request until the thread ends: its heap is worth more than the time to make it again. */
  readonly idleAfter?: number;
  failed(error: Error): void;
}

export class PartitionTranslator {
  readonly #options: TranslationOptions;
  readonly listening = new Int32Array(new SharedArrayBuffer(4));
  #thread: Thread<ToTranslator, FromTranslator> | undefined;
  /** The one before, on its way out. */
  #before: Promise<void> | undefined;
  #ends: readonly ChannelEnd[] = [];
  #given: Given | undefined;
  /** Called when what the thread had is in a file, or there is no thread any more. */
  #kept: () => void = () => undefined;
  #failed = false;
  /** Something was sent that the thread has not seen. */
  #wanted = false;
  #over = false;

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

  /** There is something to translate. */
  start(): void {
    if (this.#thread) {
      this.#wanted = Atomics.load(this.listening, 0) === 0;
      return;
    }
    const { host, entry, memory, translations, failed } = this.#options;
    const data: TranslatorThreadData = {
      memory,
      channels: this.#ends,
      translations: translations && { path: translations.path, stored: translations.stored },
      listening: this.listening,
      before: this.#given,
      idleAfter: this.#options.idleAfter ?? IDLE_AFTER,
    };
    Atomics.store(this.listening, 0, 1);
    const thread = host.startThread<ToTranslator, FromTranslator>(entry, data, {
      ends: data.channels,
      youngGeneration: YOUNG,
    });
    this.#thread = thread;
    thread.onError((error) => {
      this.#failed = true;
      this.#kept();
      failed(error);
    });
    thread.onMessage((message) => {
      if (message === 'kept') this.#kept();
      else this.#ended(thread, message);
    });
  }

  #ended(thread: Thread<ToTranslator, FromTranslator>, { channels, given }: Exclude<FromTranslator, 'kept'>): void {
    const { host, translations } = this.#options;
    this.#ends = channels;
    this.#given = given;
    this.#thread = undefined;
    this.#before = thread.terminate().then(() => host.trim());
    this.#kept();
    if (this.#over) return;
    translations?.reopen();
    if (this.#wanted) this.start();
    this.#wanted = false;
  }

  /** Ends the thread. What there is to keep is waited for, within limits. */
  async end(): Promise<void> {
    this.#over = true;
    if (this.#thread && this.#options.translations && !this.#failed) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const patience = setTimeout(resolve, PATIENCE);
      this.#kept = resolve;
      this.#thread.post('keep');
      await promise;
      clearTimeout(patience);
    }
    await Promise.all([this.#thread?.terminate(), this.#before]);
    this.#options.translations?.close();
  }
}
