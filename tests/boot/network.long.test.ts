/** A hundred mebibytes each way through NAT, over one channel and over several, in large frames and in small ones. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { InspectNode } from '../../src/contracts/partition.ts';
import { CONFIGURE, fetched, freePort, networkGuest, serve, sha256 } from './network.fixture.ts';
import { Shell } from './shell.fixture.ts';

const guest = await networkGuest();
const reason = typeof guest === 'string' ? `: skipped, ${guest}` : '';
const MIB = 2 ** 20;

describe.skipIf(typeof guest === 'string')(`a guest's network at length${reason}`, () => {
  if (typeof guest === 'string') return;
  const content = randomBytes(100 * MIB);

  it.each([
    { processors: 1, largeFrames: false },
    { processors: 1, largeFrames: true },
    { processors: 2, largeFrames: false },
  ])('moves 100 MiB each way intact: %o', async ({ processors, largeFrames }) => {
    const server = await serve(content);
    const published = await freePort();
    const shell = await Shell.start({
      ...guest,
      append: 'console=ttyS0 quiet',
      processors,
      memory: 768 * MIB,
      nics: [
        {
          network: 'nat',
          largeFrames,
          hostAccess: [{ protocol: 'tcp', port: server.port }],
          forwards: [{ protocol: 'tcp', hostPort: published, guestPort: 80 }],
        },
      ],
    });
    await shell.command(CONFIGURE);
    expect(await shell.command(`wget -q -O - http://172.30.0.1:${server.port}/ | sha256sum`)).toBe(
      `${sha256(content)}  -\n`,
    );
    await shell.command(
      'mkdir /tmp/www; dd if=/dev/urandom of=/tmp/www/file bs=1M count=100 2>/dev/null; httpd -p 80 -h /tmp/www',
    );
    const { sum, size } = await fetched(published, '/file');
    expect(size).toBe(100 * MIB);
    expect(await shell.command('sha256sum < /tmp/www/file')).toBe(`${sum}  -\n`);
    const { devices } = (await shell.partition.inspect()).vmbus as InspectNode;
    expect((devices as InspectNode).nic0).toMatchObject({ channels: processors, malformed: 0, largeFrames });
    await shell.partition[Symbol.asyncDispose]();
    server.close();
  });
});
