/**
 * Production checkpoints of a real guest, through its own VSS daemon: file systems are frozen while the disks are exchanged, and writers
 * go on afterwards. What is kept needs no journal to be replayed.
 */
import { appendFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { hypervDaemons } from './boot/daemons.fixture.ts';
import { GUEST_FSCK, Home, MOUNT, storyGuest } from './management.fixture.ts';

const guest = await storyGuest();
const daemons = await hypervDaemons();
const reason = typeof guest === 'string' ? guest : typeof daemons === 'string' ? daemons : undefined;

describe.skipIf(reason !== undefined)(`production checkpoints${reason ? `: skipped, ${reason}` : ''}`, () => {
  if (typeof guest === 'string' || typeof daemons === 'string') return;
  const home = Home.make();
  afterAll(async () => {
    await home.remove();
  });

  it('are of file systems that stand still, and leave the guest writing', async () => {
    appendFileSync(guest.initrd, daemons);
    await home.disk('vm.vhdx');
    await home.newVm(guest, 'vm');
    await home.hv('start', 'vm');
    {
      await using console = await home.console('vm');
      await console.prompt();
      expect(await console.run(`${MOUNT}; cat /m/hello`)).toBe('from the host');
      // Nobody freezes: what was asked for by name is refused, what was not is made with memory.
      const refused = await home.run('checkpoint', 'create', 'vm', 'none', '--production');
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toMatch(/^hv: .*(daemon|VSS|freez|answer)/im);
      expect(await home.hv('checkpoint', 'ls', 'vm', '-q')).toBe('');

      await console.run('(hv_vss_daemon -n > /tmp/vss.log 2>&1 &); true');
      await console.run(
        '(i=0; while [ ! -e /quiet ]; do i=$((i + 1)); echo $i > /m/count; sync; done) & WRITER=$!; true',
      );
      const made = async (): Promise<boolean> =>
        (await home.run('checkpoint', 'create', 'vm', 'app', '--production')).code === 0;
      // The daemon says hello when it is there.
      for (const end = Date.now() + 60_000; !(await made()); ) {
        if (Date.now() > end) throw new Error('no production checkpoint within a minute');
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      const [checkpoint] = await (await home.vm('vm')).checkpoints();
      expect(checkpoint).toMatchObject({ name: 'app', kind: 'Production', memory: false });
      // Thawed: the writer goes on.
      const count = Number(await console.run('cat /m/count'));
      await console.run(`while [ "$(cat /m/count)" -le ${count} ]; do usleep 20000; done`);
      await console.run('touch /quiet; wait $WRITER; sync; true');
      expect(await console.run(GUEST_FSCK)).toBe('0');
    }
    // Without memory it boots, and the file system is one that was at rest.
    await home.hv('checkpoint', 'apply', 'vm', 'app', '--yes');
    await using console = await home.console('vm');
    await console.prompt();
    expect(await console.run('while [ ! -b /dev/sda ]; do usleep 20000; done; e2fsck -fn /dev/sda; echo $?')).toMatch(
      /\n0$/,
    );
    expect(Number(await console.run(`${MOUNT}; cat /m/count`))).toBeGreaterThan(0);
    expect(await console.run('dmesg | grep -c "recovery complete"')).toBe('0');
    await home.hv('stop', 'vm', '--turn-off');
  });
});
