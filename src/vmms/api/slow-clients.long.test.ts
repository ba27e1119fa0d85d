/** Clients that send as slowly as they can: they hold a connection, and not for long. */
import { connect } from 'node:net';
import { expect, it } from 'vitest';
import { testHost } from '../testing.fixture.ts';

it('a hundred headers letter by letter are cut off after ten seconds, and the service serves meanwhile', async () => {
  const test = await testHost();
  const vm = await test.vm('vm');
  const started = performance.now();
  const slow = Array.from(
    { length: 100 },
    () =>
      new Promise<number>((resolve) => {
        const socket = connect(test.options.socket);
        socket.write('GET /api/v1/vms HTTP/1.1\r\nHost: localhost\r\nSlow: ');
        const timer = setInterval(() => socket.write('x'), 250);
        socket.on('error', () => {});
        socket.on('close', () => {
          clearInterval(timer);
          resolve((performance.now() - started) / 1000);
        });
      }),
  );
  await vm.start();
  let served = 0;
  const ends = Promise.all(slow).then(() => 'all');
  while ((await Promise.race([ends, new Promise((resolve) => setTimeout(resolve, 100))])) !== 'all') {
    const asked = performance.now();
    expect((await test.host.list()).map(({ name }) => name)).toEqual(['vm']);
    expect(performance.now() - asked).toBeLessThan(5000);
    served++;
  }
  expect(served).toBeGreaterThan(10);
  for (const seconds of await Promise.all(slow)) {
    expect(seconds).toBeGreaterThan(9);
    expect(seconds).toBeLessThan(30);
  }
  await vm.stop({ turnOff: true });
});
