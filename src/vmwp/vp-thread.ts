/**
 * Entry of a virtual processor's thread: waits to be told which machine it belongs to, assembles its view of it, its engine, and
 * runs the processor's loop.
 */
import { discardMemory } from '../host/node/mapped-memory.ts';
import { currentCore } from '../host/node/priority.ts';
import { trim } from '../host/node/spare-memory.ts';
import { hostTime, onFirstMessage, postToParent, random64, sendOn, takeFrom } from '../host/node/threads.ts';
import { Interpreter } from '../hypervisor/interpreter/interpreter.ts';
import { KeptRegions } from '../hypervisor/translator/kept.ts';
import { PowerEvent, Run } from '../hypervisor/vp/control.ts';
import { Processor } from '../hypervisor/vp/processor.ts';
import { operations } from '../hypervisor/x86/operations.ts';
import { Machine } from './machine.ts';
import type { FromVpThread, VpThreadData } from './protocol.ts';
import { seededRandom } from './seeded-random.ts';
import { createVpPlatform } from './vp-platform.ts';

const TRACE_BATCH = 256;
/**
 * Milliseconds from the start of the thread until it gives memory back, and then from time to time, when the processor goes idle: what
 * it made while the guest booted is garbage, and V8 collects only where somebody allocates.
 */
const TIDY_AFTER = 12_000;
const TIDY_EVERY = 300_000;
const TIDY_APART = 500;

/**
 * Instructions between two requests to the translator's thread where it runs, and where it would have to be started: it is not to run
 * for what gets hot on a processor that is idle most of the time. One that has not slept for so many asks at once.
 */
const PAUSE = { running: 5_000_000n, started: 50_000_000n } as const;
const BUSY = 1_000_000n;

function post(message: FromVpThread): void {
  postToParent(message);
}

function main(data: VpThreadData): void {
  const { index } = data;
  const buffer = data.memory.buffer as unknown as SharedArrayBuffer;
  const machine = new Machine(data.config, buffer, {
    time: hostTime(data.timeOrigin),
    consoleReady: () => {
      post({ kind: 'console' });
    },
    crashed: (crash) => {
      post({ kind: 'crash', parameters: crash.parameters, message: crash.message });
    },
  });
  const events: { instructions: bigint; kind: string; text: string }[] = [];
  const flush = (): void => {
    if (events.length > 0) post({ kind: 'trace', events: events.splice(0) });
  };
  const vp = machine.vps[index]!;
  const trace = (kind: string, text: string): void => {
    events.push({ instructions: vp.retired + BigInt(vp.budgetStart - vp.budget), kind, text });
    if (events.length >= TRACE_BATCH) flush();
  };
  let processor: Processor | undefined;
  // One after the other.
  let nextTidy = performance.now() + TIDY_AFTER + index * TIDY_APART;
  const platform = createVpPlatform(machine, index, {
    random64:
      data.randomSeed === undefined
        ? random64
        : seededRandom(data.randomSeed, () => vp.retired + BigInt(vp.budgetStart - vp.budget)),
    trace: data.tracing ? trace : undefined,
    serve: () => processor?.serve(),
  });
  const channel = data.translation;
  const kept = channel && data.kept && new KeptRegions({ file: { index: data.kept, read: () => undefined } });
  let asked = false;
  /** Instructions that it had executed when it last slept. */
  let restedAt = 0n;
  const engine = new Interpreter({
    memory: data.memory,
    module: data.interpreter,
    index,
    platform,
    operations,
    kept,
    translation: channel && {
      get pause() {
        if (!asked || vp.retired - restedAt >= BUSY) return 0n;
        return Atomics.load(data.listening, 0) === 0 ? PAUSE.started : PAUSE.running;
      },
      send: (request) => {
        asked = true;
        sendOn(channel, request);
        if (Atomics.load(data.listening, 0) === 0) post({ kind: 'hot' });
      },
      receive: () => takeFrom(channel),
    },
  });
  platform.context = engine;
  const stop = (event: number): void => {
    machine.powerEvent(event);
  };
  processor = new Processor({
    index,
    engine,
    apic: machine.apics[index]!,
    hyperv: machine.hyperv.vps[index]!,
    control: machine.processorControls[index]!,
    partition: machine.control,
    doorbell: machine.doorbell,
    patience: data.patience,
    now: () => machine.clock.now(),
    virtualTime: data.config.virtualTime,
    skipTo: (deadline) => {
      if (deadline > machine.clock.now()) machine.clock.set(deadline);
    },
    devices: index === 0 ? machine.timers : undefined,
    instructionLimit: data.instructionLimit,
    tripleFault: () => {
      stop(PowerEvent.TRIPLE_FAULT);
    },
    limitReached: () => {
      stop(PowerEvent.LIMIT);
    },
    powerEvent: () => {
      if (Atomics.load(machine.control.powerEvent, 0) === PowerEvent.NONE) return false;
      // The first processor that sees the event stops the others and tells the parent.
      if (Atomics.compareExchange(machine.control.wanted, 0, Run.RUNNING, Run.PAUSED) === Run.RUNNING) {
        post({ kind: 'power' });
        for (let other = 0; other < data.config.processors; other++) machine.doorbell.ring(other);
      }
      return true;
    },
    flush: () => {
      flush();
      machine.vmbus?.rest();
    },
    idle: () => {
      restedAt = vp.retired;
      const now = performance.now();
      if (now < nextTidy) return;
      nextTidy = now + TIDY_EVERY;
      engine.tidy((at, size) => discardMemory(buffer, at, size));
      trim(true);
    },
  });
  machine.vmbus?.moderate(() => performance.now(), data.patience > 0 ? currentCore : undefined);
  post({ kind: 'ready' });
  processor.loop();
}

onFirstMessage<VpThreadData>((data) => {
  try {
    main(data);
  } catch (error) {
    const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
    post({ kind: 'failed', message, stack });
  }
});
