/**
 * The DHCP server: RFC 2131, section 4.3. It asks nobody whether an address is free: it knows, as each adapter has a
 * reservation. Lease times are long, and a lease that runs out still leaves the reservation.
 */

import { ascii } from '../../support/text.ts';
import { type Cidr, inNetwork, maskOf } from '../ethernet.ts';
import {
  addressBytes,
  DhcpOption,
  type DhcpRequest,
  dhcpReply,
  MessageType,
  parseDhcp,
  wordBytes,
} from './dhcp-message.ts';
import { encodeName } from './dns-message.ts';
import type { Leases } from './leases.ts';

const DAY = 86_400;

export interface DhcpConfig {
  readonly network: Cidr;
  readonly gateway: number;
  readonly mtu: number;
  readonly domain: string;
}

/** A client, as the network knows it. */
export interface DhcpClient {
  /** What its reservation is under. */
  readonly owner: string;
  /** Of its VM; undefined when it has none. */
  readonly hostName: string | undefined;
}

export interface DhcpAnswer {
  readonly message: Uint8Array;
  /** Where it goes; 255.255.255.255 for a client that has no address yet and cannot take unicast. */
  readonly destination: number;
  /** To be sent as an Ethernet broadcast. */
  readonly broadcast: boolean;
  /** The client has this address from now on. */
  readonly bound: number | undefined;
}

const ALL = 0xffff_ffff;

export class DhcpServer {
  readonly #config: DhcpConfig;
  readonly #leases: Leases;
  readonly counters = { requests: 0, malformed: 0, refused: 0, exhausted: 0 };

  constructor(config: DhcpConfig, leases: Leases) {
    this.#config = config;
    this.#leases = leases;
  }

  /** @param mac where the frame came from. */
  receive(bytes: Uint8Array, mac: number, client: DhcpClient): DhcpAnswer | undefined {
    const request = parseDhcp(bytes);
    // A relay, or somebody who asks for another: neither is served here.
    if (request === undefined || request.clientMac !== mac) {
      this.counters.malformed++;
      return undefined;
    }
    this.counters.requests++;
    if (request.serverIdentifier !== undefined && request.serverIdentifier !== this.#config.gateway) return undefined;
    switch (request.type) {
      case MessageType.DISCOVER:
        return this.#give(MessageType.OFFER, request, client);
      case MessageType.REQUEST:
        return this.#request(request, client);
      case MessageType.DECLINE:
        this.#leases.avoid(client.owner);
        return undefined;
      case MessageType.INFORM:
        return this.#answer(MessageType.ACK, request, 0, this.#options(request, client, false));
      default:
        // DHCPRELEASE changes nothing: the reservation stays.
        return undefined;
    }
  }

  #give(type: number, request: DhcpRequest, client: DhcpClient): DhcpAnswer | undefined {
    const address = this.#leases.assign(client.owner, request.requestedAddress);
    if (address === undefined) {
      this.counters.exhausted++;
      return undefined;
    }
    return this.#answer(type, request, address, this.#options(request, client, true));
  }

  #request(request: DhcpRequest, client: DhcpClient): DhcpAnswer | undefined {
    const wanted = request.requestedAddress ?? request.clientAddress;
    const known = this.#leases.addressOf(client.owner);
    // A client that has come from elsewhere, or remembers what was before: it is to begin anew.
    const wrong = known === undefined ? !inNetwork(wanted, this.#config.network) : wanted !== known;
    if (wanted === 0 || wrong) return this.#refuse(request);
    const answer = this.#give(MessageType.ACK, request, client);
    const given = this.#leases.addressOf(client.owner);
    return given === wanted ? answer : this.#refuse(request);
  }

  #refuse(request: DhcpRequest): DhcpAnswer {
    this.counters.refused++;
    return this.#answer(MessageType.NAK, request, 0, []);
  }

  #answer(
    type: number,
    request: DhcpRequest,
    address: number,
    options: readonly (readonly [number, Uint8Array])[],
  ): DhcpAnswer {
    const message = dhcpReply({ type, request, address, server: this.#config.gateway, options });
    const unicast = type !== MessageType.NAK && request.clientAddress !== 0;
    const broadcast = !unicast && (request.broadcast || type === MessageType.NAK);
    return {
      message,
      destination: unicast ? request.clientAddress : broadcast ? ALL : address,
      broadcast,
      bound: type === MessageType.ACK && address !== 0 ? address : undefined,
    };
  }

  /** In the client's order it does not matter; all that it may want fits. */
  #options(request: DhcpRequest, client: DhcpClient, lease: boolean): (readonly [number, Uint8Array])[] {
    const { network, gateway, mtu, domain } = this.#config;
    const mask = maskOf(network.prefix);
    const options: (readonly [number, Uint8Array])[] = lease
      ? [
          [DhcpOption.LEASE_TIME, addressBytes(DAY)],
          [DhcpOption.RENEWAL_TIME, addressBytes(DAY / 2)],
          [DhcpOption.REBINDING_TIME, addressBytes((DAY / 8) * 7)],
        ]
      : [];
    options.push(
      [DhcpOption.SUBNET_MASK, addressBytes(mask)],
      [DhcpOption.ROUTER, addressBytes(gateway)],
      [DhcpOption.NAME_SERVER, addressBytes(gateway)],
      [DhcpOption.BROADCAST_ADDRESS, addressBytes((network.network | ~mask) >>> 0)],
      [DhcpOption.DOMAIN_NAME, ascii(domain)],
      [DhcpOption.MTU, wordBytes(mtu)],
    );
    if (client.hostName !== undefined) options.push([DhcpOption.HOST_NAME, ascii(client.hostName)]);
    if (request.parameters.includes(DhcpOption.DOMAIN_SEARCH))
      options.push([DhcpOption.DOMAIN_SEARCH, encodeName(domain)]);
    return options;
  }
}
