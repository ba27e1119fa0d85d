/** Entry of the translator's thread: what the processors find hot comes in, modules go back. */
import { compileEagerly, listenOn, sendOn, threadData } from '../host/node/threads.ts';
import type { TranslationRequest } from '../hypervisor/translator/request.ts';
import { translate } from '../hypervisor/translator/service.ts';
import type { TranslatorThreadData } from './protocol.ts';

// The processor's thread is to run what it gets, not to compile it.
compileEagerly();
const { memory, channels } = threadData<TranslatorThreadData>();
for (const channel of channels) {
  listenOn<TranslationRequest>(channel, (request) => {
    sendOn(channel, translate(request, memory.buffer as unknown as SharedArrayBuffer));
  });
}
