/**
 * The pool of MAC addresses: each adapter of each VM has one of its own, which it keeps for as long as there is the VM. A static one is
 * the configuration's; the others are given here, out of Hyper-V's range, and are on record.
 */
import type { Nic, VmConfiguration } from '../../contracts/api/vm.ts';
import { ViridianError } from '../../contracts/errors.ts';
import { macText, parseMac } from '../../vswitch/ethernet.ts';
import { dynamicMac } from '../../vswitch/mac-pool.ts';
import type { Database } from '../database.ts';
import type { Inventory } from '../inventory.ts';

/** As configurations spell them. */
function spelled(mac: number): string {
  return macText(mac).toLowerCase().replaceAll('-', ':');
}

export class MacPool {
  readonly #db: Database;
  readonly #inventory: Inventory;

  constructor(db: Database, inventory: Inventory) {
    this.#db = db;
    this.#inventory = inventory;
  }

  /** Undefined: it has none yet. */
  get(vm: string, nic: Nic): string | undefined {
    if (nic.macAddress !== undefined) return nic.macAddress;
    return this.#db.get('select mac from macs where vm = ? and nic = ?', vm, nic.id)?.mac as string | undefined;
  }

  /** The adapter's address; one is given to it when it has none. The VM is on record. */
  take(vm: string, nic: Nic): string {
    const known = this.get(vm, nic);
    if (known !== undefined) return known;
    const fixed = new Set(
      this.#inventory.list().flatMap(({ configuration }) => configuration.nics.map(({ macAddress }) => macAddress)),
    );
    const mac = spelled(
      dynamicMac(`${vm}/${nic.id}`, (each) => fixed.has(spelled(each)) || this.#given(spelled(each))),
    );
    this.#db.run('insert into macs (mac, vm, nic) values (?, ?, ?)', mac, vm, nic.id);
    return mac;
  }

  #given(mac: string): boolean {
    return this.#db.get('select vm from macs where mac = ?', mac) !== undefined;
  }

  /** @param vm undefined: a new one. @throws ViridianError when a static address is another adapter's. */
  demandFree({ nics }: VmConfiguration, vm: string | undefined): void {
    for (const { id, macAddress } of nics) {
      if (macAddress === undefined) continue;
      if (parseMac(macAddress) === undefined)
        throw new ViridianError('invalid', `${macAddress} is no address of an adapter: it is a group's, or nobody's`);
      const holder =
        this.#holder(macAddress, vm, id) ?? nics.find((nic) => nic.id !== id && nic.macAddress === macAddress)?.id;
      if (holder !== undefined)
        throw new ViridianError('wrongState', `${macAddress} is the address of ${holder} already: give another one`);
    }
  }

  /** Adapters for a new VM, without static addresses that are another's. */
  withoutTaken(nics: readonly Nic[]): Nic[] {
    return nics.map((nic) => {
      if (nic.macAddress === undefined || this.#holder(nic.macAddress, undefined, nic.id) === undefined) return nic;
      const { macAddress: _taken, ...rest } = nic;
      return rest;
    });
  }

  #holder(mac: string, vm: string | undefined, nic: string): string | undefined {
    for (const { id, configuration } of this.#inventory.list()) {
      if (id === vm) continue;
      const found = configuration.nics.find(({ macAddress }) => macAddress === mac);
      if (found !== undefined) return `${configuration.name}'s ${found.id}`;
    }
    const row = this.#db.get('select vm, nic from macs where mac = ?', mac);
    if (row === undefined || (row.vm === vm && row.nic === nic)) return undefined;
    return `${this.#inventory.get(String(row.vm))?.configuration.name ?? 'another VM'}'s ${String(row.nic)}`;
  }
}

/** Adapters for a VM that is made of another: addresses on networks, and ports of the host, are the original's. */
export function freshNics(nics: readonly Nic[]): Nic[] {
  return nics.map(({ macAddress: _mac, address: _address, forwards: _forwards, ...nic }) => nic);
}
