/** What an adapter and the virtual switch say to each other; the shapes are part of the library's interface. */
export type { NetworkFrame as Frame, NetworkPort as SwitchPort } from '../contracts/network.ts';
