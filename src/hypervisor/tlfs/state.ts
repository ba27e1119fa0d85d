/** Layouts of the guest interface's state in the partition's shared memory. */
import { array, struct, type View } from '../../support/struct.ts';
import { CRASH_PARAMETERS, MESSAGE_SIZE, SINT_COUNT, STIMER_COUNT } from './constants.ts';

/** Under the platform lock, except the read of `referenceOffset`, which changes only while no processor runs. */
export const HypervPartitionState = struct('hyperv-partition', 1, {
  guestOsId: 'u64',
  hypercall: 'u64',
  referenceTsc: 'u64',
  /** Two's complement, 100 ns units: reference time minus scaled TSC. */
  referenceOffset: 'u64',
  crash: array('u64', CRASH_PARAMETERS),
  referenceSequence: 'u32',
});
export type HypervPartitionView = View<typeof HypervPartitionState.fields>;

/** Messages a processor can have waiting for their slots. */
export const MESSAGE_QUEUE = 64;

/** Changed under the platform lock, except the synthetic timers' registers, which belong to the processor's own thread. */
export const HypervVpState = struct('hyperv-vp', 1, {
  assistPage: 'u64',
  scontrol: 'u64',
  siefp: 'u64',
  simp: 'u64',
  sint: array('u64', SINT_COUNT),
  timerConfig: array('u64', STIMER_COUNT),
  timerCount: array('u64', STIMER_COUNT),
  /** Reference time at which a running timer expires; 0 when it does not run. */
  timerExpiration: array('u64', STIMER_COUNT),
  /** What the waiting message of a timer says. */
  messageExpiration: array('u64', STIMER_COUNT),
  /** Bit n: timer n has a message waiting for its slot. Under the lock. */
  timerMessages: 'u32',
  queued: 'u32',
  /** The SINT of each queued message, oldest first. */
  queueSint: array('u8', MESSAGE_QUEUE),
  /** The messages as they will stand in the slot. */
  queue: array('u8', MESSAGE_QUEUE * MESSAGE_SIZE),
});
export type HypervVpView = View<typeof HypervVpState.fields>;
