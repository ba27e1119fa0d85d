/** What the parent and the threads of virtual processors say to each other. Steering goes through shared memory. */

import type { ChannelEnd, Thread } from '../host/services.ts';
import type { TranslationCache } from '../host/translations.ts';
import type { InterpreterModule } from '../hypervisor/interpreter/module.ts';
import type { Given } from '../hypervisor/translator/kept.ts';
import type { MachineConfig } from './machine.ts';

export interface VpThreadData {
  readonly index: number;
  readonly config: MachineConfig;
  readonly memory: WebAssembly.Memory;
  readonly interpreter: InterpreterModule;
  /** Host's monotonic nanoseconds that count as zero. */
  readonly timeOrigin: bigint;
  readonly instructionLimit: bigint | undefined;
  readonly tracing: boolean;
  /** Milliseconds that an idle processor looks for work before it sleeps. */
  readonly patience: number;
  /** Seed of RDRAND where a run must be repeatable. */
  readonly randomSeed: bigint | undefined;
  /** The way to the translator's thread; undefined: everything is interpreted. */
  readonly translation: ChannelEnd | undefined;
  /** One word: whether somebody reads there what is sent; see translation.ts. */
  readonly listening: Int32Array;
  /** Index of the translations that other runs have kept. */
  readonly kept: Uint8Array | undefined;
}

/** A virtual processor's thread. It is started before there is a machine, because that takes longest, and is told of it then. */
export type VpThread = Thread<VpThreadData, FromVpThread>;

export interface TranslatorThreadData {
  readonly memory: WebAssembly.Memory;
  /** One for each virtual processor. */
  readonly channels: readonly ChannelEnd[];
  /** Where translations are kept for other runs, and those that other runs have kept; undefined: nowhere. */
  readonly translations: Pick<TranslationCache, 'path' | 'stored'> | undefined;
  readonly listening: Int32Array;
  /** Of threads before it; undefined: it is the first. */
  readonly before: Given | undefined;
  /** Milliseconds without a request until it ends. */
  readonly idleAfter: number;
}
/** What is new is to be kept. */
export type ToTranslator = 'keep';
/** It is; or there has been nothing to do for some time, and this is for another thread. */
export type FromTranslator = 'kept' | { readonly channels: readonly ChannelEnd[]; readonly given: Given };

export type FromVpThread =
  | { readonly kind: 'ready' }
  /** Something has been sent to the translator's thread, and there is none. */
  | { readonly kind: 'hot' }
  | { readonly kind: 'console' }
  /** A power event stands in PartitionControl. */
  | { readonly kind: 'power' }
  | { readonly kind: 'crash'; readonly parameters: readonly bigint[]; readonly message: string | undefined }
  | { readonly kind: 'trace'; readonly events: readonly { instructions: bigint; kind: string; text: string }[] }
  | { readonly kind: 'failed'; readonly message: string; readonly stack: string | undefined };
