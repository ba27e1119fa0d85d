/** A partition's networks over the host's sockets, in Node. Loaded when an adapter asks for one. */
import { openCapture } from '../../host/node/capture-file.ts';
import { nodeNetwork, nodeNetworkTime } from '../../host/node/network.ts';
import { PartitionNetworks } from '../networks.ts';

export function nodeNetworks(): PartitionNetworks {
  return new PartitionNetworks({
    host: nodeNetwork,
    time: nodeNetworkTime,
    openCapture,
    calendar: () => performance.timeOrigin + performance.now(),
  });
}
