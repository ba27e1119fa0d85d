// Hypercalls of a guest that means harm, on several processors, with the connections of the VMBus and of the test device
// behind them. What a call promises is checked against a model: messages arrive whole and in order, a signal is its
// channel's, an IPI or a flush reaches the processors that are named and no other; and a call that fails changes nothing.

import { Register } from '../../src/hypervisor/apic/registers.ts';
import { Hypercall, Msr, Status } from '../../src/hypervisor/tlfs/constants.ts';
import { MESSAGE_QUEUE } from '../../src/hypervisor/tlfs/state.ts';
import { HypervTest, HypervTestState } from '../../src/hypervisor/tlfs/test-port.ts';
import { RAM, type TestPartition, testPartition } from '../../src/hypervisor/tlfs/testing.ts';
import { VmbusMailbox, vmbusMailbox } from '../../src/vmbus/mailbox.ts';
import {
  EVENT_CONNECTION,
  MESSAGE_CONNECTION,
  MESSAGE_CONNECTION_MULTIPLEXED,
  MESSAGE_HEADER,
  RELID_COUNT,
} from '../../src/vmbus/protocol.ts';
import { Random } from '../oracle/generate.ts';
import { u64 } from './guest.ts';
import { ensure, type StatefulFuzzer, statefulTarget } from './stateful.ts';
import type { FuzzTarget } from './target.ts';

const PAGE = 4096;
const STEPS = 12;
const CODES = Object.values(Hypercall);
const STATUSES = new Set<number>(Object.values(Status));
const RELIDS = 8;
const LOG = 20;
const FAST = 1n << 16n;
/** More than the mailbox holds: the model keeps as many as were accepted. */
const MOST_WAITING = 256;

/** A call as the registers have it, and the 64-bit words of its input as far as the guest wrote any. */
interface Registers {
  readonly control: bigint;
  readonly input: bigint;
  readonly output: bigint;
  readonly words: readonly bigint[];
}

class HypercallFuzzer implements StatefulFuzzer {
  readonly group = 50;
  readonly log: string[] = [];
  #host: TestPartition = testPartition();
  #mailbox = new VmbusMailbox(vmbusMailbox.view(new SharedArrayBuffer(vmbusMailbox.size), 0));
  #test = new HypervTest(this.#host.partition, new SharedArrayBuffer(HypervTestState.size), 0);
  #messages: string[] = [];
  #signals = new Set<number>();
  #signallable = new Set<number>();

  reset(seed: number): void {
    const random = new Random(seed);
    this.log.length = 0;
    // Beyond 64 processors a set has a second bank.
    this.#host = testPartition(random.oneIn(4) ? 65 + random.below(8) : 1 + random.below(4));
    this.#mailbox = new VmbusMailbox(vmbusMailbox.view(new SharedArrayBuffer(vmbusMailbox.size), 0));
    this.#host.partition.addConnections(this.#mailbox);
    this.#test = new HypervTest(this.#host.partition, new SharedArrayBuffer(HypervTestState.size), 0);
    this.#forget();
  }

  #forget(): void {
    this.#messages = [];
    this.#signals.clear();
    this.#signallable.clear();
  }

  run(seed: number): void {
    const random = new Random(seed);
    for (let n = 0; n < STEPS; n++) {
      const act = random.below(16);
      if (act < 11) this.#call(random);
      else if (act < 13) this.#parent(random);
      else if (act < 15) this.#setUp(random);
      else this.#memory(random);
    }
    if (random.oneIn(500)) this.#restart();
    for (const { state } of this.#host.vps) ensure(state.queued <= MESSAGE_QUEUE, `${state.queued} messages queued`);
    ensure(this.#messages.length < MOST_WAITING, 'the mailbox takes more than it holds');
  }

  #say(text: string): void {
    this.log.push(text);
    if (this.log.length > LOG) this.log.shift();
  }

  // ---- the guest ------------------------------------------------------------------------------------------------------

  #call(random: Random): void {
    const { vps, flushes } = this.#host;
    const vp = random.pick(vps);
    const code = random.oneIn(10) ? random.below(0x1_0000) : random.pick(CODES);
    const registers = this.#registers(random, code);
    const { control, input, output, words } = registers;
    this.#say(`${vp.index}: ${control.toString(16)} ${input.toString(16)} ${output.toString(16)} [${words.join()}]`);
    for (const { apic } of vps) drainInterrupts(apic);
    flushes.length = 0;
    const queued = vps.map(({ state }) => state.queued);
    const { result } = vp.hypercall(control, input, output);
    const status = Number(result & 0xffffn);
    const completed = Number((result >> 32n) & 0xfffn);
    ensure(STATUSES.has(status) && (result & 0xffff_f000_ffff_0000n) === 0n, `results in ${result.toString(16)}`);
    ensure(completed === (status === 0 ? Number((control >> 32n) & 0xfffn) : 0), `${completed} repetitions are done`);
    for (const { processors } of flushes)
      ensure(
        processors.every((index) => index >= 0 && index < vps.length),
        'a flush names a processor that is not there',
      );
    if (status !== Status.SUCCESS) {
      ensure(flushes.length === 0, 'a call that failed flushed');
      ensure(
        vps.every(({ state }, i) => state.queued === queued[i]),
        'a call that failed left a message',
      );
    } else this.#succeeded(registers, vp.index);
  }

  #registers(random: Random, code: number): Registers {
    const field = (bits: number, at: number): bigint =>
      random.oneIn(3) ? BigInt(random.below(random.oneIn(2) ? 4 : 2 ** bits)) << BigInt(at) : 0n;
    const words = this.#words(random, code);
    // A set has as many banks as it says, mostly; a list as many elements.
    let control = BigInt(code) | field(1, 16);
    if (SETS.has(code) && !random.oneIn(4)) control |= BigInt(random.below(3)) << 17n;
    else if (random.oneIn(6)) control |= field(10, 17);
    if (LISTS.has(code) && !random.oneIn(4)) control |= BigInt(1 + random.below(6)) << 32n;
    else if (random.oneIn(6)) control |= field(12, 32) | field(12, 48);
    if (random.oneIn(40)) control = u64(random);
    if ((control & FAST) !== 0n && !random.oneIn(4))
      return { control, input: words[0] as bigint, output: words[1] as bigint, words };
    const page = random.below(RAM / PAGE) * PAGE;
    const offset = random.oneIn(8) ? PAGE - 8 * random.below(40) : 8 * random.below(16);
    const at = Math.min(page + offset, RAM - 8 * words.length);
    words.forEach((word, i) => {
      this.#host.memory.view.setBigUint64(at + 8 * i, word, true);
    });
    const input = random.oneIn(20) ? u64(random) : BigInt(at + (random.oneIn(30) ? random.below(8) : 0));
    return { control, input, output: random.oneIn(4) ? u64(random) : 0n, words };
  }

  /** Input with sense in it, and then some without. */
  #words(random: Random, code: number): bigint[] {
    const words = Array.from({ length: 34 }, () =>
      random.oneIn(2) ? 0n : random.oneIn(2) ? BigInt(random.below(8)) : u64(random),
    );
    const mask = (): bigint => (random.oneIn(3) ? u64(random) : BigInt(random.below(16)));
    switch (code) {
      case Hypercall.POST_MESSAGE: {
        const connections = [MESSAGE_CONNECTION, MESSAGE_CONNECTION_MULTIPLEXED, 7, 8, random.below(300)];
        words[0] = BigInt(random.pick(connections));
        const size = random.oneIn(6) ? random.below(300) : MESSAGE_HEADER + random.below(40);
        words[1] = BigInt(random.oneIn(6) ? random.u32() : 1) | (BigInt(size) << 32n);
        break;
      }
      case Hypercall.SIGNAL_EVENT: {
        const relid = random.oneIn(4) ? random.below(RELID_COUNT + 2) : random.below(RELIDS);
        words[0] = BigInt(random.oneIn(5) ? random.below(300) : EVENT_CONNECTION + relid);
        if (random.oneIn(8)) words[0] |= random.oneIn(2) ? u64(random) : BigInt(random.below(4)) << 32n;
        break;
      }
      case Hypercall.SEND_SYNTHETIC_CLUSTER_IPI:
      case Hypercall.SEND_SYNTHETIC_CLUSTER_IPI_EX:
        words[0] = random.oneIn(8) ? u64(random) : BigInt(random.below(256));
        words[1] = code === Hypercall.SEND_SYNTHETIC_CLUSTER_IPI ? mask() : BigInt(random.below(3));
        words[2] = random.oneIn(2) ? BigInt(random.below(8)) : mask();
        words[3] = mask();
        words[4] = mask();
        break;
      default:
        words[1] = random.oneIn(8) ? u64(random) : BigInt(random.below(8));
        words[2] = SETS.has(code) ? BigInt(random.below(3)) : mask();
        words[3] = random.oneIn(2) ? BigInt(random.below(8)) : mask();
        words[4] = mask();
    }
    return words;
  }

  /** What has come of it is what was asked for. */
  #succeeded({ control, words, input, output }: Registers, caller: number): void {
    // Where the guest's words are not those of the call (another address, too many in registers), nothing is known.
    const fast = (control & FAST) !== 0n;
    const known = fast ? input === words[0] && output === words[1] : this.#inputIs(input, words);
    const code = Number(control & 0xffffn);
    if (!known) {
      this.#resynchronize();
      return;
    }
    const [first = 0n, second = 0n] = words;
    switch (code) {
      case Hypercall.POST_MESSAGE: {
        const connection = Number(first & 0xffff_ffffn);
        const size = Number(second >> 32n);
        const payload = new Uint8Array(BigUint64Array.from(words.slice(2)).buffer).subarray(0, size);
        if (connection === MESSAGE_CONNECTION || connection === MESSAGE_CONNECTION_MULTIPLEXED)
          this.#messages.push(payload.join());
        break;
      }
      case Hypercall.SIGNAL_EVENT: {
        const relid = Number(first & 0xff_ffffn) - EVENT_CONNECTION;
        if (relid < 1 || relid >= RELID_COUNT) break;
        ensure(this.#signallable.has(relid), `channel ${relid} was signalled, and may not be`);
        this.#signals.add(relid);
        break;
      }
      case Hypercall.SEND_SYNTHETIC_CLUSTER_IPI: {
        const vector = Number(first & 0xffff_ffffn);
        for (const vp of this.#host.vps) {
          const named = vp.index < 64 && ((second >> BigInt(vp.index)) & 1n) === 1n;
          ensure((vp.apic.hasInterrupt() === vector) === named, `processor ${vp.index} by an IPI to ${second}`);
        }
        break;
      }
      case Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE: {
        const mask = words[2] as bigint;
        const all = (second & 1n) !== 0n;
        const named = this.#host.vps
          .map(({ index }) => index)
          .filter((index) => all || (index < 64 && ((mask >> BigInt(index)) & 1n) === 1n));
        ensure(
          (this.#host.flushes[0]?.processors ?? []).join() === named.join(),
          `processor ${caller} flushes ${named.join()}`,
        );
        break;
      }
      default:
    }
  }

  #inputIs(input: bigint, words: readonly bigint[]): boolean {
    const at = Number(input);
    const { view } = this.#host.memory;
    return at + 8 * words.length <= RAM && words.every((word, i) => view.getBigUint64(at + 8 * i, true) === word);
  }

  /** Takes what there is, without knowing what it should be. */
  #resynchronize(): void {
    while (this.#mailbox.take());
    this.#messages = [];
    this.#mailbox.takeSignals();
    this.#signals.clear();
  }

  #setUp(random: Random): void {
    const vp = random.pick(this.#host.vps);
    const page = (): bigint => BigInt(random.below(RAM / PAGE + 2) * PAGE) | (random.oneIn(6) ? 0n : 1n);
    switch (random.below(4)) {
      case 0:
        vp.writeMsr(Msr.SCONTROL, random.oneIn(6) ? 0n : 1n);
        vp.writeMsr(Msr.SIMP, page());
        vp.writeMsr(Msr.SIEFP, page());
        break;
      case 1:
        vp.writeMsr(Msr.SINT0 + random.below(16), BigInt(random.below(256)) | (BigInt(random.below(8)) << 16n));
        break;
      case 2:
        vp.writeMsr(Msr.EOM, 0n);
        break;
      default:
        this.#test.command(
          ((7 + random.below(2)) << 24) |
            ((1 + random.below(7)) << 16) |
            (random.below(this.#host.vps.length + 1) << 8) |
            random.below(17),
        );
    }
  }

  #memory(random: Random): void {
    const { bytes } = this.#host.memory;
    const at = random.below(RAM - 64);
    for (let i = 0; i < 64; i++) bytes[at + i] = random.oneIn(2) ? 0 : random.below(256);
  }

  // ---- the parent -----------------------------------------------------------------------------------------------------

  #parent(random: Random): void {
    const relid = 1 + random.below(RELIDS);
    switch (random.below(4)) {
      case 0:
        for (let n = random.below(20); n > 0; n--) {
          const message = this.#mailbox.take();
          ensure(message?.join() === this.#messages.shift(), 'the message taken is not the one that was posted');
          if (message === undefined) break;
        }
        break;
      case 1:
        ensure(
          this.#mailbox
            .takeSignals()
            .sort((a, b) => a - b)
            .join() === [...this.#signals].sort((a, b) => a - b).join(),
          'the channels signalled are not those that are told',
        );
        this.#signals.clear();
        break;
      case 2:
        this.#mailbox.setSignallable(relid, true);
        this.#signallable.add(relid);
        break;
      default:
        this.#mailbox.setSignallable(relid, false);
        this.#signallable.delete(relid);
        this.#signals.delete(relid);
    }
  }

  #restart(): void {
    this.#host.partition.reset();
    for (const { apic } of this.#host.vps) {
      apic.reset();
      apic.writeRegister(Register.SVR, 0x1ff);
    }
    this.#mailbox.reset();
    this.#test.reset();
    this.#forget();
    ensure(this.#mailbox.take() === undefined && this.#mailbox.takeSignals().length === 0, 'a reset left something');
  }
}

/** Calls with a processor set, and with a list. */
const SETS = new Set<number>([
  Hypercall.FLUSH_VIRTUAL_ADDRESS_SPACE_EX,
  Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST_EX,
  Hypercall.SEND_SYNTHETIC_CLUSTER_IPI_EX,
]);
const LISTS = new Set<number>([Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST, Hypercall.FLUSH_VIRTUAL_ADDRESS_LIST_EX]);

/** Nothing in request and nothing in service, so that the next vector is what came of the call. */
function drainInterrupts(apic: TestPartition['vp']['apic']): void {
  while (apic.hasInterrupt() >= 0) {
    apic.acknowledge();
    apic.eoi();
  }
}

export const target: FuzzTarget = statefulTarget(
  'hypercalls, and what is behind them',
  ['src/hypervisor/tlfs/hypercalls.ts', 'src/hypervisor/tlfs/synic.ts', 'src/vmbus/mailbox.ts'],
  new HypercallFuzzer(),
);
