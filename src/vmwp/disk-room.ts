/**
 * Where requests wait that found no room on the host: the first one to come is a reason for the partition to stand still,
 * the last one to leave a reason to go on. Between them each is made again every few seconds.
 */
import { troubleOf } from '../storage/index.ts';

/** Milliseconds until a request is made again. */
const RETRY = 3000;

export interface RoomListener {
  /** A request found no room. */
  full(file: string, message: string): void;
  /** All requests have found some. */
  room(file: string): void;
}

export class DiskRoom {
  readonly #listener: RoomListener;
  #waiting: PromiseWithResolvers<void>[] = [];
  #requests = 0;
  #file = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  #givenUp = false;

  constructor(listener: RoomListener) {
    this.#listener = listener;
  }

  /** The file without room, while a request waits for some. */
  get fullFile(): string | undefined {
    return this.#requests > 0 ? this.#file : undefined;
  }

  /** Makes a request until it succeeds, or fails for another reason than room. */
  async make(file: string, request: () => Promise<void>): Promise<void> {
    let counted = false;
    try {
      for (;;) {
        try {
          await request();
          return;
        } catch (error) {
          if (troubleOf(error) !== 'outOfSpace' || this.#givenUp) throw error;
          if (!counted) {
            counted = true;
            if (this.#requests++ === 0) {
              this.#file = file;
              this.#listener.full(file, (error as Error).message);
            }
          }
          await this.#turn();
          if (this.#givenUp) throw error;
        }
      }
    } finally {
      // Given up, what was full stays so: the guest's write has not come about.
      if (counted && !this.#givenUp && --this.#requests === 0) this.#listener.room(this.#file);
    }
  }

  #turn(): Promise<void> {
    const turn = Promise.withResolvers<void>();
    this.#waiting.push(turn);
    this.#timer ??= setTimeout(() => {
      this.retry();
    }, RETRY);
    return turn.promise;
  }

  retry(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const turn of this.#waiting.splice(0)) turn.resolve();
  }

  /** What waits fails, and so does what finds no room from here on: the partition has stopped. */
  giveUp(): void {
    this.#givenUp = true;
    this.retry();
  }
}
