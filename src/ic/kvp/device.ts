/**
 * The data exchange component. Pairs go both ways: the host writes pool `external` for the guest to read, the guest's own
 * are in `guest`, what its daemon says of the system in `auto`. The daemon (Debian: hyperv-daemons) has to run.
 */
import type { InspectNode } from '../../vid/ports.ts';
import type { Timers } from '../../vmbus/ports.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { type IcAnswer, IntegrationComponent } from '../component.ts';
import { IcStatus } from '../frame.ts';
import { readUtf16, writeUtf16 } from '../utf16.ts';
import {
  KVP,
  KVP_KEY_SIZE,
  KVP_POOLS,
  KVP_VALUE_SIZE,
  KvpField,
  KvpOperation,
  type KvpPoolName,
  KvpValue,
  ValueType,
} from './protocol.ts';

const ANSWER_TIMEOUT = 30_000;
/** A guest that enumerates without end is no longer asked. */
const MOST_PAIRS = 1024;

export interface GuestAddresses {
  readonly dhcp: boolean;
  readonly addresses: readonly string[];
  readonly subnets: readonly string[];
  readonly gateways: readonly string[];
  readonly dns: readonly string[];
}

export class KeyValueExchange {
  readonly component: IntegrationComponent;
  #written = 0;

  constructor(timers: Timers) {
    this.component = new IntegrationComponent(KVP, timers, {
      inspect: (): InspectNode => ({ pairsWritten: this.#written }),
    });
  }

  /**
   * The value of a key, or undefined when there is none. Rejects with an IcFailure. By enumeration: Linux's daemon answers
   * GET with an empty text whatever the value is.
   */
  async get(pool: KvpPoolName, key: string): Promise<string | undefined> {
    return (await this.enumerate(pool)).get(key);
  }

  /** @throws RangeError when key (255 characters) or value (1023) is too long. */
  async set(pool: KvpPoolName, key: string, value: string): Promise<boolean> {
    const { view } = request(KvpOperation.SET, pool);
    view.setUint32(KvpField.VALUE + KvpValue.TYPE, ValueType.STRING, true);
    const keySize = writeUtf16(view, KvpField.VALUE + KvpValue.KEY, key, KVP_KEY_SIZE);
    const valueSize = writeUtf16(view, KvpField.VALUE + KvpValue.VALUE, value, KVP_VALUE_SIZE);
    view.setUint32(KvpField.VALUE + KvpValue.KEY_SIZE, keySize, true);
    view.setUint32(KvpField.VALUE + KvpValue.VALUE_SIZE, valueSize, true);
    const done = (await this.#ask(view)).status === IcStatus.OK;
    if (done) this.#written++;
    return done;
  }

  /** False when there was no such key. */
  async delete(pool: KvpPoolName, key: string): Promise<boolean> {
    const { view } = request(KvpOperation.DELETE, pool);
    const size = writeUtf16(view, KvpField.DELETE_KEY, key, KVP_KEY_SIZE);
    view.setUint32(KvpField.DELETE_SIZE, size, true);
    return (await this.#ask(view)).status === IcStatus.OK;
  }

  /** Everything in a pool. */
  async enumerate(pool: KvpPoolName): Promise<Map<string, string>> {
    const pairs = new Map<string, string>();
    for (let index = 0; index < MOST_PAIRS; index++) {
      const { view } = request(KvpOperation.ENUMERATE, pool);
      view.setUint32(KvpField.ENUMERATE_INDEX, index, true);
      const answer = await this.#ask(view);
      const pair = answer.status === IcStatus.OK ? pairOf(answer, KvpField.ENUMERATE_VALUE) : undefined;
      if (!pair) break;
      pairs.set(pair.key, pair.value);
    }
    return pairs;
  }

  /** Addresses of the adapter with this id (its VMBus instance GUID in braces). */
  async addresses(adapter: string): Promise<GuestAddresses | undefined> {
    const { view } = request(KvpOperation.GET_IP_INFO, 'external');
    writeUtf16(view, KvpField.ADAPTER, adapter, 256);
    const { status, body } = await this.#ask(view);
    if (status !== IcStatus.OK || body.length < KvpField.SIZE) return undefined;
    const answer = viewOf(body);
    const list = (at: number, size: number): string[] =>
      readUtf16(answer, at, size)
        .split(';')
        .filter((text) => text !== '');
    return {
      dhcp: answer.getUint8(KvpField.DHCP) !== 0,
      addresses: list(KvpField.IP_ADDRESSES, 2048),
      subnets: list(KvpField.SUBNETS, 2048),
      gateways: list(KvpField.GATEWAYS, 1024),
      dns: list(KvpField.DNS, 2048),
    };
  }

  #ask(view: DataView<ArrayBuffer>): Promise<IcAnswer> {
    return this.component.request(new Uint8Array(view.buffer), ANSWER_TIMEOUT);
  }
}

function request(operation: number, pool: KvpPoolName): { readonly view: DataView<ArrayBuffer> } {
  const view = new DataView(new ArrayBuffer(KvpField.SIZE));
  view.setUint8(KvpField.OPERATION, operation);
  view.setUint8(KvpField.POOL, KVP_POOLS[pool]);
  return { view };
}

/** The pair in an answer; numbers as text. */
function pairOf({ body }: IcAnswer, at: number): { readonly key: string; readonly value: string } | undefined {
  if (body.length < at + KvpValue.SIZE) return undefined;
  const view = viewOf(body);
  const size = (field: number, most: number): number => Math.min(view.getUint32(at + field, true), most);
  const key = readUtf16(view, at + KvpValue.KEY, size(KvpValue.KEY_SIZE, KVP_KEY_SIZE));
  const value = at + KvpValue.VALUE;
  switch (view.getUint32(at + KvpValue.TYPE, true)) {
    case ValueType.STRING:
      return { key, value: readUtf16(view, value, size(KvpValue.VALUE_SIZE, KVP_VALUE_SIZE)) };
    case ValueType.U32:
      return { key, value: String(view.getUint32(value, true)) };
    case ValueType.U64:
      return { key, value: String(view.getBigUint64(value, true)) };
    default:
      return undefined;
  }
}
