/** The switches of one partition: what `nat` and `private` of its adapters mean. Opened when the first adapter wants them. */
import type { HostService, NetworkPort, NicOptions } from '../contracts/network.ts';
import type { HostNetwork, NetworkTime } from '../host/network.ts';
import { VirtualSwitch } from '../vswitch/switch.ts';
import type { Networks } from './nics.ts';

/** A file that grows. */
export interface CaptureFile {
  write(bytes: Uint8Array): void;
  close(): void;
}

export interface NetworksPorts {
  readonly host: HostNetwork;
  readonly time: NetworkTime;
  /** @throws ViridianError when the file cannot be made. */
  openCapture(path: string): CaptureFile;
  /** Milliseconds since 1970 UTC. */
  calendar(): number;
}

/** The name that the network knows the guest by. */
const GUEST = 'guest';

export class PartitionNetworks implements Networks {
  readonly #ports: NetworksPorts;
  readonly #switches = new Map<'nat' | 'private', VirtualSwitch>();
  /** What the guest may reach of the host, looked at for each connection. */
  readonly #hostAccess: HostService[] = [];
  readonly #captures: CaptureFile[] = [];
  #adapters = 0;

  constructor(ports: NetworksPorts) {
    this.#ports = ports;
  }

  async connect(nic: NicOptions, mac: string): Promise<NetworkPort> {
    const { network, vlan, maximum, capture, forwards = [], hostAccess = [] } = nic;
    this.#hostAccess.push(...hostAccess);
    const wire = this.#switch(network === 'nat' ? 'nat' : 'private');
    const index = this.#adapters++;
    const port = wire.connect({ vm: GUEST, index, mac, vlan, bandwidth: { send: maximum, receive: maximum } });
    const owner = index === 0 ? GUEST : `${GUEST}/${index}`;
    try {
      if (capture !== undefined) {
        const file = this.#ports.openCapture(capture);
        this.#captures.push(file);
        wire.capture(
          (bytes) => {
            file.write(bytes);
          },
          { adapter: owner, now: () => this.#ports.calendar() },
        );
      }
      for (const { protocol, hostAddress = '127.0.0.1', hostPort, guestPort } of forwards)
        await wire.nat?.forward({ protocol, address: hostAddress, hostPort, guestPort, target: owner });
    } catch (error) {
      port.close();
      throw error;
    }
    return port;
  }

  #switch(kind: 'nat' | 'private'): VirtualSwitch {
    const { host, time } = this.#ports;
    const known =
      this.#switches.get(kind) ??
      new VirtualSwitch({ name: kind, kind, nat: { hostAccess: this.#hostAccess } }, { host, time });
    this.#switches.set(kind, known);
    return known;
  }

  close(): void {
    for (const wire of this.#switches.values()) wire.close();
    for (const file of this.#captures.splice(0)) file.close();
  }
}
