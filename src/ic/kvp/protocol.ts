/**
 * Data exchange (key-value pairs), as in Linux's include/uapi/linux/hyperv.h: {u8 operation, u8 pool, u16}, then by
 * operation. Text is UTF-16, NUL-terminated; a size counts bytes, the terminator included.
 *
 *     SET          {u32 value type, u32 key size, u32 value size, key, value}
 *     DELETE       {u32 key size, key}
 *     ENUMERATE    {u32 index, {value as of SET}}
 *     GET_IP_INFO  from byte 2 on: {adapter id 256, u8 address family, u8 dhcp, addresses 2048, masks 2048, gateways 1024, DNS 2048}
 */

import type { IcDescription } from '../component.ts';
import { IcType } from '../frame.ts';

export const KVP: IcDescription = {
  name: 'kvp',
  type: 'a9a0f4e7-5a45-4d96-b827-8a841e8c03e6',
  instance: '242ff919-07db-4180-9c2e-b86cb68c8c55',
  messageType: IcType.KVP_EXCHANGE,
  versions: [
    [4, 0],
    [3, 0],
    [1, 0],
  ],
  // Until the guest's daemon is there, its driver holds the answer back: up to 55 seconds.
  negotiationTimeout: 90_000,
};

export const KvpOperation = { GET: 0, SET: 1, DELETE: 2, ENUMERATE: 3, GET_IP_INFO: 4, SET_IP_INFO: 5 } as const;

/** Who wrote the pairs: the host for the guest; the guest for the host; the guest by itself. */
export const KvpPool = { EXTERNAL: 0, GUEST: 1, AUTO: 2, AUTO_EXTERNAL: 3 } as const;
export type KvpPoolName = 'external' | 'guest' | 'auto';
export const KVP_POOLS: Readonly<Record<KvpPoolName, number>> = {
  external: KvpPool.EXTERNAL,
  guest: KvpPool.GUEST,
  auto: KvpPool.AUTO,
};

export const KVP_KEY_SIZE = 512;
export const KVP_VALUE_SIZE = 2048;
export const ValueType = { STRING: 1, U32: 4, U64: 8 } as const;

const HEADER = 4;
/** Addresses follow operation and pool at once. */
const ADDRESS_HEADER = 2;
const VALUE = 12 + KVP_KEY_SIZE + KVP_VALUE_SIZE;
/** The longest member of the union: an answer to GET_IP_INFO. */
const ADDRESSES = 256 + 2 + 2048 + 2048 + 1024 + 2048;

export const KvpField = {
  OPERATION: 0,
  POOL: 1,
  /** GET and SET. */
  VALUE: HEADER,
  ENUMERATE_INDEX: HEADER,
  ENUMERATE_VALUE: HEADER + 4,
  DELETE_SIZE: HEADER,
  DELETE_KEY: HEADER + 4,
  ADAPTER: ADDRESS_HEADER,
  FAMILY: ADDRESS_HEADER + 256,
  DHCP: ADDRESS_HEADER + 257,
  IP_ADDRESSES: ADDRESS_HEADER + 258,
  SUBNETS: ADDRESS_HEADER + 258 + 2048,
  GATEWAYS: ADDRESS_HEADER + 258 + 4096,
  DNS: ADDRESS_HEADER + 258 + 4096 + 1024,
  /** Of every request; guests take the union's whole size. */
  SIZE: HEADER + ADDRESSES,
} as const;
/** Offsets in a value. */
export const KvpValue = {
  TYPE: 0,
  KEY_SIZE: 4,
  VALUE_SIZE: 8,
  KEY: 12,
  VALUE: 12 + KVP_KEY_SIZE,
  SIZE: VALUE,
} as const;
