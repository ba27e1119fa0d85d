/**
 * What VMMS and the switch process say to each other over its control socket, in lines of JSON: requests with ids, each answered
 * once, and events. VMMS says what switches and ports there are; worker processes connect their adapters to the ports by
 * the other socket (vswitch/remote/wire.ts).
 */
import type { ErrorCode } from './errors.ts';
import type { HostService, PortForward } from './network.ts';

export const SWITCH_PROTOCOL = 1;

/** Files in the switch process's folder. */
export const SWITCH_FILES = { control: 'control.sock', ports: 'ports.sock', log: 'switch.log' } as const;

export const SWITCH_KINDS = ['Private', 'Internal', 'NAT', 'External'] as const;
export type SwitchKindName = (typeof SWITCH_KINDS)[number];

/** A switch as it is to be. */
export interface SwitchSpec {
  readonly name: string;
  readonly kind: SwitchKindName;
  /** The TAP device of an internal or external switch. */
  readonly device: string | null;
  /** Of a NAT switch; null: the default. */
  readonly subnet: string | null;
  readonly hostAccess: readonly HostService[];
  /** Where a NAT switch keeps who has which address. */
  readonly leases: string | null;
}

/** A port as it is to be, and who may plug into it. */
export interface PortSpec {
  /** What the adapter's worker shows. Nobody else knows it. */
  readonly id: string;
  readonly switch: string;
  readonly vm: string;
  readonly nic: string;
  /** What its address is reserved under, and what it is called in captures. */
  readonly owner: string;
  /** Its label in DNS; null: none. */
  readonly hostName: string | null;
  readonly mac: string;
  /** 0: none. */
  readonly vlan: number;
  readonly macSpoofing: boolean;
  /** Bits per second; null: no limit. */
  readonly sendLimit: number | null;
  readonly receiveLimit: number | null;
  /** The one IPv4 address that it may have: reserved for it on a NAT switch. Null: any that is nobody's. */
  readonly address: string | null;
  /** With NAT; null: anywhere. */
  readonly egress: readonly string[] | null;
  readonly forwards: readonly PortForward[];
}

/** A port as it is. */
export interface PortStatus {
  readonly vm: string;
  readonly nic: string;
  readonly owner: string;
  readonly mac: string;
  readonly vlan: number;
  /** Its worker is connected. */
  readonly link: boolean;
  /** What DHCP has given it, or it is held to. */
  readonly address: string | null;
  readonly spoofingGuard: boolean;
  readonly sentFrames: number;
  readonly sentBytes: number;
  readonly receivedFrames: number;
  readonly receivedBytes: number;
  /** Frames by why they were dropped. */
  readonly dropped: Readonly<Record<string, number>>;
}

export interface Lease {
  readonly owner: string;
  readonly address: string;
  /** The user has made it. */
  readonly fixed: boolean;
}

export interface SwitchStatus {
  readonly name: string;
  readonly subnet: string | null;
  readonly gateway: string | null;
  readonly domain: string | null;
  readonly ports: readonly PortStatus[];
  readonly leases: readonly Lease[];
  readonly forwards: readonly (PortForward & { readonly vm: string; readonly nic: string })[];
  readonly captures: number;
}

export interface SwitchMethods {
  hello: { params: undefined; result: { readonly protocol: number; readonly pid: number } };
  /** Makes it, or changes what can be changed. */
  setSwitch: { params: SwitchSpec; result: undefined };
  /** Makes it, or changes it. What cannot be changed while it is plugged in is unplugged and plugged in again. */
  setPort: { params: PortSpec; result: undefined };
  removePort: { params: { readonly id: string }; result: undefined };
  removeSwitch: { params: { readonly name: string }; result: undefined };
  /** Removes all others. */
  keep: { params: { readonly switches: readonly string[]; readonly ports: readonly string[] }; result: undefined };
  status: { params: { readonly name: string }; result: SwitchStatus };
  forgetLease: { params: { readonly name: string; readonly owner: string }; result: { readonly there: boolean } };
  /** `capture` events follow on this connection, until it is closed. */
  capture: {
    params: {
      readonly name: string;
      /** Only frames from and to this address; null: all. */
      readonly mac: string | null;
      readonly snaplen: number | null;
    };
    result: undefined;
  };
  /** It ends. */
  end: { params: undefined; result: undefined };
}
export type SwitchMethod = keyof SwitchMethods;

export interface SwitchRequest<M extends SwitchMethod = SwitchMethod> {
  readonly id: number;
  readonly method: M;
  readonly params?: SwitchMethods[M]['params'];
}

export type SwitchEvent =
  /** What DHCP has given an adapter. */
  | { readonly event: 'address'; readonly vm: string; readonly nic: string; readonly address: string }
  /** A piece of a pcap file, base64. */
  | { readonly event: 'capture'; readonly data: string };

export interface SwitchAnswer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: { readonly code: ErrorCode; readonly message: string };
}

/** What a worker is told of a port that it is to connect an adapter to. */
export interface PortAddress {
  /** The switch process's socket for ports. */
  readonly socket: string;
  readonly id: string;
}
