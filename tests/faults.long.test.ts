/**
 * What a user's machine does to VMs, with real guests that write all the time: workers and the service killed by SIGKILL, a disk of the
 * host that is full. Afterwards every VM is in a truthful state, `hv vhd check` and fsck, the guest's and the host's, are clean.
 */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Job, JobOptions } from '../src/client/index.ts';
import { type Console, GUEST_FSCK, Home, MOUNT, storyGuest } from './management.fixture.ts';

const guest = await storyGuest();
const skipped = typeof guest === 'string';

const WRITE =
  '(while [ ! -e /quiet ]; do dd if=/dev/urandom of=/m/noise bs=64k count=100 2>/dev/null; sync; done) & WRITER=$!; true';
/** Not by a signal, which would leave the loop's last dd behind, with a file of the disk open. */
const QUIET = 'touch /quiet; wait $WRITER; rm /quiet; sync; true';
const pause = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

async function until(what: string, holds: () => Promise<boolean>, seconds = 120): Promise<void> {
  for (const end = Date.now() + seconds * 1000; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await pause(0.1);
  }
}

/** Booted, and its disk mounted. */
async function booted(home: Home, name: string): Promise<Console> {
  await home.hv('start', name);
  const console = await home.console(name);
  await console.prompt();
  expect(await console.run(`${MOUNT}; cat /m/hello`)).toBe('from the host');
  return console;
}

describe.skipIf(skipped)(`processes that are killed${skipped ? `: skipped, ${guest}` : ''}`, () => {
  if (typeof guest === 'string') return;
  const home = Home.make();
  beforeAll(async () => {
    await home.disk('vm.vhdx');
    await home.newVm(guest, 'vm');
  });
  afterAll(async () => {
    await home.remove();
  });

  /** SIGKILL, as soon as what is asked of the service has come so far: to a job whose text is that. Whether the job was cut short. */
  const killedAt = async (text: string, ask: (options: JobOptions) => Promise<unknown>): Promise<boolean> => {
    const { pid } = await home.service.transport.call('getVersion');
    const seen: string[] = [];
    const kill = (job: Job): void => {
      if (seen.at(-1) === text) return;
      seen.push(job.text);
      if (job.text === text) process.kill(pid, 'SIGKILL');
    };
    const cut = await ask({ progress: kill }).then(
      () => false,
      () => true,
    );
    if (seen.at(-1) !== text) throw new Error(`the job never said '${text}', but ${seen.join(', ')}`);
    return cut;
  };
  /** A new service is started by the command; what it says of the VM. */
  const goesOn = async (says: (line: string) => Promise<string>): Promise<void> => {
    expect(JSON.parse(await home.hv('vm', 'show', 'vm', '--json'))).toMatchObject({ state: 'Running' });
    expect(await says('echo still here')).toBe('still here');
  };

  it('a worker, while its guest writes: the VM is off, and why is on record', async () => {
    {
      await using console = await booted(home, 'vm');
      await console.run(WRITE);
      await pause(2);
      process.kill((await home.vm('vm')).info.worker!.pid, 'SIGKILL');
    }
    await until('off', async () => (await home.vm('vm')).info.state === 'Off');
    expect((await home.vm('vm')).info.lastExit).toMatchObject({ kind: 'killed' });
    await home.demandSound('vm.vhdx');
    // And the guest's own fsck, after its kernel has replayed the journal.
    await using console = await booted(home, 'vm');
    expect(await console.run(GUEST_FSCK)).toBe('0');
    await console.run(MOUNT);
  });

  it('the service, while checkpoints are made and merged: the VM goes on, and none is half there', async () => {
    const says = async (line: string): Promise<string> => {
      // A console ends with the service that it goes through.
      await using console = await home.console('vm', false);
      return await console.run(line);
    };
    const whole = async (): Promise<string[]> => (await (await home.vm('vm')).checkpoints()).map(({ name }) => name);
    await says(WRITE);
    const vm = await home.vm('vm');
    for (const text of ['copying memory', 'freezing disks', 'writing the rest of memory']) {
      const cut = await killedAt(text, async (options) => await vm.checkpoint(text, options));
      await goesOn(says);
      // While memory is copied nothing is on record. Later it is there, whole, or it is not: the worker may have ended the work.
      if (text === 'copying memory') expect(cut).toBe(true);
      if (text === 'copying memory') expect(await whole()).toEqual([]);
    }
    // Whole is what one can go back to.
    await home.hv('checkpoint', 'create', 'vm', 'last');
    const made = await whole();
    for (const name of made) {
      await home.hv('checkpoint', 'apply', 'vm', name, '--yes');
      expect(await says('echo gone back')).toBe('gone back');
    }
    for (const name of made) {
      await killedAt('merging disks', async (options) => await vm.removeCheckpoint(name, false, options));
      await goesOn(says);
      expect(await whole()).not.toContain(name);
    }
    await says(QUIET);
    expect(await says(GUEST_FSCK)).toBe('0');
    await home.hv('stop', 'vm');
    // All of it is in the file that the VM was given.
    const { configuration } = (await home.vm('vm')).info;
    expect(configuration.disks.map(({ file }) => file)).toEqual([home.file('vm.vhdx')]);
    await home.demandSound('vm.vhdx');
  });
});

const small = skipped ? undefined : await Home.small('300M');
const reason = skipped ? guest : small === undefined ? 'a file system cannot be mounted in a namespace' : undefined;
describe.skipIf(reason !== undefined)(`a full disk of the host${reason ? `: skipped, ${reason}` : ''}`, () => {
  if (typeof guest === 'string' || small === undefined) return;
  const home = small;
  afterAll(async () => {
    await home.remove();
  });

  const fill = (): void => {
    const fd = openSync(home.seen('filler'), 'a');
    for (let bytes = 2 ** 20; bytes >= 1; ) {
      try {
        writeSync(fd, new Uint8Array(bytes));
      } catch {
        bytes /= 16;
      }
    }
    closeSync(fd);
  };
  const state = async (): Promise<string> => (await home.vm('vm')).info.state;

  it('while the guest writes: it stands still, goes on when there is room, and has lost nothing', async () => {
    await home.disk('vm.vhdx');
    await home.newVm(guest, 'vm');
    await using console = await booted(home, 'vm');
    await console.run('echo kept > /m/file; sync');
    fill();
    const written = console.run(
      'dd if=/dev/urandom of=/m/noise bs=64k count=200 2>/dev/null && sync && md5sum < /m/noise',
    );
    await until('paused', async () => (await state()) === 'PausedCritical');
    expect(JSON.parse(await home.hv('ls', '--json'))).toMatchObject([
      { state: 'PausedCritical', critical: expect.stringContaining('vm.vhdx') as string },
    ]);
    rmSync(home.seen('filler'));
    await until('running', async () => (await state()) === 'Running');
    expect(await written).toMatch(/^[0-9a-f]{32}/);
    expect(await console.run('echo 3 > /proc/sys/vm/drop_caches; cat /m/file; md5sum < /m/noise')).toBe(
      `kept\n${await written}`,
    );
  });

  it('while a checkpoint is made: there is none, and the guest goes on', async () => {
    await using console = await home.console('vm', false);
    fill();
    expect((await home.run('checkpoint', 'create', 'vm')).stderr).toMatch(/^hv: .*(no room|no space left)/m);
    expect(await home.hv('checkpoint', 'ls', 'vm', '-q')).toBe('');
    rmSync(home.seen('filler'));
    await until('running', async () => (await state()) === 'Running');
    expect(await console.run('cat /m/file')).toBe('kept');
  });

  it('while a checkpoint is merged: the disks hold what they held, and the next try ends it', async () => {
    await using console = await home.console('vm', false);
    await home.hv('checkpoint', 'create', 'vm', 'one');
    await console.run('rm /m/noise; dd if=/dev/urandom of=/m/more bs=64k count=200 2>/dev/null; sync');
    const sum = await console.run('md5sum < /m/more');
    fill();
    const removed = await home.run('checkpoint', 'rm', 'vm', 'one', '--yes');
    // Blocks that the disk below has already need no room.
    if (removed.code !== 0) expect(removed.stderr).toMatch(/^hv: .*(no room|no space left)/m);
    expect(await home.hv('checkpoint', 'ls', 'vm', '-q')).toBe('');
    expect(await console.run('echo 3 > /proc/sys/vm/drop_caches; md5sum < /m/more')).toBe(sum);
    rmSync(home.seen('filler'));
    await home.hv('checkpoint', 'create', 'vm', 'two');
    await home.hv('checkpoint', 'rm', 'vm', 'two', '--yes');
    expect(await console.run('echo 3 > /proc/sys/vm/drop_caches; md5sum < /m/more; cat /m/file')).toBe(`${sum}\nkept`);
    expect((await home.vm('vm')).info.configuration.disks.map(({ file }) => file)).toEqual([home.file('vm.vhdx')]);
  });

  it('and a worker that is killed on it: the VM is off, the file and what is on it are sound', async () => {
    await using console = await home.console('vm', false);
    fill();
    void console.run('dd if=/dev/urandom of=/m/last bs=64k count=300 2>/dev/null; sync').catch(() => {});
    await until('paused', async () => (await state()) === 'PausedCritical');
    process.kill((await home.vm('vm')).info.worker!.pid, 'SIGKILL');
    await until('off', async () => (await state()) === 'Off');
    rmSync(home.seen('filler'));
    await home.demandSound('vm.vhdx');
    await using after = await booted(home, 'vm');
    expect(await after.run('cat /m/file')).toBe('kept');
    expect(await after.run(GUEST_FSCK)).toBe('0');
    await home.hv('stop', 'vm');
  });
});
