// Boots a kernel with an initial RAM disk, types a command at its shell, and says how it ended:
//   node_modules/.bin/node example.mjs vmlinuz initrd 'uname -a; poweroff'
// In a folder where the package `viridian` is installed. That Node comes with it; any from 24 on will do.
import { createPartition } from 'viridian';

const [kernel, initrd, command] = process.argv.slice(2);
await using partition = await createPartition({ kernel, initrd, append: 'console=ttyS0 quiet', memory: 512 * 2 ** 20 });
let shown = '';
partition.console.onData((bytes) => {
  process.stdout.write(bytes);
  const before = shown.includes('# ');
  shown += new TextDecoder().decode(bytes);
  if (!before && shown.includes('# ')) void partition.console.write(`${command}\n`);
});
partition.start();
const { kind } = await partition.stopped;
console.log(`\nstopped: ${kind}`);
