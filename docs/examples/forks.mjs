// Runs a command in as many forks of a checkpoint as are asked for, all at once, and takes them away again:
//   node forks.mjs VM CHECKPOINT COUNT COMMAND...
import { connect, isViridianError } from 'viridian/client';

const [name, checkpoint, count, ...command] = process.argv.slice(2);
const host = await connect();
const vm = await host.get(name);
try {
  await Promise.all(
    Array.from({ length: Number(count) }, async (_, i) => {
      const fork = await vm.fork(checkpoint, { name: `${name}-${i}` });
      const { stdout } = await fork.exec(command);
      process.stdout.write(`${fork.name}: ${new TextDecoder().decode(stdout)}`);
      await fork.stop({ turnOff: true });
      await fork.remove();
    }),
  );
} catch (error) {
  if (!isViridianError(error)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
