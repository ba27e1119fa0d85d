// A VM from its making to its end, with a program in the guest and a checkpoint to go back to:
//   node machine.mjs KERNEL DISK
// exec needs the agent in the guest, which images of `hv image create` have.
import { connect } from 'viridian/client';

const [kernel, disk] = process.argv.slice(2);
const host = await connect(); // this user's service; it is started when there is none
const vm = await host.create({
  name: 'example',
  memory: 512 * 2 ** 20,
  boot: { kernel, append: 'console=ttyS0 root=/dev/sda1 quiet' },
  disks: [{ slot: 0, file: disk }],
});
await vm.start();

const { code, stdout } = await vm.exec(['uname', '-s']);
console.log(`uname says ${new TextDecoder().decode(stdout).trim()}, with code ${code}`);

const { name, memory } = await vm.checkpoint('clean');
console.log(`checkpoint ${name}, with memory: ${memory}`);
await vm.apply('clean', {}, { progress: (job) => console.log(`${Math.round(job.progress * 100)} % ${job.text}`) });

await vm.removeCheckpoint('clean');
await vm.stop({ turnOff: true });
await vm.remove();
