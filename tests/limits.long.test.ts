/** What a VM may take of its host, with a real guest that wants all of it. */
import { afterAll, describe, expect, it } from 'vitest';
import { Home, storyGuest } from './management.fixture.ts';

const guest = await storyGuest();
const skipped = typeof guest === 'string';

describe.skipIf(skipped)(`a VM with limits${skipped ? `: skipped, ${guest}` : ''}`, () => {
  if (typeof guest === 'string') return;
  const home = Home.make();
  afterAll(async () => {
    await home.remove();
  });

  it('takes a third of a processor, and 2 MiB a second of its disk', async () => {
    await home.disk('vm.vhdx');
    await home.newVm(guest, 'vm');
    await home.hv(
      'vm',
      'set',
      'vm',
      '--processor-maximum',
      '33',
      '--storage-maximum',
      '2M',
      '--network-maximum',
      '100M',
    );
    expect(await home.hv('vm', 'show', 'vm')).toMatch(
      /processors +1, 33 % each at most\nstorage +2 MiB\/s at most\nnetwork +100 Mbit\/s/,
    );
    expect((await home.run('vm', 'set', 'vm', '--processor-maximum', '0')).code).toBe(2);
    await home.hv('start', 'vm');
    await using console = await home.console('vm');
    await console.prompt();
    const vm = await home.vm('vm');
    await console.run('(while :; do :; done) & true');
    const before = await vm.metrics();
    const started = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    const after = await vm.metrics();
    const share = (after.processorSeconds - before.processorSeconds) / ((performance.now() - started) / 1000);
    // Less where the host has others to run.
    expect(share).toBeLessThan(0.37);
    expect(share).toBeGreaterThan(0.05);
    await console.run('kill $!; while [ ! -b /dev/sda ]; do usleep 20000; done');
    const read = performance.now();
    expect(await console.run('dd if=/dev/sda of=/dev/null bs=64k count=192 iflag=direct 2>/dev/null; echo $?')).toBe(
      '0',
    );
    // 12 MiB, of which a little goes at once.
    expect(performance.now() - read).toBeGreaterThan(5000);
    await home.hv('stop', 'vm');
  });
});
