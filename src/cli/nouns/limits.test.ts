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

it('the memory of an edition: over all VMs that run, when one is started or its memory is set', async () => {
  const test = await testHost();
  expect(await hv(test, 'host', 'set', '--edition', '2008 standard')).toMatchObject({ code: 0 });
  expect((await hv(test, 'host', 'show')).stdout).toMatch(/edition +2008 Standard\nlimit for VMs +31 GiB\n/);
  const names = Array.from({ length: 11 }, (_, i) => `vm${i}`);
  for (const name of names) await test.vm(name, { memory: 3 * GIB });
  const { code, stderr } = await hv(test, 'start', ...names);
  expect(code).toBe(EXIT.wrongState);
  // Ten are running, and the one that came last is not.
  expect(stderr.match(/^hv: vm\d+ is running$/gm)).toHaveLength(10);
  expect(stderr).toMatch(
    /^hv: cannot start vm\d+ with 3 GiB of memory: the edition 2008 Standard allows 31 GiB for virtual machines, and 30 GiB are in use: stop or save others, or give it less$/m,
  );
  expect(await hv(test, 'ls', '--state', 'off', '-q')).toMatchObject({
    stdout: expect.stringMatching(/^vm\d+\n$/) as string,
  });
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
