import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { configurationOf } from '../../vmms/inventory.ts';
import { testHost } from '../../vmms/testing.fixture.ts';

const HV = fileURLToPath(new URL('../../../bin/hv', import.meta.url));

it('all of a long list reaches a reader that is slow, through a socket as programs give it for stdout', async () => {
  const test = await testHost();
  const { inventory } = test.service.management.context;
  for (let i = 0; i < 500; i++) inventory.add(configurationOf({ name: `vm ${i}` }));
  const child = spawn(HV, ['ls', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, VIRIDIAN_HOST: test.options.socket },
  });
  // Much more than the socket holds is waiting by now.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  let text = '';
  for await (const bytes of child.stdout) text += String(bytes);
  expect(text.length).toBeGreaterThan(400_000);
  expect(JSON.parse(text)).toHaveLength(500);
});
