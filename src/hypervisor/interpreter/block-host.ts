/** What a processor's predecoded blocks need of it, and what they say of a block. */
import type { VpView } from '../vp/state.ts';

export interface BlockCode {
  /** The page's bytes, their address in the partition's memory, and where in the page the block begins. */
  readonly page: Uint8Array;
  readonly host: number;
  readonly offset: number;
  /** Guest-physical address of the page. */
  readonly gpa: number;
  readonly mode: number;
}

export interface BlockCacheHost {
  readonly vp: VpView;
  /** Guest-physical address of the page of code after `linear`'s, for an instruction that crosses into it; raises #PF. */
  translateCode(linear: bigint): number | undefined;
  /** The page now holds code: stores of every processor must be noticed from here on. */
  protectPage(page: number): void;
  /** The page holds no block any more. */
  releasePage(page: number): void;
  /** No page holds one. */
  releaseAll(): void;
  /** Everything was dropped: cached record addresses are stale. */
  flushed(): void;
}
