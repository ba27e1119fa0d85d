/** The parent's side of the translator's thread, with a thread that does what it is told: when there is one, and what it is given. */
import { setTimeout as wait } from 'node:timers/promises';
import type { MessagePort } from 'node:worker_threads';
import { beforeEach, describe, expect, it } from 'vitest';
import { threadEntry } from '../host/node/program.ts';
import { nodeServices } from '../host/node/services.ts';
import { sendOn, takeFrom } from '../host/node/threads.ts';
import type { ChannelEnd, HostServices, Thread } from '../host/services.ts';
import type { TranslationCache } from '../host/translations.ts';
import { packRequest, type TranslationResult } from '../hypervisor/translator/request.ts';
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
    expect([started.length, isListening(), data.before]).toEqual([1, true, undefined]);
    expect(ends).toEqual(['translator 1', 'translator 2']);
    expect(data.channels).toBe(ends);
  });

  it('ends when it says so, and another one takes over when there is something to translate again', () => {
    translator.openChannels();
    translator.start();
    Atomics.store(translator.listening, 0, 0);
    started[0]!.say({ channels: [end('again 1'), end('again 2')], given: { modules: 17, bytes: 9 } });
    expect([started.length, started[0]!.isOver, reopened]).toEqual([1, true, 1]);
    translator.start();
    expect([started.length, isListening(), started[1]!.data.before]).toEqual([2, true, { modules: 17, bytes: 9 }]);
    expect(started[1]!.ends).toEqual(['again 1', 'again 2']);
  });

  it('is replaced at once, where something was sent that it did not see', () => {
    translator.openChannels();
    translator.start();
    Atomics.store(translator.listening, 0, 0);
    translator.start();
    expect(started.length).toBe(1);
    started[0]!.say({ channels: [], given: { modules: 3, bytes: 0 } });
    expect([started.length, started[1]?.data.before?.modules]).toEqual([2, 3]);
  });

  it('stays, where it has seen what was sent', () => {
    translator.openChannels();
    translator.start();
    Atomics.store(translator.listening, 0, 0);
    Atomics.store(translator.listening, 0, 1);
    translator.start();
    started[0]!.say({ channels: [], given: { modules: 3, bytes: 0 } });
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
    started[0]!.say({ channels: [], given: { modules: 3, bytes: 0 } });
    await ended;
    expect([started.length, started[0]!.isOver, closed]).toEqual([1, true, 1]);
  });
});

describe("the translator's own thread", () => {
  it('gives its channels back when nothing comes, and what is sent then reaches the next one', async () => {
    const mine = new PartitionTranslator({
      host: nodeServices,
      entry: threadEntry('translator-thread'),
      memory: new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true }),
      processors: 1,
      translations: undefined,
      idleAfter: 50,
      failed: (error) => {
        throw error;
      },
    });
    const [channel] = mine.openChannels() as [ChannelEnd];
    const listens = (): number => Atomics.load(mine.listening, 0);
    const answered = async (): Promise<TranslationResult> => {
      for (;;) {
        const answer = takeFrom<TranslationResult>(channel);
        if (answer) return answer;
        await wait(10);
      }
    };
    try {
      mine.start();
      for (let n = 0; n < 3; n++) {
        sendOn(channel, packRequest(0, []));
        if (listens() === 0) mine.start();
        expect((await answered()).regions).toEqual([]);
        while (listens() === 1) await wait(10);
      }
    } finally {
      await mine.end();
      (channel as unknown as MessagePort).close();
    }
  }, 60_000);
});
