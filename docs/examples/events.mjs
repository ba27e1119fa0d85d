// Follows what happens to VMs until one with a name is gone: node events.mjs NAME. What happened before is told first.
import { connect } from 'viridian/client';

const [name] = process.argv.slice(2);
const host = await connect();
for await (const { id, time, kind, vmName, text } of host.events({ after: 0 })) {
  console.log(`${id} ${time} ${kind}: ${text}`);
  if (kind === 'vm.removed' && vmName === name) break;
}
