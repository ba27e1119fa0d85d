/**
 * Where a guest may go. First what no guest reaches unless it is allowed in so many words: the host itself, addresses that
 * mean something only there (loopback, link-local), the metadata services of clouds. Then an adapter's egress policy: an
 * allow list of addresses, names and ports.
 */
import { ViridianError } from '../../contracts/errors.ts';
import { type Cidr, inNetwork, ipText, parseCidr, parseIp } from '../ethernet.ts';

export type EgressProtocol = 'tcp' | 'udp' | 'icmp';

export interface EgressRule {
  /** All when undefined. */
  readonly protocol: EgressProtocol | undefined;
  readonly network: Cidr | undefined;
  /** Lower case; `*.example.com` is every name below example.com, `*` every name. */
  readonly name: string | undefined;
  /** First and last. All when undefined. */
  readonly ports: readonly [number, number] | undefined;
}

/**
 * `[PROTOCOL:]WHERE[:PORT[-PORT]]`, where WHERE is an address, a network (10.0.0.0/8), a name, `*.NAME` or `*`.
 * @throws ViridianError
 */
export function parseEgressRule(text: string): EgressRule {
  const match = /^(?:(tcp|udp|icmp):)?([^:]+)(?::(\d{1,5})(?:-(\d{1,5}))?)?$/i.exec(text);
  const where = match?.[2] ?? '';
  const network = parseCidr(where);
  const isName = /^(?:\*|(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?)$/i.test(where) && !/^[\d./]+$/.test(where);
  const first = match?.[3] === undefined ? undefined : Number(match[3]);
  const last = match?.[4] === undefined ? first : Number(match[4]);
  const portsHold = first === undefined || (first >= 1 && last! >= first && last! <= 0xffff);
  if (match === null || (network === undefined && !isName) || !portsHold)
    throw new ViridianError(
      'invalid',
      `egress rule "${text}" is not [tcp:|udp:|icmp:]ADDRESS, NETWORK/BITS, NAME or *.NAME, with :PORT or :FIRST-LAST`,
    );
  return {
    protocol: match[1]?.toLowerCase() as EgressProtocol | undefined,
    network,
    name: network === undefined ? where.toLowerCase().replace(/\.$/, '') : undefined,
    ports: first === undefined ? undefined : [first, last!],
  };
}

/** Networks that mean something only to the host, or that nobody routes. */
const LOCAL: readonly Cidr[] = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Metadata services of clouds that lie outside the link-local network.
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
].map((text) => parseCidr(text)!);

export function isLocalOnly(address: number): boolean {
  return LOCAL.some((network) => inNetwork(address, network));
}

/** Addresses of the host, asked for at most once a second: they come and go. */
export class HostAddresses {
  readonly #addresses: () => readonly string[];
  readonly #now: () => number;
  #known = new Set<number>();
  #asked = Number.NEGATIVE_INFINITY;

  constructor(addresses: () => readonly string[], now: () => number) {
    this.#addresses = addresses;
    this.#now = now;
  }

  has(address: number): boolean {
    if (this.#now() - this.#asked > 1000) {
      this.#asked = this.#now();
      this.#known = new Set(this.#addresses().flatMap((text) => parseIp(text) ?? []));
    }
    return this.#known.has(address);
  }
}

/** Addresses that names have had, at most this many for one adapter; the oldest are forgotten. */
const MOST_NAMES = 4096;

/** One adapter's policy. */
export class Egress {
  readonly #rules: readonly EgressRule[];
  /** Addresses and the names of rules that allow them, as the name server answered. */
  readonly #resolved = new Map<number, Set<string>>();

  constructor(rules: readonly EgressRule[]) {
    this.#rules = rules;
  }

  allows(protocol: EgressProtocol, address: number, port: number): boolean {
    return this.#rules.some(
      (rule) =>
        (rule.protocol === undefined || rule.protocol === protocol) &&
        (rule.ports === undefined || (protocol !== 'icmp' && port >= rule.ports[0] && port <= rule.ports[1])) &&
        (rule.network !== undefined
          ? inNetwork(address, rule.network)
          : rule.name === '*' || this.#resolved.get(address)?.has(rule.name!) === true),
    );
  }

  /** Whether the guest may ask for the name. */
  allowsName(name: string): boolean {
    return this.#rules.some((rule) => rule.name !== undefined && nameMatches(rule.name, name));
  }

  /** A name server has said that the name has this address. */
  learn(name: string, address: number): void {
    for (const rule of this.#rules) {
      if (rule.name === undefined || rule.name === '*' || !nameMatches(rule.name, name)) continue;
      const names = this.#resolved.get(address) ?? new Set();
      this.#resolved.delete(address);
      this.#resolved.set(address, names.add(rule.name));
    }
    if (this.#resolved.size > MOST_NAMES) this.#resolved.delete(this.#resolved.keys().next().value!);
  }

  inspect(): Record<string, string | number> {
    return { allows: this.#rules.map(describeRule).join(' '), resolved: this.#resolved.size };
  }
}

export function nameMatches(pattern: string, name: string): boolean {
  const lower = name.toLowerCase();
  if (pattern === '*') return true;
  return pattern.startsWith('*.') ? lower.endsWith(pattern.slice(1)) : lower === pattern;
}

/** As it is written. */
export function describeRule({ protocol, network, name, ports }: EgressRule): string {
  const where = network === undefined ? name! : `${ipText(network.network)}/${network.prefix}`;
  return `${protocol === undefined ? '' : `${protocol}:`}${where}${ports === undefined ? '' : `:${ports.join('-')}`}`;
}
