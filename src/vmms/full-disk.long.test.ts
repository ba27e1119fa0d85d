/** The host's disk full at each step of checkpoints and merges, and between them. A real file system without room; workers only pretend. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { Host, type Vm } from '../client/index.ts';
import { Transport } from '../client/transport.ts';
import { active, typed } from './disks.fixture.ts';

const unshare = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0;

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

/** A host whose disk has a size: full-disk.fixture.ts. */
class SmallHost {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly folder: string;
  readonly host: Host;

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    this.folder = folder;
    // Its file system is not mounted here; a socket can be reached through the process.
    this.host = new Host(new Transport({ socket: `/proc/${child.pid!}/root${folder}/run/vmms.sock` }));
  }

  static async start(): Promise<SmallHost> {
    const folder = mkdtempSync(join(tmpdir(), 'vir-'));
    const program = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
    const options = {
      dataFolder: join(folder, 'data'),
      runtimeFolder: join(folder, 'run'),
      socket: join(folder, 'run/vmms.sock'),
      workerEntry: ['--no-warnings', program('fake-worker.fixture.ts')],
      version: '0.0.0-test',
    };
    const words = [program('full-disk.fixture.ts'), folder, '64m', JSON.stringify(options)];
    const child = spawn('unshare', ['-rm', process.execPath, '--no-warnings', ...words], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const small = new SmallHost(child, folder);
    ends.push(async () => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.stdin.write('["end"]\n');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    });
    expect(await small.#answer()).toBe('ready');
    return small;
  }

  async #answer(): Promise<unknown> {
    const { value, done } = await this.#answers.next();
    if (done) throw new Error('the service has ended');
    return JSON.parse(value) as unknown;
  }

  async ask(...request: readonly unknown[]): Promise<unknown> {
    this.#child.stdin!.write(`${JSON.stringify(request)}\n`);
    return await this.#answer();
  }

  async write(vm: Vm, from: number, text: string): Promise<void> {
    await this.ask('write', await active(vm), from, text);
  }
  async read(vm: Vm): Promise<unknown> {
    return await this.ask('read', await active(vm));
  }

  /** Every disk file of the host is sound, and nothing is half there. */
  async check(): Promise<void> {
    expect(await this.ask('check')).toEqual([]);
    expect(((await this.ask('list')) as string[]).filter((name) => name.endsWith('.partial'))).toEqual([]);
  }

  async files(pattern: RegExp): Promise<string[]> {
    return ((await this.ask('list')) as string[]).filter((name) => pattern.test(name));
  }

  async vm(): Promise<Vm> {
    await this.ask('files');
    const vm = await this.host.create({
      name: 'vm',
      memory: 64 * 2 ** 20,
      boot: { kernel: join(this.folder, 'kernel') },
      disks: [{ slot: 0, file: join(this.folder, 'disks/vm.vhdx'), format: 'vhdx' }],
    });
    await this.write(vm, 0, 'a');
    return vm;
  }
}

/** What went wrong, if anything did. */
function failure(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
}
const FULL = /no room|no space left/;

describe.skipIf(!unshare)(
  `a full disk of the host${unshare ? '' : ': skipped, a file system cannot be mounted in a namespace'}`,
  { timeout: 120_000 },
  () => {
    it.each(['held', 'state written', 'released', 'disks made', 'committed', 'reopened'])(
      "while a checkpoint is made, from '%s' on, leaves none or a whole one, and the VM running",
      async (step) => {
        const small = await SmallHost.start();
        const vm = await small.vm();
        await vm.start();
        await typed(vm, 'typed ', 'typed ');
        await small.ask('fillAt', step);
        const failed = await failure(vm.checkpoint('cut'));
        expect((await vm.refresh()).state).toBe('Running');
        expect(await typed(vm, 'on ', 'on ')).toContain('on ');
        const made = await vm.checkpoints();
        expect(made).toHaveLength(failed === undefined ? 1 : 0);
        if (failed !== undefined) {
          expect(failed).toMatch(FULL);
          expect(await small.files(/\.state/)).toEqual([]);
        }
        expect(await small.read(vm)).toBe('a.......');
        await small.check();
        await small.ask('free');
        if (made.length === 0) await vm.checkpoint('again');
        await small.write(vm, 0, 'x');
        await vm.apply((await vm.checkpoints())[0]!.id, { start: false });
        expect((await vm.refresh()).state).toBe('Saved');
        expect(await small.read(vm)).toBe('a.......');
        await small.check();
      },
    );

    it.each(['forgotten', 'released', 'merged', 'relinked', 'replaced'])(
      "while disks are merged, from '%s' on, leaves what they hold, and is made up for",
      async (step) => {
        const small = await SmallHost.start();
        const vm = await small.vm();
        await vm.checkpoint('first');
        // Blocks that the disk below has no place for yet: the merge has to make room.
        await small.write(vm, 1, 'bcdef');
        await vm.checkpoint('second');
        await small.write(vm, 1, 'g');
        await vm.start();
        await typed(vm, 'typed ', 'typed ');
        await small.ask('fillAt', step);
        const failed = await failure(vm.removeCheckpoint('first'));
        if (step === 'forgotten' || step === 'released') expect(failed).toMatch(FULL);
        expect((await vm.refresh()).state).toBe('Running');
        expect(await typed(vm, 'on ', 'on ')).toContain('on ');
        expect((await vm.checkpoints()).map(({ name }) => name)).toEqual(['second']);
        expect(await small.read(vm)).toBe('agcdef..');
        await small.check();
        await small.ask('free');
        // What was not merged is merged by the next service.
        await small.ask('restart');
        expect((await vm.refresh()).state).toBe('Running');
        expect(await small.files(/\/disks\/.*vhdx$/)).toHaveLength(1);
        expect(await small.read(vm)).toBe('agcdef..');
        await small.check();
        await vm.apply('second', { start: false });
        expect(await small.read(vm)).toBe('abcdef..');
      },
    );

    it.each(['disks made', 'committed'])("while a checkpoint is applied, from '%s' on", async (step) => {
      const small = await SmallHost.start();
      const vm = await small.vm();
      await vm.checkpoint('first');
      await small.write(vm, 1, 'b');
      await small.ask('fillAt', step);
      const failed = await failure(vm.apply('first', { start: false }));
      expect((await vm.refresh()).state).toBe('Off');
      expect(await small.read(vm)).toBe(failed !== undefined ? 'ab......' : 'a.......');
      await small.check();
    });

    it('is no reason not to know what becomes of VMs', async () => {
      const small = await SmallHost.start();
      const vm = await small.vm();
      await vm.start();
      await typed(vm, 'typed ', 'typed ');
      await small.ask('fill');
      // Changes of state are on record: there is room kept back for them.
      await vm.pause();
      await vm.resume();
      await vm.set({ notes: 'full' });
      await expect(vm.save()).rejects.toThrow(FULL);
      expect((await vm.refresh()).state).toBe('Running');
      await small.ask('restart');
      expect(await vm.refresh()).toMatchObject({ state: 'Running', configuration: { notes: 'full' } });
      process.kill(vm.info.worker!.pid, 'SIGKILL');
      for (let i = 0; (await vm.refresh()).state !== 'Off' && i < 200; i++) await new Promise((r) => setTimeout(r, 25));
      expect(vm.info).toMatchObject({ state: 'Off', lastExit: { kind: 'killed' } });
      // The service's own records have had what was kept back for them.
      await small.ask('fill');
      expect(await failure(vm.start())).toMatch(/^vm did not start: .*(no room|no space left)/);
      expect((await vm.refresh()).state).toBe('Off');
      await small.ask('free');
      await vm.start();
      expect((await vm.refresh()).state).toBe('Running');
      await small.check();
    });
  },
);
