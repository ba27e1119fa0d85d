/**
 * Who has which address of a NAT network. An adapter of a VM has a reservation under its name, so that it finds its address
 * again after any restart; whoever has no name has one under its MAC address. Plain data, handed to who keeps it.
 */
import { ViridianError } from '../../contracts/errors.ts';
import { asArray, asRecord, asText } from '../../support/plain.ts';
import { type Cidr, inNetwork, ipText, maskOf, parseIp } from '../ethernet.ts';

/** What the caller keeps: version 1. */
export interface LeaseState {
  readonly version: 1;
  /** The one that was used longest ago first. `fixed`: the user has made it. */
  readonly reservations: readonly { readonly owner: string; readonly address: string; readonly fixed?: boolean }[];
}

/** Of those without a name. Named ones are limited by the network's size. */
const MOST_ANONYMOUS = 256;

export class Leases {
  readonly #network: Cidr;
  readonly #gateway: number;
  readonly #changed: () => void;
  readonly #isHere: (owner: string) => boolean;
  readonly #fixed = new Set<string>();
  readonly #byOwner = new Map<string, number>();
  readonly #byAddress = new Map<number, string>();
  /** Addresses that a client has found in use (DHCPDECLINE). */
  readonly #avoided = new Set<number>();

  /** @param isHere whether an owner has an adapter in the network now: its reservation stays. */
  constructor(network: Cidr, gateway: number, changed: () => void, isHere: (owner: string) => boolean) {
    this.#isHere = isHere;
    this.#network = network;
    this.#gateway = gateway;
    this.#changed = changed;
  }

  ownerOf(address: number): string | undefined {
    return this.#byAddress.get(address);
  }

  addressOf(owner: string): number | undefined {
    return this.#byOwner.get(owner);
  }

  /** Gives an owner a certain address. @throws ViridianError */
  reserve(owner: string, address: number): void {
    if (!this.#isUsable(address))
      throw new ViridianError('invalid', `${ipText(address)} is no address for a machine in this network`);
    const other = this.#byAddress.get(address);
    if (other !== undefined && other !== owner)
      throw new ViridianError('wrongState', `${ipText(address)} is reserved for ${other}`);
    this.#fixed.add(owner);
    this.#set(owner, address);
  }

  /** The owner's address, a new one if it has none; undefined when there is none left. */
  assign(owner: string, wished: number | undefined): number | undefined {
    const known = this.#byOwner.get(owner);
    if (known !== undefined) {
      // Used again: last in the order in which reservations are given up.
      this.#byOwner.delete(owner);
      this.#byOwner.set(owner, known);
      return known;
    }
    if (owner.startsWith(ANONYMOUS) && this.#anonymous() >= MOST_ANONYMOUS && !this.#giveUp(ANONYMOUS))
      return undefined;
    const wanted = wished !== undefined && this.#isFree(wished) ? wished : this.#nextFree();
    const address = wanted ?? (this.#giveUp('') ? this.#nextFree() : undefined);
    if (address !== undefined) this.#set(owner, address);
    return address;
  }

  /** Drops the reservation that was used longest ago, of who is not here, and was not made by the user. */
  #giveUp(prefix: string): boolean {
    for (const owner of this.#byOwner.keys()) {
      if (!owner.startsWith(prefix) || this.#fixed.has(owner) || this.#isHere(owner)) continue;
      this.forget(owner);
      return true;
    }
    return false;
  }

  /** A client says that somebody uses the address. The owner gets another. */
  avoid(owner: string): void {
    const address = this.#byOwner.get(owner);
    if (address === undefined) return;
    this.forget(owner);
    if (this.#avoided.size < 64) this.#avoided.add(address);
  }

  forget(owner: string): void {
    const address = this.#byOwner.get(owner);
    if (address === undefined) return;
    this.#byOwner.delete(owner);
    this.#byAddress.delete(address);
    this.#fixed.delete(owner);
    this.#changed();
  }

  /** The owner is called otherwise now; an address that the new name had is given up. */
  rename(owner: string, now: string): void {
    const address = this.#byOwner.get(owner);
    if (address === undefined) return;
    const fixed = this.#fixed.has(owner);
    this.forget(now);
    this.forget(owner);
    if (fixed) this.#fixed.add(now);
    this.#set(now, address);
  }

  entries(): IterableIterator<[owner: string, address: number]> {
    return this.#byOwner.entries();
  }

  save(): LeaseState {
    return {
      version: 1,
      reservations: [...this.#byOwner].map(([owner, address]) => ({
        owner,
        address: ipText(address),
        ...(this.#fixed.has(owner) ? { fixed: true } : {}),
      })),
    };
  }

  /** What `save` gave, out of a file; what does not fit the network (it may have changed) is left out. @throws RangeError */
  load(state: unknown): void {
    const { version, reservations } = asRecord(state, 'the state of a NAT network');
    if (version !== 1) throw new RangeError('the state of a NAT network has another version');
    for (const entry of asArray(reservations, 'reservations')) {
      const { owner, address, fixed } = asRecord(entry, 'a reservation');
      const ip = parseIp(asText(address, 'the address of a reservation'));
      if (ip === undefined || !this.#isFree(ip)) continue;
      this.#put(asText(owner, 'the owner of a reservation'), ip);
      if (fixed === true) this.#fixed.add(String(owner));
    }
  }

  #put(owner: string, address: number): void {
    const old = this.#byOwner.get(owner);
    if (old !== undefined) this.#byAddress.delete(old);
    this.#byOwner.set(owner, address);
    this.#byAddress.set(address, owner);
  }

  #set(owner: string, address: number): void {
    this.#put(owner, address);
    this.#changed();
  }

  #anonymous(): number {
    let count = 0;
    for (const owner of this.#byOwner.keys()) if (owner.startsWith(ANONYMOUS)) count++;
    return count;
  }

  #isUsable(address: number): boolean {
    const { network, prefix } = this.#network;
    const last = (network | ~maskOf(prefix)) >>> 0;
    return inNetwork(address, this.#network) && address !== network && address !== last && address !== this.#gateway;
  }

  #isFree(address: number): boolean {
    return this.#isUsable(address) && !this.#byAddress.has(address) && !this.#avoided.has(address);
  }

  /** From the tenth on: the first are left for people who give addresses themselves. */
  #nextFree(): number | undefined {
    const { network, prefix } = this.#network;
    const size = 2 ** (32 - prefix);
    const first = size > 32 ? 10 : 1;
    for (let n = first; n < Math.min(size - 1, 0x1_0000); n++) if (this.#isFree(network + n)) return network + n;
    for (let n = 1; n < first; n++) if (this.#isFree(network + n)) return network + n;
    return undefined;
  }
}

/** Owners without a name begin with this. */
export const ANONYMOUS = 'mac:';
