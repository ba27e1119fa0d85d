/** Entry of the translator's thread: what the processors find hot comes in, modules go back. */
import { machineCode } from '../host/node/machine-code/machine-code.ts';
import { lowerThisThread } from '../host/node/priority.ts';
import {
  listenOn,
  onMessages,
  postToParent,
  sendOn,
  setUpForGuests,
  takeFrom,
  threadData,
} from '../host/node/threads.ts';
import { partReader, writeTranslations } from '../host/node/translation-cache.ts';
import type { ChannelEnd } from '../host/services.ts';
import { KeptRegions } from '../hypervisor/translator/kept.ts';
import type { KnownModules, TranslationRequest } from '../hypervisor/translator/request.ts';
import { translate } from '../hypervisor/translator/service.ts';
import type { FromTranslator, ToTranslator, TranslatorThreadData } from './protocol.ts';

// Guest code goes first: every processor is interpreted meanwhile, and slower for want of time than of translations.
lowerThisThread(5);
// The processor's thread is to run what it gets, not to compile it.
setUpForGuests();
const { memory, channels, translations, listening, before, idleAfter } = threadData<TranslatorThreadData>();
const stored = translations?.stored;
const kept =
  translations &&
  new KeptRegions({
    file: stored && { index: stored.index, read: partReader(stored) },
    code: machineCode(),
    before,
  });
let lastRequest = performance.now();
/** It has given its channels back. */
let isOver = false;
let isSendingAhead = false;
/** Modules that are sent at one time before anybody asks for them: what has been asked for comes between. */
const GROUP = 16;
/** Bytes of modules that are sent in all, without their machine code. */
const MOST_AHEAD = 2 ** 23;

/** What the run before has used is likely to be used again. */
function sendAhead(all: KeptRegions, ids: readonly number[], room: number): void {
  const group = ids.slice(0, GROUP);
  const known = group.flatMap((id) => {
    const module = all.module(id);
    return module ? [{ id, module, bytes: all.length(id) }] : [];
  });
  const left = room - known.reduce((sum, { bytes }) => sum + bytes, 0);
  const last = left <= 0 || group.length === ids.length;
  for (const channel of channels) sendOn(channel, { known, last } satisfies KnownModules);
  isSendingAhead = !last;
  if (!last) setImmediate(() => sendAhead(all, ids.slice(GROUP), left));
}

function serve(channel: ChannelEnd, request: TranslationRequest): void {
  lastRequest = performance.now();
  sendOn(channel, translate(request, memory.buffer as unknown as SharedArrayBuffer, { kept }));
}

/** What is new outlives the run. */
function keep(): void {
  const file = kept?.encode();
  if (file && translations) writeTranslations(translations.path, file.index, file.parts);
}

/** Ends, unless somebody has sent something and has not seen that. */
function leave(): void {
  Atomics.store(listening, 0, 0);
  for (const channel of channels) {
    const request = takeFrom<TranslationRequest>(channel);
    if (!request) continue;
    Atomics.store(listening, 0, 1);
    serve(channel, request);
    return;
  }
  isOver = true;
  clearInterval(looking);
  const given = kept?.given ?? { modules: 0, bytes: 0 };
  postToParent({ channels, given } satisfies FromTranslator, channels);
}

if (kept && !before) sendAhead(kept, kept.expected(), MOST_AHEAD);
for (const channel of channels) listenOn<TranslationRequest>(channel, (request) => serve(channel, request));
const looking = setInterval(() => {
  keep();
  if (!isSendingAhead && performance.now() - lastRequest >= idleAfter) leave();
}, idleAfter);
onMessages<ToTranslator>(() => {
  if (!isOver) keep();
  postToParent('kept' satisfies FromTranslator);
});
