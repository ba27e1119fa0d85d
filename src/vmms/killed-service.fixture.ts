/** A service in a process of its own, which kills itself at a step: `killed-service.fixture.ts OPTIONS`, as JSON. */
import { hostFacts } from './host-facts.ts';
import { Service, type ServiceOptions } from './service.ts';

const { step, ...options } = JSON.parse(process.argv[2]!) as Omit<ServiceOptions, 'step'> & { step: string };
const { service } = await Service.start({
  ...options,
  facts: { ...hostFacts(), architecture: 'x64', memory: 64 * 2 ** 30, flags: new Set(['nx']) },
  step: (name) => {
    if (name === step) process.kill(process.pid, 'SIGKILL');
  },
});
process.stdout.write('listening\n');
process.on('SIGTERM', () => void service.stop().then(() => process.exit(0)));
