/**
 * The partition's interrupt bus: resolves destinations to virtual processors' local APICs. Used by the IO-APIC, by
 * message-signalled interrupts, by ICR writes and by hypercalls. Intel SDM vol. 3, "Determining IPI Destination",
 * "Lowest Priority Delivery Mode" and "Message Signalled Interrupts".
 *
 * Threads: every thread has its own router over its own LocalApic objects on the same bytes. Nothing here takes a lock;
 * what it changes in another processor's APIC is changed with Atomics, so it may be called with or without the platform
 * lock. Target registers (ID, LDR, DFR, mode, PPR) are read as they are at that instant.
 */
import type { LocalApic } from './local-apic.ts';
import type { InterruptRequest } from './ports.ts';
import { BROADCAST_8, BROADCAST_32, DeliveryMode, Shorthand } from './registers.ts';

export class InterruptRouter {
  readonly #apics: LocalApic[] = [];

  /** Adds the APIC of the next virtual processor; `apics[n]` is VP n. */
  add(apic: LocalApic): void {
    this.#apics.push(apic);
  }

  get apics(): readonly LocalApic[] {
    return this.#apics;
  }

  apic(vp: number): LocalApic | undefined {
    return this.#apics[vp];
  }

  /** Delivers an interrupt message; false when no local APIC accepted it. */
  requestInterrupt(request: InterruptRequest): boolean {
    const broadcast = request.destination === (request.wide === true ? BROADCAST_32 : BROADCAST_8);
    const targets: LocalApic[] = [];
    for (const apic of this.#apics)
      if (apic.enabled && (broadcast || matches(apic, request.destination, request.logical))) targets.push(apic);
    return deliver(targets, request);
  }

  /**
   * An inter-processor interrupt as the ICR states it.
   * @param sender the VP whose ICR was written.
   */
  sendIpi(sender: number, shorthand: number, request: InterruptRequest): boolean {
    if (shorthand === Shorthand.NONE) return this.requestInterrupt(request);
    const targets = this.#apics.filter(
      (apic, vp) =>
        apic.enabled && (shorthand === Shorthand.ALL || (shorthand === Shorthand.SELF ? vp === sender : vp !== sender)),
    );
    return deliver(targets, request);
  }

  /** A message-signalled interrupt: a 32-bit write of `data` to 0xFEExxxxx. Edge, or level-assert as the data says. */
  send(address: number, data: number): void {
    const deliveryMode = (data >>> 8) & 7;
    const logical = (address & 4) !== 0;
    // Redirection hint: one processor of the logical set, the one of lowest priority.
    const redirect = (address & 8) !== 0 && logical && deliveryMode === DeliveryMode.FIXED;
    this.requestInterrupt({
      vector: data & 0xff,
      deliveryMode: redirect ? DeliveryMode.LOWEST_PRIORITY : deliveryMode,
      destination: (address >>> 12) & 0xff,
      logical,
      trigger: (data & 0x8000) !== 0 ? 'level' : 'edge',
    });
  }
}

function matches(apic: LocalApic, destination: number, logical: boolean): boolean {
  if (!logical) return apic.busId === destination;
  if (apic.x2apic) {
    // Cluster in bits 31:16, members in 15:0. An 8-bit destination can name members 0..7 of cluster 0.
    const ldr = apic.ldr;
    return ldr >>> 16 === destination >>> 16 && (ldr & destination & 0xffff) !== 0;
  }
  // An xAPIC sees eight bits of the message destination address.
  if (destination > 0xff) return false;
  const ldr = apic.ldr >>> 24;
  switch (apic.dfr >>> 28) {
    case 0xf:
      return (ldr & destination) !== 0;
    case 0x0:
      // Cluster 15 addresses the members of every cluster.
      return (destination >>> 4 === 0xf || ldr >>> 4 === destination >>> 4) && (ldr & destination & 0xf) !== 0;
    default:
      return false;
  }
}

function deliver(targets: readonly LocalApic[], request: InterruptRequest): boolean {
  const { vector, deliveryMode } = request;
  switch (deliveryMode) {
    case DeliveryMode.FIXED: {
      let accepted = false;
      for (const apic of targets) if (apic.accept(vector, request.trigger === 'level')) accepted = true;
      return accepted;
    }
    case DeliveryMode.LOWEST_PRIORITY: {
      const apic = lowestPriority(targets, vector);
      return apic?.accept(vector, request.trigger === 'level') ?? false;
    }
    case DeliveryMode.NMI:
      for (const apic of targets) apic.requestNmi();
      return targets.length > 0;
    case DeliveryMode.INIT:
      for (const apic of targets) apic.requestInit();
      return targets.length > 0;
    case DeliveryMode.STARTUP:
      for (const apic of targets) apic.requestStartup(vector);
      return targets.length > 0;
    default:
      // SMI: there is no system management mode. ExtINT by message: the 8259 pair is wired to LINT0 instead.
      return false;
  }
}

/**
 * The processor of lowest priority among those that are software-enabled. Equals share by vector, so that a device keeps
 * its processor and two devices spread; the SDM leaves the choice open.
 */
function lowestPriority(targets: readonly LocalApic[], vector: number): LocalApic | undefined {
  let best = 256;
  let candidates: LocalApic[] = [];
  for (const apic of targets) {
    if (!apic.softwareEnabled) continue;
    const priority = apic.ppr >>> 4;
    if (priority > best) continue;
    if (priority < best) candidates = [];
    best = priority;
    candidates.push(apic);
  }
  return candidates[vector % candidates.length];
}
