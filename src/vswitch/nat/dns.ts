/**
 * The name server that guests are given: names of VMs, and of the host, it answers itself; all others it hands to the name
 * servers of the host, over UDP and TCP, byte for byte but for the identifier. RFC 1035; RFC 5452 for what is believed.
 */
import {
  type Endpoint,
  HEADROOM,
  type HostDatagrams,
  type HostNetwork,
  type HostStream,
  type NetworkTime,
  type StreamEvents,
} from '../../host/network.ts';
import { setU16, u16 } from '../ethernet.ts';
import { addressBytes } from './dhcp-message.ts';
import {
  type Answer,
  answeredAddresses,
  encodeName,
  formatError,
  isInternet,
  isQuery,
  isResponse,
  parseQuestion,
  type Question,
  RecordType,
  ResponseCode,
  response,
  reverseAddress,
} from './dns-message.ts';
import type { Egress } from './policy.ts';

export interface DnsZone {
  readonly domain: string;
  /** The address of a name of ours, without the domain. */
  lookup(label: string): number | undefined;
  /** The name at an address of our network; undefined: none, null: not our network. */
  reverse(address: number): string | undefined | null;
}

export interface DnsPorts {
  readonly host: HostNetwork;
  readonly time: NetworkTime;
  readonly zone: DnsZone;
  /** Undefined: the host's. */
  readonly resolvers: readonly Endpoint[] | undefined;
}

/** Milliseconds after which the next name server is asked, and after which there is no answer. */
const NEXT_AFTER = 1500;
const GIVE_UP_AFTER = 5000;
/** Queries under way. */
const MOST_PENDING = 256;

export class DnsServer {
  readonly #ports: DnsPorts;
  #pending = 0;
  readonly counters = { queries: 0, answered: 0, forwarded: 0, refused: 0, malformed: 0, failed: 0 };

  constructor(ports: DnsPorts) {
    this.#ports = ports;
  }

  get pending(): number {
    return this.#pending;
  }

  /** `reply` is called at most once, perhaps before this returns. */
  query(
    bytes: Uint8Array,
    egress: Egress | undefined,
    transport: 'udp' | 'tcp',
    reply: (bytes: Uint8Array) => void,
  ): void {
    this.counters.queries++;
    const question = parseQuestion(bytes);
    if (question === undefined || !isQuery(question)) {
      this.counters.malformed++;
      const error = question === undefined ? formatError(bytes) : undefined;
      if (error !== undefined) reply(error);
      return;
    }
    const own = isInternet(question) ? this.#own(question) : undefined;
    if (own !== undefined) {
      this.counters.answered++;
      if (own.address !== undefined) egress?.learn(question.name, own.address);
      reply(response(bytes, question, own.code, own.answers));
    } else if (egress?.allowsName(question.name) === false || this.#pending >= MOST_PENDING) {
      this.counters.refused++;
      reply(response(bytes, question, ResponseCode.REFUSED, []));
    } else {
      this.counters.forwarded++;
      this.#pending++;
      const done = (answer: Uint8Array | undefined): void => {
        this.#pending--;
        if (answer === undefined) this.counters.failed++;
        else learn(answer, question, egress);
        reply(answer ?? response(bytes, question, ResponseCode.SERVER_FAILURE, []));
      };
      const servers = this.#ports.resolvers ?? this.#ports.host.resolvers();
      new Forwarding(this.#ports, bytes.slice(), question, servers.slice(0, 3), transport, done).start();
    }
  }

  /** What is ours to answer; undefined: somebody else's. */
  #own({ name, type }: Question): { code: number; answers: Answer[]; address?: number } | undefined {
    const { zone } = this.#ports;
    const address = reverseAddress(name);
    if (address !== undefined) {
      const found = zone.reverse(address);
      if (found === null) return undefined;
      if (found === undefined) return { code: ResponseCode.NO_SUCH_NAME, answers: [] };
      const wanted = type === RecordType.PTR || type === RecordType.ANY;
      const data = encodeName(`${found}.${zone.domain}`);
      return { code: ResponseCode.NO_ERROR, answers: wanted ? [{ type: RecordType.PTR, data }] : [] };
    }
    const inDomain = name === zone.domain || name.endsWith(`.${zone.domain}`);
    const label = inDomain ? name.slice(0, -zone.domain.length - 1) : name;
    if (label.includes('.')) return inDomain ? { code: ResponseCode.NO_SUCH_NAME, answers: [] } : undefined;
    const found = zone.lookup(label);
    // Names of one label that no VM has are forwarded as they are: the host may know them.
    if (found === undefined)
      return inDomain ? { code: label === '' ? 0 : ResponseCode.NO_SUCH_NAME, answers: [] } : undefined;
    const wanted = type === RecordType.A || type === RecordType.ANY;
    const answers = wanted ? [{ type: RecordType.A, data: addressBytes(found) }] : [];
    return { code: ResponseCode.NO_ERROR, answers, address: found };
  }

  /** The same over TCP, for one connection of a guest. */
  stream(egress: Egress | undefined, events: StreamEvents): HostStream {
    return new DnsStream(this, egress, events);
  }
}

function learn(answer: Uint8Array, question: Question, egress: Egress | undefined): void {
  if (egress === undefined) return;
  const answered = parseQuestion(answer);
  if (answered === undefined) return;
  for (const address of answeredAddresses(answer, answered)) egress.learn(question.name, address);
}

/** One query on its way to the host's name servers, with an identifier and a port of its own. */
class Forwarding {
  readonly #ports: DnsPorts;
  readonly #query: Uint8Array;
  readonly #question: Question;
  readonly #servers: readonly Endpoint[];
  readonly #transport: 'udp' | 'tcp';
  #done: ((answer: Uint8Array | undefined) => void) | undefined;
  readonly #id: number;
  #cleanup: (() => void)[] = [];
  #asked = 0;

  constructor(
    ports: DnsPorts,
    query: Uint8Array,
    question: Question,
    servers: readonly Endpoint[],
    transport: 'udp' | 'tcp',
    done: (answer: Uint8Array | undefined) => void,
  ) {
    this.#ports = ports;
    this.#query = query;
    this.#question = question;
    this.#servers = servers;
    this.#transport = transport;
    this.#done = done;
    this.#id = u16(ports.host.random(2), 0);
    setU16(query, 0, this.#id);
  }

  start(): void {
    this.#cleanup.push(this.#ports.time.after(GIVE_UP_AFTER, () => this.#finish(undefined)));
    this.#next();
  }

  #next(): void {
    const server = this.#servers[this.#asked++];
    if (server === undefined) {
      if (this.#servers.length === 0) this.#finish(undefined);
      return;
    }
    if (this.#asked < this.#servers.length) this.#cleanup.push(this.#ports.time.after(NEXT_AFTER, () => this.#next()));
    if (this.#transport === 'tcp') this.#overTcp(server);
    else this.#overUdp(server);
  }

  #overUdp(server: Endpoint): void {
    let socket: HostDatagrams | undefined;
    const at = server.address.includes(':') ? { address: '::', port: 0 } : undefined;
    this.#ports.host
      .datagrams(at, (bytes, from) => {
        if (from.port === server.port && from.address === server.address) this.#answer(bytes);
      })
      .then(
        (opened) => {
          socket = opened;
          if (this.#done === undefined) return opened.close();
          this.#cleanup.push(() => socket?.close());
          opened.send(this.#query, server);
        },
        () => this.#failed(),
      );
  }

  #overTcp(server: Endpoint): void {
    const framed = new Uint8Array(this.#query.length + 2);
    setU16(framed, 0, this.#query.length);
    framed.set(this.#query, 2);
    const reader = new MessageReader(0xffff, (bytes) => this.#answer(bytes.slice()));
    const stream = this.#ports.host.connect(server, {
      connected: () => stream.write(framed),
      data: (bytes) => reader.push(bytes),
      end: () => {},
      drained: () => {},
      closed: () => this.#failed(),
    });
    this.#cleanup.push(() => stream.reset());
  }

  /** The next server at once. */
  #failed(): void {
    if (this.#done === undefined) return;
    if (this.#asked < this.#servers.length) this.#next();
    else if (this.#transport === 'tcp') this.#finish(undefined);
  }

  #answer(bytes: Uint8Array): void {
    const answered = parseQuestion(bytes);
    const { name, type } = this.#question;
    if (answered === undefined || answered.id !== this.#id || !isResponse(answered)) return;
    if (answered.name !== name || answered.type !== type || answered.class !== this.#question.class) return;
    setU16(bytes, 0, this.#question.id);
    this.#finish(bytes);
  }

  #finish(answer: Uint8Array | undefined): void {
    const done = this.#done;
    if (done === undefined) return;
    this.#done = undefined;
    for (const undo of this.#cleanup) undo();
    done(answer);
  }
}

/** Messages with their length in front (RFC 1035, section 4.2.2). */
class MessageReader {
  #bytes = new Uint8Array();
  readonly #most: number;
  readonly #take: (message: Uint8Array) => void;

  constructor(most: number, take: (message: Uint8Array) => void) {
    this.#most = most;
    this.#take = take;
  }

  /** False: a message is longer than is allowed. */
  push(bytes: Uint8Array): boolean {
    const all = new Uint8Array(this.#bytes.length + bytes.length);
    all.set(this.#bytes);
    all.set(bytes, this.#bytes.length);
    let at = 0;
    while (at + 2 <= all.length) {
      const length = u16(all, at);
      if (length > this.#most) return false;
      if (at + 2 + length > all.length) break;
      this.#take(all.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    this.#bytes = all.slice(at);
    return true;
  }
}

/** No honest query is longer. */
const LONGEST_QUERY = 4096;
const MOST_OF_STREAM = 16;

class DnsStream implements HostStream {
  readonly pending = 0;
  readonly #server: DnsServer;
  readonly #egress: Egress | undefined;
  #events: StreamEvents | undefined;
  readonly #reader: MessageReader;
  #underway = 0;
  #ended = false;

  constructor(server: DnsServer, egress: Egress | undefined, events: StreamEvents) {
    this.#server = server;
    this.#egress = egress;
    this.#events = events;
    this.#reader = new MessageReader(LONGEST_QUERY, (message) => this.#query(message));
    queueMicrotask(() => this.#events?.connected());
  }

  write(bytes: Uint8Array): void {
    if (!this.#reader.push(bytes)) this.#close('failed');
  }

  #query(message: Uint8Array): void {
    if (this.#underway >= MOST_OF_STREAM) return;
    this.#underway++;
    this.#server.query(message, this.#egress, 'tcp', (answer) => {
      this.#underway--;
      const framed = new Uint8Array(HEADROOM + 2 + answer.length).subarray(HEADROOM);
      setU16(framed, 0, answer.length);
      framed.set(answer, 2);
      queueMicrotask(() => {
        this.#events?.data(framed);
        this.#finish();
      });
    });
  }

  end(): void {
    this.#ended = true;
    queueMicrotask(() => this.#finish());
  }

  /** When the guest asks nothing more and has all its answers. */
  #finish(): void {
    if (!this.#ended || this.#underway > 0 || this.#events === undefined) return;
    this.#events.end();
    this.#close(undefined);
  }

  #close(failure: 'failed' | undefined): void {
    const events = this.#events;
    this.#events = undefined;
    queueMicrotask(() => events?.closed(failure));
  }

  pause(): void {}
  resume(): void {}

  reset(): void {
    this.#events = undefined;
  }
}
