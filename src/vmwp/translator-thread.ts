/** Entry of the translator's thread: what the processors find hot comes in, modules go back. */
import { machineCode } from '../host/node/machine-code/machine-code.ts';
import { lowerThisThread } from '../host/node/priority.ts';
import { trim } from '../host/node/spare-memory.ts';
import { listenOn, onMessages, postToParent, sendOn, setUpForGuests, threadData } from '../host/node/threads.ts';
import { partReader, writeTranslations } from '../host/node/translation-cache.ts';
import { KeptRegions } from '../hypervisor/translator/kept.ts';
import type { KnownModules, TranslationRequest } from '../hypervisor/translator/request.ts';
import { translate } from '../hypervisor/translator/service.ts';
import type { FromTranslator, ToTranslator, TranslatorThreadData } from './protocol.ts';

// Guest code goes first: every processor is interpreted meanwhile, and slower for want of time than of translations.
lowerThisThread(5);
// The processor's thread is to run what it gets, not to compile it.
setUpForGuests();
const { memory, channels, translations } = threadData<TranslatorThreadData>();
const stored = translations?.stored;
const kept =
  translations &&
  new KeptRegions({
    file: stored && { index: stored.index, read: partReader(stored) },
    code: machineCode(),
  });
let idle = false;
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
  if (!last) setImmediate(() => sendAhead(all, ids.slice(GROUP), left));
}

if (kept) sendAhead(kept, kept.expected(), MOST_AHEAD);
for (const channel of channels) {
  listenOn<TranslationRequest>(channel, (request) => {
    idle = false;
    sendOn(channel, translate(request, memory.buffer as unknown as SharedArrayBuffer, { kept }));
  });
}
onMessages<ToTranslator>(() => {
  const file = kept?.encode();
  if (file && translations) writeTranslations(translations.path, file.index, file.parts);
  postToParent('kept' satisfies FromTranslator);
  // What it has made is with the processors by now. A thread that waits allocates nothing, and so never collects.
  if (!idle) trim(true);
  idle = true;
});
