/** The service and workers killed between the steps of checkpoints and merges. Workers only pretend; disks are real ones. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Vm } from '../client/index.ts';
import { active, filesOf, fill, letters, typed, vmWithDisk } from './disks.fixture.ts';
import { Service } from './service.ts';
import { type TestHost, testHost } from './testing.fixture.ts';

describe('a service that is killed', { timeout: 120_000 }, () => {
  const STEPS = [
    'copied',
    'held',
    'state written',
    'released',
    'disks made',
    'committed',
    'reopened',
    'state finished',
  ];
  const MERGING = ['forgotten', 'merged', 'relinked', 'replaced'];

  /** Runs a service of its own process that kills itself at a step of what it is asked for; then another one. */
  async function killedAt(step: string, action: 'create' | 'remove' | 'apply'): Promise<{ own: TestHost; vm: Vm }> {
    const own = await testHost();
    const { vm } = await vmWithDisk(own, 'vm');
    await fill(await active(vm), 0, 'a');
    if (action !== 'create') {
      await vm.checkpoint('first');
      await fill(await active(vm), 1, 'b');
      await vm.checkpoint('second');
      await fill(await active(vm), 2, 'c');
    }
    await vm.start();
    await typed(vm, 'typed ', 'typed ');
    await own.service.stop();
    const program = fileURLToPath(new URL('killed-service.fixture.ts', import.meta.url));
    const child = spawn(process.execPath, [program, JSON.stringify({ ...own.options, facts: undefined, step })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const ended = new Promise<NodeJS.Signals | null>((resolve) =>
      child.once('exit', (_code, signal) => resolve(signal)),
    );
    const asked = {
      create: () => vm.checkpoint('cut'),
      remove: () => vm.removeCheckpoint('first'),
      apply: () => vm.apply('first'),
    };
    await asked[action]().catch(() => {});
    child.kill('SIGTERM');
    expect(await ended).toBe('SIGKILL');
    own.service = (await Service.start(own.options)).service;
    return { own, vm };
  }

  it.each(STEPS)(
    "while it makes a checkpoint, at '%s', leaves none or a whole one, and the VM running",
    async (step) => {
      const { own, vm } = await killedAt(step, 'create');
      const made = await vm.checkpoints();
      expect(made).toHaveLength(STEPS.indexOf(step) < STEPS.indexOf('committed') ? 0 : 1);
      expect((await vm.refresh()).state).toBe('Running');
      expect(await typed(vm, 'on ', 'on ')).toContain('on ');
      expect(await letters(await active(vm))).toBe('a.....');
      if (made.length === 1) {
        await fill(await active(vm), 0, 'x');
        await vm.apply(made[0]!.id);
        expect(await typed(vm, '!state', '>')).toContain('<typed !state>');
        expect(await letters(await active(vm))).toBe('a.....');
      } else expect(filesOf(own, vm)).toEqual([]);
      await vm.stop({ turnOff: true });
      await own.service.stop();
    },
  );

  it.each(MERGING)("while it merges, at '%s', leaves the disks as they were", async (step) => {
    const { own, vm } = await killedAt(step, 'remove');
    expect((await vm.checkpoints()).map(({ name }) => name)).toEqual(['second']);
    expect((await vm.refresh()).state).toBe('Running');
    expect(await letters(await active(vm))).toBe('abc...');
    expect(filesOf(own, vm)).toHaveLength(1);
    await vm.apply('second', { start: false });
    await vm.discardSavedState().catch(() => {});
    expect(await letters(await active(vm))).toBe('ab....');
    await vm.remove();
    await own.service.stop();
  });

  it.each(['disks made', 'committed'])(
    "while it goes back, at '%s', leaves the VM before or after it",
    async (step) => {
      const { own, vm } = await killedAt(step, 'apply');
      expect((await vm.refresh()).state).toBe('Off');
      expect(await letters(await active(vm))).toBe(step === 'committed' ? 'a.....' : 'abc...');
      await vm.remove();
      await own.service.stop();
    },
  );
});

it('a worker that is killed while a checkpoint is made leaves none or a whole one', async () => {
  for (const step of ['copied', 'released', 'committed', 'reopened', 'state finished']) {
    let kill = (): void => {};
    const own = await testHost({ step: (name) => name === step && kill() });
    const { vm } = await vmWithDisk(own, 'vm');
    await fill(await active(vm), 0, 'a');
    await vm.start();
    const { pid } = (await vm.refresh()).worker!;
    kill = () => process.kill(pid, 'SIGKILL');
    await vm.checkpoint('cut').catch(() => {});
    for (let i = 0; (await vm.refresh()).worker !== null && i < 200; i++) await new Promise((r) => setTimeout(r, 25));
    expect(['Off', 'Saved']).toContain(vm.info.state);
    const made = await vm.checkpoints();
    // Only what was written is there.
    expect(made).toHaveLength(step === 'state finished' ? 1 : 0);
    for (const each of made)
      expect(existsSync(join(own.folder, 'data/vms', vm.id, 'checkpoints', `${each.id}.state`))).toBe(true);
    expect(await letters(await active(vm))).toBe('a.....');
    expect(filesOf(own, vm)).toHaveLength(made.length * 2);
    await own.service.stop();
  }
});
