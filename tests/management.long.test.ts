/**
 * The management half with real guests, through the command: Debian's kernel and busybox, VHDX disks with ext4, everything that a VM
 * goes through; at the end nothing is left behind.
 */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { filesBelow, GUEST_FSCK, Home, MOUNT, storyGuest } from './management.fixture.ts';

const guest = await storyGuest();
const skipped = typeof guest === 'string';

describe.skipIf(skipped)(`the story${skipped ? `: skipped, ${guest}` : ''}`, () => {
  if (typeof guest === 'string') return;
  const home = Home.make();
  const { hv, file } = { hv: home.hv.bind(home), file: home.file.bind(home) };

  beforeAll(async () => {
    for (const name of ['one', 'two', 'extra']) await home.disk(`${name}.vhdx`);
  });
  afterAll(async () => {
    await home.remove();
    rmSync(home.folder, { recursive: true, force: true });
  });

  it('two VMs are made and started, and answer on their consoles', async () => {
    await Promise.all([home.newVm(guest, 'one'), home.newVm(guest, 'two')]);
    await hv('start', 'one', 'two');
    for (const name of ['one', 'two']) {
      await using console = await home.console(name);
      await console.prompt();
      expect(await console.run(`${MOUNT}; cat /m/hello`)).toBe('from the host');
    }
    expect(await hv('ls', '--state', 'running', '-q')).toBe('one\ntwo\n');
  });

  it('a checkpoint takes a change back', async () => {
    await using console = await home.console('one', false);
    await console.run('echo kept > /m/file; echo kept > /file; sync');
    const made = JSON.parse(await hv('checkpoint', 'create', 'one', 'clean', '--json')) as { pause: number };
    expect(made.pause).toBeGreaterThan(0);
    expect(await console.run('echo changed > /m/file; echo changed > /file; sync; cat /m/file /file')).toBe(
      'changed\nchanged',
    );
    await hv('checkpoint', 'apply', 'one', 'clean', '--yes');
    await using after = await home.console('one', false);
    expect(await after.run('cat /m/file /file')).toBe('kept\nkept');
    expect(await hv('checkpoint', 'ls', 'one')).toMatch(/clean \*/);
  });

  it('is forked twice, each with a life of its own', async () => {
    for (const name of ['fork1', 'fork2']) await hv('vm', 'fork', 'one', 'clean', name);
    for (const name of ['fork1', 'fork2']) {
      await using console = await home.console(name, false);
      expect(await console.run(`cat /m/file; echo ${name} > /m/file; sync; cat /m/file`)).toBe(`kept\n${name}`);
      expect(await console.run(GUEST_FSCK)).toBe('0');
    }
    await using console = await home.console('one', false);
    expect(await console.run('cat /m/file')).toBe('kept');
    await hv('stop', 'fork1', 'fork2', '--turn-off');
    await hv('vm', 'rm', 'fork1', 'fork2', '--yes');
  });

  it('a checkpoint below a fork that runs is removed: its disks are merged when the fork is off', async () => {
    const layers = (): number => filesBelow(file('data/vms')).filter((name) => name.endsWith('.vhdx')).length;
    await using console = await home.console('one', false);
    await console.run('echo second > /m/second; sync');
    await hv('checkpoint', 'create', 'one', 'second');
    await console.run('echo third > /m/third; sync');
    await hv('checkpoint', 'create', 'one', 'third');
    await hv('vm', 'fork', 'one', 'third', 'fork');
    {
      await using fork = await home.console('fork', false);
      await fork.run('echo fork > /m/fork; sync');
      const before = layers();
      await hv('checkpoint', 'rm', 'one', 'second', '--yes');
      expect(await hv('checkpoint', 'ls', 'one', '-q')).toBe('clean\nthird\n');
      expect(layers()).toBe(before);
      const read = 'echo 3 > /proc/sys/vm/drop_caches; cat /m/second /m/third';
      expect(await fork.run(`${read} /m/fork`)).toBe('second\nthird\nfork');
      expect(await console.run(read)).toBe('second\nthird');
      await hv('vm', 'save', 'fork');
      while (layers() === before) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    // It goes on, on disks that are others now.
    await hv('start', 'fork');
    await using fork = await home.console('fork', false);
    expect(await fork.run('echo 3 > /proc/sys/vm/drop_caches; cat /m/second /m/third /m/fork')).toBe(
      'second\nthird\nfork',
    );
    expect(await fork.run(GUEST_FSCK)).toBe('0');
    await hv('stop', 'fork', '--turn-off');
    await hv('vm', 'rm', 'fork', '--yes');
    await hv('checkpoint', 'rm', 'one', 'third', '--yes');
    expect(await console.run('echo 3 > /proc/sys/vm/drop_caches; cat /m/second /m/third')).toBe('second\nthird');
  });

  it('a disk is added and removed while the guest runs', async () => {
    await using console = await home.console('two', false);
    await hv('disk', 'add', 'two', file('extra.vhdx'));
    expect(
      await console.run(
        'while [ ! -b /dev/sdb ]; do usleep 20000; done; mkdir -p /x; mount -t ext4 /dev/sdb /x && cat /x/hello; umount /x; e2fsck -fn /dev/sdb > /fsck 2>&1; echo $?',
      ),
    ).toBe('from the host\n0');
    await hv('disk', 'rm', 'two', '1');
    expect(await console.run('while [ -b /dev/sdb ]; do usleep 20000; done; echo gone')).toBe('gone');
  });

  it('a network adapter is added and removed while the guest runs', async () => {
    await using console = await home.console('two', false);
    await hv('switch', 'create', 'lan', '--kind', 'Private');
    await hv('nic', 'add', 'two', 'lan', '--mac', '00:15:5d:00:be:ef');
    expect(
      await console.run(
        'while ! grep -q be:ef /sys/class/net/*/address; do usleep 20000; done; cat /sys/class/net/eth*/address',
      ),
    ).toBe('00:15:5d:00:be:ef');
    await hv('nic', 'rm', 'two', 'nic0');
    expect(await console.run('while ls -d /sys/class/net/eth* 2>/dev/null; do usleep 20000; done; echo gone')).toMatch(
      /gone$/,
    );
    await hv('switch', 'rm', 'lan');
  });

  it('is paused, resumed, saved, and goes on after the service was ended', async () => {
    await using console = await home.console('one', false);
    await hv('vm', 'pause', 'one');
    await hv('vm', 'resume', 'one');
    await console.run('echo memory > /in-memory');
    await hv('vm', 'save', 'one');
    await hv('service', 'stop');
    const before = (await home.vm('two').catch(() => undefined))?.info;
    expect(before).toBeUndefined();
    // The command starts another one, which finds what goes on.
    expect(JSON.parse(await hv('vm', 'show', 'two', '--json'))).toMatchObject({ state: 'Running' });
    await hv('start', 'one');
    await using after = await home.console('one', false);
    expect(await after.run('cat /in-memory /m/file')).toBe('memory\nkept');
    expect(await after.run(GUEST_FSCK)).toBe('0');
  });

  it('is exported, imported under another name, and all of it is removed without a trace', async () => {
    {
      await using console = await home.console('two', false);
      expect(await console.run(GUEST_FSCK)).toBe('0');
    }
    await hv('stop', 'two');
    await hv('stop', 'one', '--turn-off');
    await hv('vm', 'export', 'one', file('exported'));
    await hv('vm', 'import', file('exported'), '--name', 'imported');
    await hv('start', 'imported');
    {
      await using console = await home.console('imported');
      await console.prompt();
      expect(await console.run(`${MOUNT}; cat /m/file`)).toBe('kept');
      expect(await console.run(GUEST_FSCK)).toBe('0');
    }
    await hv('stop', 'imported');
    expect(await hv('checkpoint', 'ls', 'one', '-q')).toBe('clean\n');
    await hv('checkpoint', 'rm', 'one', 'clean', '--yes');
    await hv('vm', 'rm', 'one', 'two', 'imported', '--yes');
    expect(await hv('ls', '-q')).toBe('');
    for (const name of ['one', 'two', 'extra']) await home.demandSound(`${name}.vhdx`);

    await hv('service', 'stop');
    // The users' own files, what the service keeps, its logs, and nothing of any VM.
    expect(filesBelow(home.folder).filter((name) => !name.startsWith('exported/'))).toEqual([
      // What starts workers, held back.
      expect.stringMatching(/^data\/launcher-[0-9a-f]+$/),
      'data/lock',
      'data/viridian.db',
      'data/viridian.db.reserve',
      'extra.vhdx',
      'one.vhdx',
      'run/service.log',
      'run/switch/switch.log',
      'two.vhdx',
    ]);
    expect(home.processes()).toEqual([]);
  });
});
