/** What the host refuses, as the command says it: a service with facts of another host, asked by `hv` itself. */
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { EXIT } from '../../contracts/exit-codes.ts';
import { type CommandResult, runCommand } from '../../host/node/command.ts';
import { type TestHost, testHost } from '../../vmms/testing.fixture.ts';

const GIB = 2 ** 30;
const HV = fileURLToPath(new URL('../../../bin/hv', import.meta.url));

function hv({ options }: TestHost, ...args: readonly string[]): Promise<CommandResult> {
  return runCommand('/usr/bin/env', [`VIRIDIAN_HOST=${options.socket}`, HV, ...args]);
}

it('the memory of an edition: over all VMs that run', async () => {
  const test = await testHost();
  expect(await hv(test, 'host', 'set', '--edition', '2008 standard')).toMatchObject({ code: 0 });
  expect((await hv(test, 'host', 'show')).stdout).toMatch(/edition +2008 Standard\nlimit for VMs +31 GiB\n/);
  const { inventory } = test.service.management.context;
  // Ten that run, as far as the limit is concerned: workers are tested elsewhere (vmms/service.test.ts).
  for (let i = 0; i < 10; i++)
    inventory.change((await test.vm(`vm${i}`, { memory: 3 * GIB })).id, { state: 'Running' });
  await test.vm('last', { memory: 3 * GIB });
  expect(await hv(test, 'start', 'last')).toEqual({
    code: EXIT.wrongState,
    stdout: '',
    stderr:
      'hv: cannot start last with 3 GiB of memory: the edition 2008 Standard allows 31 GiB for virtual machines, and 30 GiB are in use: stop or save others, or give it less\n',
  });
  expect(await hv(test, 'ls', '--state', 'off', '-q')).toMatchObject({ code: 0, stdout: 'last\n' });
  for (const { id } of inventory.list()) inventory.change(id, { state: 'Off' });
});

it('the requirements of the host: no VM starts, and which it does not meet is shown', async () => {
  const facts = (await testHost()).options.facts!;
  const unfit = await testHost({ facts: { ...facts, memory: GIB, architecture: 'arm64', flags: new Set(['fp']) } });
  await unfit.vm('vm');
  expect(await hv(unfit, 'start', 'vm')).toEqual({
    code: EXIT.wrongState,
    stdout: '',
    stderr:
      'hv: this host cannot run virtual machines: x86-64: the processor is arm64; memory: the host has 1 GiB, and needs 2 GB; no-execute pages: NX is missing, or off in the firmware\n',
  });
  expect((await hv(unfit, 'host', 'show')).stdout).toMatch(/MISSING memory: the host has 1 GiB, and needs 2 GB\n/);
  expect(await hv(unfit, 'vm', 'set', 'vm', '--memory', '2G')).toMatchObject({
    code: EXIT.usage,
    stderr: 'hv: vm cannot have 2 GiB of memory: this host has 1 GiB for virtual machines: give it less\n',
  });
});
