/** Translations that outlive a run, as the host keeps them. */

/** A file as it was opened, for any thread of this process. */
export interface StoredTranslations {
  /** In memory that threads share. */
  readonly index: Uint8Array;
  readonly fd: number;
  /** Length and CRC of each part, and where the first one is. */
  readonly table: Uint32Array;
  readonly partsAt: number;
}

export interface TranslationCache {
  readonly path: string;
  /** Undefined: there is nothing yet, or it is damaged. */
  readonly stored: StoredTranslations | undefined;
  /** Has the file as it is now. Not before the threads have ended that read the one before, as with close(). */
  reopen(): void;
  close(): void;
}
