/** What can be set about a NAT network, with its defaults. */
import { ViridianError } from '../../contracts/errors.ts';
import type { Endpoint } from '../../host/network.ts';
import { type Cidr, inNetwork, parseCidr, parseIp } from '../ethernet.ts';
import type { LeaseState } from './leases.ts';
import type { EgressProtocol } from './policy.ts';
import type { TcpLimits } from './tcp/table.ts';

/** A port of the host itself that guests may reach, at the gateway's address. */
export interface HostService {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

export interface NatLimits extends TcpLimits {
  /** UDP ports of all guests, and of one adapter: each is a socket of the host. */
  readonly udpFlows: number;
  readonly adapterUdpFlows: number;
}

export interface NatOptions {
  /** Default: 172.30.0.0/24. From /8 to /29. */
  readonly subnet?: string | undefined;
  /** Default: the subnet's first address. */
  readonly gateway?: string | undefined;
  /** Default: 1500. */
  readonly mtu?: number | undefined;
  /** Names of VMs are in this domain. Default: viridian.internal. */
  readonly domain?: string | undefined;
  /** Name servers to forward to. Default: the host's own. */
  readonly resolvers?: readonly Endpoint[] | undefined;
  /** Ports of the host's loopback address that guests reach at the gateway's. Default: none. */
  readonly hostAccess?: 'all' | readonly HostService[] | undefined;
  readonly limits?: Partial<NatLimits> | undefined;
  /** What `onLeases` was given last, to have the same addresses again. Plain data, perhaps out of a file. */
  readonly leases?: unknown;
  /** Called when a reservation was made or dropped. */
  readonly onLeases?: ((state: LeaseState) => void) | undefined;
  /** Called when an adapter has taken an address by DHCP. */
  readonly onBound?: ((mac: number, address: string) => void) | undefined;
}

export interface NatConfig {
  readonly network: Cidr;
  readonly gateway: number;
  readonly gatewayMac: number;
  readonly mtu: number;
  readonly domain: string;
  readonly resolvers: readonly Endpoint[] | undefined;
  readonly limits: NatLimits;
  hostAccess(protocol: EgressProtocol, port: number): boolean;
}

export const DEFAULT_SUBNET = '172.30.0.0/24';
export const DEFAULT_DOMAIN = 'viridian.internal';
/** Of a range that no adapter is given (00-15-5D is Hyper-V's). */
const GATEWAY_MAC = 0x0215_5d00_0001;

const LIMITS: NatLimits = {
  flows: 2048,
  adapterFlows: 1024,
  buffers: 128 * 2 ** 20,
  flowBuffer: 2 ** 20,
  udpFlows: 1024,
  adapterUdpFlows: 256,
};

/** @throws ViridianError */
export function resolveNatOptions(options: NatOptions): NatConfig {
  const { subnet = DEFAULT_SUBNET, mtu = 1500, domain = DEFAULT_DOMAIN, hostAccess = [] } = options;
  const network = parseCidr(subnet);
  if (network === undefined || network.prefix < 8 || network.prefix > 29)
    throw new ViridianError(
      'invalid',
      `subnet "${subnet}" is not an IPv4 network such as 172.30.0.0/24, from /8 to /29`,
    );
  const gateway = options.gateway === undefined ? network.network + 1 : parseIp(options.gateway);
  if (gateway === undefined || !inNetwork(gateway, network) || gateway === network.network)
    throw new ViridianError('invalid', `gateway "${options.gateway}" is not an address in ${subnet}`);
  if (!Number.isInteger(mtu) || mtu < 576 || mtu > 9000)
    throw new ViridianError('invalid', `an MTU of ${mtu} is not possible: from 576 to 9000`);
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(domain) || domain.length > 200)
    throw new ViridianError('invalid', `"${domain}" is not a domain name in lower case`);
  return {
    network,
    gateway,
    gatewayMac: GATEWAY_MAC,
    mtu,
    domain,
    resolvers: options.resolvers,
    limits: { ...LIMITS, ...options.limits },
    hostAccess: (protocol, port) =>
      hostAccess === 'all' || hostAccess.some((service) => service.protocol === protocol && service.port === port),
  };
}
