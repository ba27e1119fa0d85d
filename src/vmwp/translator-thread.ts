/** Entry of the translator's thread: what the processors find hot comes in, modules go back. */
import { lowerThisThread } from '../host/node/priority.ts';
import { trim } from '../host/node/spare-memory.ts';
import { compileEagerly, listenOn, onMessages, postToParent, sendOn, threadData } from '../host/node/threads.ts';
import { KeptRegions } from '../hypervisor/translator/kept.ts';
import type { TranslationRequest } from '../hypervisor/translator/request.ts';
import { translate } from '../hypervisor/translator/service.ts';
import type { FromTranslator, ToTranslator, TranslatorThreadData } from './protocol.ts';

// Guest code goes first: every processor is interpreted meanwhile, and slower for want of time than of translations.
lowerThisThread(5);
// The processor's thread is to run what it gets, not to compile it.
compileEagerly();
const { memory, channels, keep, kept: file } = threadData<TranslatorThreadData>();
const kept = keep ? new KeptRegions(file) : undefined;
let idle = false;
for (const channel of channels) {
  listenOn<TranslationRequest>(channel, (request) => {
    idle = false;
    sendOn(channel, translate(request, memory.buffer as unknown as SharedArrayBuffer, { kept }));
  });
}
onMessages<ToTranslator>(() => {
  postToParent({ bytes: kept?.encode() } satisfies FromTranslator);
  // What it has made is with the processors by now. A thread that waits allocates nothing, and so never collects.
  if (!idle) trim(true);
  idle = true;
});
