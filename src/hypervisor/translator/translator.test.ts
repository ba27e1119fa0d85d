/** The processor's side of translation, with blocks and a translator that do what the test says. */
import { describe, expect, it } from 'vitest';
import type { BlockCache } from '../interpreter/block-cache.ts';
import type { VpView } from '../vp/state.ts';
import { nameOf } from './kept.ts';
import type { TranslationRequest, TranslationResult } from './request.ts';
import { type TranslationPort, Translator } from './translator.ts';

const RECORD = 32;
const BYTES = 10;

/** A module with one function, "r0", which returns 0: types, functions, exports, code. */
const module = new WebAssembly.Module(
  Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 5, 1, 0x60, 0, 1, 0x7f],
    ...[3, 2, 1, 0],
    ...[7, 6, 1, 2, 0x72, 0x30, 0, 0],
    ...[10, 6, 1, 4, 0, 0x41, 0, 0x0b],
  ]),
);

interface Fake {
  readonly translator: Translator;
  readonly vp: { modulesMade: bigint; retired: bigint };
  readonly requests: TranslationRequest[];
  /** The one block is hot, its translation in the module of this number comes, and goes when its code is stored to. */
  comeAndGo(id: number): void;
}

function fake(pause?: bigint): Fake {
  const installed: number[] = [];
  const requests: TranslationRequest[] = [];
  const answers: TranslationResult[] = [];
  const page = new Uint8Array(4096);
  const blocks = {
    epoch: 0,
    released: (_place: number): void => undefined,
    codeOf: () => ({ page, host: 0, offset: 0, gpa: 0, mode: 8 }),
    install: (_record: number, place: number) => installed.push(place),
    pageOf: () => undefined,
    blocksOf: () => new Int32Array(0),
    has: () => true,
    isKept: () => false,
    entered: () => 0,
    cool: () => undefined,
    flush: () => undefined,
  };
  const vp = {
    retired: 0n,
    splitRecord: 0,
    regionsDropped: 0n,
    regionsStale: 0n,
    regionsMade: 0n,
    regionsKept: 0n,
    regionsInstructions: 0n,
    modulesMade: 0n,
    modulesBytes: 0n,
    translationTime: 0n,
  };
  const port: TranslationPort = {
    ...(pause === undefined ? {} : { pause }),
    send: (request) => requests.push(request),
    receive: () => answers.shift(),
  };
  const nothing = new WebAssembly.Instance(module).exports[nameOf(0)] as () => number;
  const translator = new Translator({
    memory: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }),
    index: 0,
    vp: vp as unknown as VpView,
    table: new WebAssembly.Table({ element: 'anyfunc', initial: 5000 }),
    blocks: blocks as unknown as BlockCache,
    port,
    helpers: { no_region: nothing },
    dropPlaces: () => undefined,
  });
  const comeAndGo = (id: number): void => {
    translator.hot(RECORD, undefined);
    translator.work();
    const region = { record: RECORD, module: 0, name: nameOf(0), entry: 0, nextGpa: 0, from: 0, size: 1 };
    const lists = { code: new Uint8Array(4), blocks: [0], calls: [], sites: [] };
    answers.push({
      modules: [{ id, module, bytes: BYTES }],
      milliseconds: 0,
      regions: [{ ...region, ...lists, firstSite: 0, kept: false }],
    });
    translator.work();
    blocks.released(installed.pop() as number);
    translator.work();
  };
  return { translator, vp, requests, comeAndGo };
}

describe('instances of modules that other results may have too', () => {
  it('are used again when code comes back', () => {
    const { vp, comeAndGo } = fake();
    for (let n = 0; n < 5; n++) comeAndGo(7);
    expect(vp.modulesMade).toBe(1n);
  });

  it('go when many are not used, or the processor has time', () => {
    const { translator, vp, comeAndGo } = fake();
    for (let id = 0; id < 300; id++) comeAndGo(id);
    expect(vp.modulesMade).toBe(300n);
    // The last ones are there.
    comeAndGo(299);
    expect(vp.modulesMade).toBe(300n);
    comeAndGo(0);
    expect(vp.modulesMade).toBe(301n);
    comeAndGo(0);
    expect(vp.modulesMade).toBe(301n);
    translator.tidy();
    comeAndGo(0);
    expect(vp.modulesMade).toBe(302n);
  });
});

describe('requests', () => {
  it('have as many instructions between them as the port says, or a fifth where there is a whole batch', () => {
    const { translator, vp, requests } = fake(1000n);
    const requestsAt = (retired: bigint, hot: number): number => {
      vp.retired = retired;
      for (let n = 0; n < hot; n++) translator.hot(RECORD + n, undefined);
      translator.work();
      return requests.length;
    };
    expect(requestsAt(999n, 1)).toBe(0);
    expect(requestsAt(1000n, 0)).toBe(1);
    const batch = fake(1000n);
    for (let n = 0; n < 24; n++) batch.translator.hot(RECORD + n, undefined);
    batch.vp.retired = 199n;
    batch.translator.work();
    expect(batch.requests.length).toBe(0);
    batch.vp.retired = 200n;
    batch.translator.work();
    expect(batch.requests.length).toBe(1);
  });
});
