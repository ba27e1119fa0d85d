/** The examples of the client library run, beside a service whose workers pretend and whose guests' programs run on this machine. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { type CommandResult, runCommand } from '../src/host/node/command.ts';
import { newDisk } from '../src/vmms/disks.fixture.ts';
import { testHost } from '../src/vmms/testing.fixture.ts';

// Programs are executed by the worker itself.
process.env.VIRIDIAN_ISOLATION = 'off';
const test = await testHost();
const hooks = new URL('fixtures/client-in-checkout.mjs', import.meta.url).href;

async function example(name: string, ...args: readonly string[]): Promise<CommandResult> {
  const file = fileURLToPath(new URL(`../docs/examples/${name}.mjs`, import.meta.url));
  const env = [`VIRIDIAN_HOST=${test.options.socket}`, process.execPath, '--no-warnings', '--import', hooks];
  return await runCommand('/usr/bin/env', [...env, file, ...args]);
}

it('machine.mjs: a VM is made, runs a program, goes back to a checkpoint, and is gone', async () => {
  const kernel = join(test.folder, 'vmlinuz');
  writeFileSync(kernel, 'not really');
  const { code, stdout, stderr } = await example('machine', kernel, await newDisk(join(test.folder, 'disk.vhdx')));
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^uname says Linux, with code 0\ncheckpoint clean, with memory: true\n(\d+ % .*\n)+$/);
  expect(await test.host.list()).toEqual([]);
});

it('events.mjs: tells what has happened, and ends', async () => {
  const { code, stdout } = await example('events', 'example');
  expect(code).toBe(0);
  const kinds = stdout.split('\n').map((line) => line.split(' ')[2]);
  for (const kind of ['vm.created:', 'checkpoint.created:', 'vm.removed:']) expect(kinds).toContain(kind);
});

it('console.mjs and forks.mjs: a console, and programs in forks', async () => {
  const vm = await test.vm('base');
  await vm.start();
  expect(await example('console', 'base', 'hello', 'hello')).toMatchObject({ code: 0, stdout: 'hello\n' });
  await vm.checkpoint('ready');
  const { stdout } = await example('forks', 'base', 'ready', '3', 'echo', 'here');
  expect(stdout.split('\n').toSorted()).toEqual(['', 'base-0: here', 'base-1: here', 'base-2: here']);
  expect(await example('forks', 'base', 'nothing', '1', 'true')).toEqual({
    code: 1,
    stdout: '',
    stderr: "notFound: base has no checkpoint 'nothing'\n",
  });
  await vm.stop({ turnOff: true });
  expect((await test.host.list()).map(({ name }) => name)).toEqual(['base']);
});
