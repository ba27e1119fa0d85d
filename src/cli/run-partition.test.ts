import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findCommand } from '../host/node/command.ts';

const fixture = fileURLToPath(new URL('fixtures/fake-partition.ts', import.meta.url));
const READY = 'ready\n';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viridian-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the fixture; each step of `script` is done when the text it waits for has appeared on stdout or stderr. */
async function runFake(
  request: object,
  script: readonly { readonly after: string; readonly type?: string; readonly signal?: NodeJS.Signals }[],
  command: readonly [string, ...string[]] = [process.execPath, fixture, JSON.stringify(request)],
): Promise<Outcome> {
  const child = spawn(command[0], command.slice(1), { cwd: folder });
  let [stdout, stderr] = ['', ''];
  let seen = 0;
  const steps = [...script];
  const advance = (): void => {
    for (let step = steps[0]; step !== undefined && (stdout + stderr).indexOf(step.after, seen) >= 0; step = steps[0]) {
      seen = (stdout + stderr).indexOf(step.after, seen);
      steps.shift();
      if (step.type !== undefined) child.stdin.write(step.type, 'latin1');
      else if (step.signal !== undefined) child.kill(step.signal);
      else child.stdin.end();
    }
  };
  child.stdout.setEncoding('latin1').on('data', (text: string) => {
    stdout += text;
    advance();
  });
  child.stderr.setEncoding('latin1').on('data', (text: string) => {
    stderr += text;
    advance();
  });
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.on('close', resolve);
  child.stdin.on('error', () => {});
  return { code: await promise, stdout, stderr };
}

describe('runPartition', () => {
  it.each([
    ['O', 0, ''],
    ['R', 10, 'hv: the guest asked for a restart\n'],
    ['T', 8, 'hv: triple fault on processor 1\n  rip  0xfff0\n'],
    ['C', 9, 'hv: the guest crashed: 0x1 0x2a\nKernel panic - not syncing: no init\n'],
    ['E', 0x35, ''],
    ['F', 1, 'hv: the partition failed: out of luck\n'],
    ['I', 0, ''],
    ['D', 11, 'hv: the engines differ after instruction 7\n'],
  ])('ending %s exits with %i', async (letter, code, stderr) => {
    const outcome = await runFake({}, [{ after: READY, type: letter }]);
    expect(outcome).toEqual({ code, stdout: `${READY}${letter.charCodeAt(0).toString(16)} `, stderr });
  });

  it('passes every byte both ways, and does not end at the end of the input', async () => {
    const bytes = Array.from({ length: 256 }, (_, byte) => byte).filter(
      (byte) => !'ORTCEFIDXK'.includes(String.fromCharCode(byte)),
    );
    const input = String.fromCharCode(...bytes);
    const echoed = bytes.map((byte) => `${byte.toString(16).padStart(2, '0')} `).join('');
    const outcome = await runFake({}, [
      { after: READY, type: input },
      { after: 'ff ' },
      { after: 'ff ', signal: 'SIGUSR2' },
      { after: 'rip', signal: 'SIGTERM' },
    ]);
    expect(outcome).toMatchObject({ code: 143, stdout: READY + echoed });
    expect(outcome.stderr).toMatch(/hv: terminated\n$/);
  });

  it('ends by --timeout with 6', async () => {
    const outcome = await runFake({ timeoutSeconds: 0.05 }, []);
    expect(outcome).toEqual({ code: 6, stdout: READY, stderr: 'hv: stopped after the 0.05 seconds of --timeout\n' });
  });

  it('ends by SIGINT with 130', async () => {
    expect((await runFake({}, [{ after: READY, signal: 'SIGINT' }])).code).toBe(130);
  });

  it('saves when it is ended from outside', async () => {
    const save = join(folder, 'state');
    const outcome = await runFake({ save }, [
      { after: READY, type: 'abc' },
      { after: '63 ', signal: 'SIGTERM' },
    ]);
    expect(outcome.code).toBe(0);
    expect(outcome.stderr).toContain(`hv run --restore ${save}`);
    expect(readFileSync(save, 'latin1')).toBe('state 3');
  });

  it('saves at the instruction limit', async () => {
    const save = join(folder, 'limit');
    expect((await runFake({ save }, [{ after: READY, type: 'I' }])).code).toBe(0);
    expect(readFileSync(save, 'latin1')).toBe('state 1');
  });

  it('shows digests where the partition stands still', async () => {
    const text = 'hv: at 1 instructions\n  registers r\n  memory    m\n  devices   d\n';
    expect((await runFake({ hash: true }, [{ after: READY, type: 'I' }])).stderr).toBe(text);
    const outcome = await runFake({ hash: true }, [
      { after: READY, type: 'a' },
      { after: '61 ', signal: 'SIGTERM' },
    ]);
    expect(outcome).toMatchObject({ code: 143, stderr: `${text}hv: terminated\n` });
  });

  it('says so when there is nothing left to save', async () => {
    const outcome = await runFake({ save: join(folder, 'none') }, [{ after: READY, type: 'O' }]);
    expect(outcome.stderr).toBe('hv: nothing saved: the guest had ended\n');
  });

  it('reports a saved state that cannot be written', async () => {
    const outcome = await runFake({ save: join(folder, 'no', 'where') }, [{ after: READY, signal: 'SIGTERM' }]);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain('no/where: no such file');
  });

  it('shows trace, state and statistics on stderr', async () => {
    const outcome = await runFake({ trace: true, stats: true, inspect: true }, [
      { after: READY, signal: 'SIGUSR2' },
      { after: 'rip', type: 'O' },
    ]);
    expect(outcome.stdout).toBe(`${READY}4f `);
    expect(outcome.stderr).toContain('processor0:\n  rip     0x1000\n  halted  true\nname  fake\n');
    expect(outcome.stderr).toContain('[0] 1 port in 0x3f8 79\n');
    expect(outcome.stderr).toMatch(/hv: 1 instructions in [\d.]+ s, busy 2.00 s, 0.0 MIPS\n {2}exits 3\n/);
  });
});

/** util-linux's `script` gives the command a terminal of its own; `stty` before and after shows its mode. */
const script = findCommand('script');

describe.skipIf(script === undefined)('runPartition on a terminal (needs the command script)', () => {
  async function onTerminal(
    steps: readonly { after: string; type?: string; signal?: NodeJS.Signals }[],
  ): Promise<Outcome & { before: string; behind: string; code: number }> {
    const command = `'${process.execPath}' '${fixture}' '{}'`;
    const shell = `echo "before=$(stty -g)"; ${command}; echo "code=$?"; echo "behind=$(stty -g)"`;
    const outcome = await runFake({}, steps, [script!, '-qec', shell, '/dev/null']);
    const find = (name: string): string => new RegExp(`${name}=(\\S+)`).exec(outcome.stdout)?.[1] ?? '';
    return { ...outcome, before: find('before'), behind: find('behind'), code: Number(find('code')) };
  }

  it('gives every key to the guest but Ctrl-], and leaves by Ctrl-] q', async () => {
    const outcome = await onTerminal([
      { after: 'ready', type: '\x03\x1a\x04\x1c\r' },
      { after: '03 1a 04 1c 0d ', type: '\x1d\x1dz' },
      { after: '1d 7a ', type: '\x1dq' },
    ]);
    expect(outcome.code).toBe(130);
    expect(outcome.stdout).toContain('hv: the console is yours: Ctrl-] q leaves');
    expect(outcome.stdout).toContain('03 1a 04 1c 0d 1d 7a');
    expect(outcome.stdout).toContain('\nhv: turned off');
    expect(outcome.before).not.toBe('');
    expect(outcome.behind).toBe(outcome.before);
  });

  it('shows the state and the keys', async () => {
    const outcome = await onTerminal([
      { after: 'ready', type: '\x1di' },
      { after: 'rip', type: '\x1d?' },
      { after: 'turn the partition off', type: 'O' },
    ]);
    expect(outcome.code).toBe(0);
  });

  it('saves the screen, pauses and resumes', async () => {
    const outcome = await onTerminal([
      { after: 'ready', type: '\x1ds' },
      { after: '.png', type: '\x1dp' },
      { after: 'hv: paused', type: '\x1dr' },
      { after: 'resumed ', type: 'O' },
    ]);
    const file = /hv: the screen is in (viridian-[\d-]+\.png)/.exec(outcome.stdout)?.[1] ?? '';
    expect(readFileSync(join(folder, file), 'latin1')).toBe('a picture');
    expect(outcome.code).toBe(0);
  });

  it('gives the terminal back after a defect', async () => {
    const outcome = await onTerminal([{ after: 'ready', type: 'X' }]);
    expect(outcome.code).not.toBe(0);
    expect(outcome.stdout).toContain('a defect');
    expect(outcome.behind).toBe(outcome.before);
  });

  it('gives the terminal back after SIGTERM', async () => {
    const outcome = await onTerminal([{ after: 'ready', type: 'K' }]);
    expect(outcome.code).toBe(143);
    expect(outcome.behind).toBe(outcome.before);
  });
});
