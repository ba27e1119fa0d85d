/**
 * Sockets between host and guest (AF_VSOCK in Linux), as in Linux's net/vmw_vsock/hyperv_transport.c: a channel for each
 * connection. A service is a GUID of which the first group is the port; data are pipe packets {u32 1, u32 size, bytes}, and one
 * of size 0 ends a direction.
 */
const TEMPLATE = '-facb-11e6-bd58-64006a7986d3';

export function serviceOf(port: number): string {
  return `${port.toString(16).padStart(8, '0')}${TEMPLATE}`;
}

/** The port of a service; undefined for GUIDs that are none of ours. */
export function portOf(service: string): number | undefined {
  return service.endsWith(TEMPLATE) ? Number.parseInt(service.slice(0, 8), 16) : undefined;
}

export const MAXIMUM_PORT = 0xffff_fffe;
/** User data of an offer: which side asked for the connection. */
export const FROM_HOST = 4;

export const PipeField = { TYPE: 0, SIZE: 4, DATA: 8 } as const;
export const PIPE_DATA = 1;
/** Guests take and send no more in one packet. */
export const MAXIMUM_DATA = 16384;
/** What the host sends in one: a guest's ring may have 24 KiB, and should not stand still while half of it is read. */
export const PREFERRED_DATA = 8192;
