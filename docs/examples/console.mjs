// Types a line at the console of a VM that runs, and shows what comes back until a text: node console.mjs VM LINE TEXT
import { connect } from 'viridian/client';

const [name, line, text] = process.argv.slice(2);
const host = await connect();
const vm = await host.get(name);

// Let go of at the end of the block; the VM goes on, and so do others at its console.
await using console = await vm.console({ history: false });
console.write(`${line}\n`);
let shown = '';
for await (const bytes of console) {
  process.stdout.write(bytes);
  shown += bytes.toString();
  if (shown.includes(text)) break;
}
