/** The parent's side of the translator's thread, with a thread that does what it is told: when there is one, and what it is given. */
import { beforeEach, describe, expect, it } from 'vitest';
import { nodeServices } from '../host/node/services.ts';
import type { ChannelEnd, HostServices, Thread } from '../host/services.ts';
import type { TranslationCache } from '../host/translations.ts';
import type { FromTranslator, ToTranslator, TranslatorThreadData } from './protocol.ts';
import { PartitionTranslator } from './translation.ts';

interface Started {
  readonly data: TranslatorThreadData;
  readonly ends: readonly ChannelEnd[];
  readonly posted: ToTranslator[];
  isOver: boolean;
  say(message: FromTranslator): void;
}

let started: Started[];
let reopened: number;
let closed: number;
let translator: PartitionTranslator;

const cache: TranslationCache = {
  path: '/nowhere',
  stored: undefined,
  reopen: () => {
    reopened++;
  },
  close: () => {
    closed++;
  },
};

function start(
  _entry: unknown,
  data: unknown,
  { ends = [] }: { ends?: readonly ChannelEnd[] } = {},
): Thread<never, never> {
  let listener: (message: FromTranslator) => void = () => undefined;
  const of: Started = {
    data: data as TranslatorThreadData,
    ends,
    posted: [],
    isOver: false,
    say: (message) => listener(message),
  };
  started.push(of);
  return {
    post: (message: ToTranslator) => {
      of.posted.push(message);
    },
    onMessage: (callback: typeof listener) => {
      listener = callback;
    },
    onError: () => undefined,
    ended: Promise.resolve(),
    terminate: async () => {
      of.isOver = true;
    },
    keepAlive: () => undefined,
  } as unknown as Thread<never, never>;
}

const end = (name: string): ChannelEnd => name as unknown as ChannelEnd;
const isListening = (): boolean => translator.listening[0] === 1;

beforeEach(() => {
  started = [];
  reopened = 0;
  closed = 0;
  let channels = 0;
  const host: HostServices = {
    ...nodeServices,
    startThread: start,
    openChannel: () => {
      channels++;
      return [end(`processor ${channels}`), end(`translator ${channels}`)];
    },
  };
  translator = new PartitionTranslator({
    host,
    entry: new URL('file:///nowhere'),
    memory: undefined as unknown as WebAssembly.Memory,
    processors: 2,
    translations: cache,
    failed: () => undefined,
  });
});

describe("the translator's thread", () => {
  it('is started once, with its ends of the channels', () => {
    expect(translator.openChannels()).toEqual(['processor 1', 'processor 2']);
    expect([started.length, isListening()]).toEqual([0, false]);
    translator.start();
    translator.start();
    const [{ data, ends }] = started as [Started];
    expect([started.length, isListening(), data.firstModule]).toEqual([1, true, 0]);
    expect(ends).toEqual(['translator 1', 'translator 2']);
    expect(data.channels).toBe(ends);
  });

  it('ends when it says so, and another one takes over when there is something to translate again', () => {
    translator.openChannels();
    translator.start();
    Atomics.store(translator.listening, 0, 0);
    started[0]!.say({ channels: [end('again 1'), end('again 2')], nextModule: 17 });
    expect([started.length, started[0]!.isOver, reopened]).toEqual([1, true, 1]);
    translator.start();
    expect([started.length, isListening(), started[1]!.data.firstModule]).toEqual([2, true, 17]);
    expect(started[1]!.ends).toEqual(['again 1', 'again 2']);
  });

  it('is replaced at once, where something was sent that it did not see', () => {
    translator.openChannels();
    translator.start();
    Atomics.store(translator.listening, 0, 0);
    translator.start();
    expect(started.length).toBe(1);
    started[0]!.say({ channels: [], nextModule: 3 });
    expect([started.length, started[1]?.data.firstModule]).toEqual([2, 3]);
  });

  it('stays, where it has seen what was sent', () => {
    translator.openChannels();
    translator.start();
    Atomics.store(translator.listening, 0, 0);
    Atomics.store(translator.listening, 0, 1);
    translator.start();
    started[0]!.say({ channels: [], nextModule: 3 });
    expect(started.length).toBe(1);
  });

  it('has what is new in its file before a partition ends', async () => {
    translator.openChannels();
    translator.start();
    const ended = translator.end();
    expect([started[0]!.posted, started[0]!.isOver]).toEqual([['keep'], false]);
    started[0]!.say('kept');
    await ended;
    expect([started[0]!.isOver, closed]).toEqual([true, 1]);
  });

  it('that ends by itself at the end of a partition is not waited for, and not replaced', async () => {
    translator.openChannels();
    translator.start();
    Atomics.store(translator.listening, 0, 0);
    translator.start();
    const ended = translator.end();
    started[0]!.say({ channels: [], nextModule: 3 });
    await ended;
    expect([started.length, started[0]!.isOver, closed]).toEqual([1, true, 1]);
  });
});
