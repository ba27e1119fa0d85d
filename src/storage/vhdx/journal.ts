/**
 * Getting changed metadata of a VHDX into the file so that a power cut finds it sound: the identities in the header, the
 * log, the order of writes and syncs. [MS-VHDX] 2.2.2.1, 2.3; README.md says why each step is where it is.
 */
import type { RandomFile } from '../../host/disk-files.ts';
import { guidFromRandom, isZeroGuid, ZERO_GUID } from '../../support/guids.ts';
import { allDone, DiskError, troubleOf } from '../disk.ts';
import { Queue } from '../locks.ts';
import type { Region } from './header.ts';
import type { HeaderWriter } from './image.ts';
import { LogWriter, type PageUpdate } from './log.ts';
import type { MetadataPages } from './pages.ts';
import { MIB } from './protocol.ts';
import type { Space } from './space.ts';

export interface JournalOptions {
  readonly random: (count: number) => Uint8Array;
  /** What is done changes where the data are, not the data: the disk keeps its identity for its children. */
  readonly sameData?: boolean;
}

export class Journal {
  /** The file's size, all of which may not be durable. */
  fileSize: number;
  /** Where the block allocation table is. */
  bat: Region;
  readonly #file: RandomFile;
  readonly #headers: HeaderWriter;
  readonly #pages: MetadataPages;
  readonly #space: Space;
  readonly #options: JournalOptions;
  readonly #flushes = new Queue();
  readonly #growth = new Queue();
  /** Made with the first change. */
  #log: LogWriter | undefined;
  #beginning: Promise<void> | undefined;
  /** Places that the BAT no longer names, once that is durable. */
  #leaving: Region[] = [];
  #queuedFlush: Promise<void> | undefined;
  /** The host could not make writes durable: nobody knows what is in the file now. */
  #lost: unknown;

  constructor(
    file: RandomFile,
    fileSize: number,
    headers: HeaderWriter,
    pages: MetadataPages,
    space: Space,
    bat: Region,
    options: JournalOptions,
  ) {
    this.#file = file;
    this.fileSize = fileSize;
    this.#headers = headers;
    this.#pages = pages;
    this.#space = space;
    this.bat = bat;
    this.#options = options;
  }

  get sequence(): number {
    return Number(this.#log?.sequence ?? 0n);
  }

  /** Before the first change of the file: new identities, a log of our own. */
  /** Whether `begin` would resolve at once. */
  get begun(): boolean {
    return this.#log !== undefined && this.#lost === undefined;
  }

  async begin(): Promise<void> {
    this.#checkLost();
    if (this.#log !== undefined) return;
    this.#beginning ??= this.#startLog().finally(() => {
      this.#beginning = undefined;
    });
    await this.#beginning;
  }

  async #startLog(): Promise<void> {
    const { random, sameData } = this.#options;
    const { logOffset, logLength } = this.#headers.header;
    const log = new LogWriter(this.#file, Number(logOffset), logLength, guidFromRandom(random(16)));
    // An empty entry first: a header that names a log without any is a damaged file. The header of before names none.
    const size = this.#wholeSize();
    await log.append([], size, size);
    await this.#headers.update({
      fileWriteGuid: guidFromRandom(random(16)),
      ...(sameData === true ? {} : { dataWriteGuid: guidFromRandom(random(16)) }),
      logGuid: log.guid,
    });
    this.#log = log;
  }

  #checkLost(): void {
    if (this.#lost !== undefined)
      throw new DiskError(
        'io',
        `${this.#file.path}: an earlier write could not be made durable; close the disk and check it`,
      );
  }

  #wholeSize(): number {
    return Math.floor(this.fileSize / MIB) * MIB;
  }

  /** In order, so that a smaller size never follows a larger one. */
  grow(size: number): Promise<void> {
    return this.#growth.run(async () => {
      if (size <= this.fileSize) return;
      await this.#file.resize(size);
      this.fileSize = size;
    });
  }

  async cut(size: number): Promise<void> {
    await this.#file.resize(size);
    await this.#file.sync();
    this.fileSize = size;
  }

  /** The place can be given to somebody else when the next flush is done. */
  leave(place: Region): void {
    this.#leaving.push(place);
  }

  get leaving(): number {
    return this.#leaving.length;
  }

  /** Flushes that wait for the one under way are one. */
  flush(): Promise<void> {
    this.#queuedFlush ??= this.#flushes.run(() => {
      this.#queuedFlush = undefined;
      return this.#flushNow();
    });
    return this.#queuedFlush;
  }

  async #flushNow(): Promise<void> {
    this.#checkLost();
    const leaving = this.#leaving;
    this.#leaving = [];
    const waiting = this.#inOrder(this.#pages.takeDirty());
    try {
      // Makes three things durable: data and zeroes that the changed pages speak of, pages that earlier flushes put in
      // their place (their log entry may be written over now), and the file's size.
      await this.sync();
      while (waiting.length > 0) {
        const pages = waiting.slice(0, LogWriter.PAGES);
        await this.#logAndPlace(pages);
        for (const page of pages) this.#pages.release(page, true);
        waiting.splice(0, pages.length);
        if (waiting.length > 0) await this.sync();
      }
    } catch (error) {
      for (const page of waiting) this.#pages.release(page, false);
      this.#leaving.push(...leaving);
      throw error;
    }
    for (const { offset, length } of leaving) {
      // Giving it back is a favour to the host; who gets the place next makes it zero again.
      await this.#file.zero(offset, length, 'free').catch(() => {});
      this.#space.release(offset, length);
    }
  }

  /** One entry of the log, and then the pages in their place. What was logged before is in its place and durable. */
  async #logAndPlace(pages: readonly PageUpdate[]): Promise<void> {
    const size = this.#wholeSize();
    await this.#log!.append(pages, size, size);
    await allDone(pages.map((page) => this.#file.write(page.offset, page.bytes)));
  }

  /** Makes pages that are in no cache durable, all or none. */
  commit(pages: readonly PageUpdate[]): Promise<void> {
    return this.#flushes.run(async () => {
      await this.sync();
      await this.#logAndPlace(pages);
      await this.sync();
    });
  }

  async sync(): Promise<void> {
    try {
      await this.#file.sync();
    } catch (error) {
      // The host may have dropped what it could not write, and says so only once.
      if (troubleOf(error) !== 'outOfSpace') this.#lost = error;
      throw error;
    }
  }

  /**
   * Bitmap pages go before the table's, and the table's last pages first: a partial block is never named before its
   * bitmap is.
   */
  #inOrder(updates: PageUpdate[]): PageUpdate[] {
    const { offset, length } = this.bat;
    const rank = (update: PageUpdate): number =>
      update.offset < offset || update.offset >= offset + length ? Number.MAX_SAFE_INTEGER : update.offset;
    return updates.sort((a, b) => rank(b) - rank(a));
  }

  /** Everything in its place, and no log that would have to be replayed. */
  async retire(): Promise<void> {
    if (this.#log === undefined || this.#lost !== undefined) return;
    await this.flush();
    await this.sync();
    if (!isZeroGuid(this.#headers.header.logGuid)) await this.#headers.update({ logGuid: ZERO_GUID });
    this.#log = undefined;
  }
}
