import { describe, expect, it } from 'vitest';
import { findCommand } from '../host/node/command.ts';
import { agentHere as connect } from './agent.fixture.ts';
import { execInGuest } from './exec.ts';
import type { ExecControl } from './sockets.ts';

const perl = findCommand('perl');
const reason = perl === undefined ? ': skipped, there is no perl' : '';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

describe.skipIf(perl === undefined)(`a program run through the agent${reason}`, () => {
  it('gives its output, its errors and its exit code', async () => {
    const { code, stdout, stderr } = await execInGuest(connect, [
      'sh',
      '-c',
      'echo "$0|$1"; echo bad >&2; exit 3',
      'a b',
      "c'd",
    ]);
    expect([code, text(stdout), text(stderr)]).toEqual([3, "a b|c'd\n", 'bad\n']);
  });

  it('takes input, an environment and a folder', async () => {
    const stdin = new TextEncoder().encode('input');
    const result = await execInGuest(connect, ['sh', '-c', 'pwd; echo $NAME; cat'], {
      stdin,
      folder: '/usr',
      environment: { NAME: 'x=y' },
    });
    expect(text(result.stdout)).toBe('/usr\nx=y\ninput');
  });

  it('moves much in both directions at once', async () => {
    const stdin = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 2654435761) >>> 24);
    const parts: Uint8Array[] = [];
    const result = await execInGuest(connect, ['cat'], { stdin, onStdout: (part) => parts.push(part) });
    expect(result).toMatchObject({ code: 0, stdout: new Uint8Array() });
    expect(Buffer.compare(Buffer.concat(parts), stdin)).toBe(0);
  });

  it('says what ended it', async () => {
    expect((await execInGuest(connect, ['sh', '-c', 'kill -9 $$'])).code).toBe(137);
    const missing = await execInGuest(connect, ['/no/such/program']);
    expect([missing.code, text(missing.stderr)]).toEqual([127, '/no/such/program: No such file or directory\n']);
    const nowhere = await execInGuest(connect, ['true'], { folder: '/no/such' });
    expect([nowhere.code, text(nowhere.stderr)]).toEqual([
      126,
      'cannot change to /no/such: No such file or directory\n',
    ]);
  });

  it('has a terminal when asked for one, whose size follows', async () => {
    const parts: Uint8Array[] = [];
    const { promise: started, resolve: shown } = Promise.withResolvers<void>();
    async function* stdin(): AsyncGenerator<Uint8Array> {
      await started;
      yield new TextEncoder().encode('go\n');
    }
    let resize = (): void => undefined;
    const script = 'trap "stty size" WINCH; tty; stty size; read line || read line; echo "<$line>"; exit 5';
    const { code } = await execInGuest(connect, ['sh', '-c', script], {
      terminal: { rows: 30, columns: 100 },
      stdin: stdin(),
      onStart: (control) => {
        resize = () => control.resize({ rows: 31, columns: 101 });
      },
      onStdout: (part) => {
        parts.push(part);
        const all = text(Buffer.concat(parts));
        if (all.endsWith('30 100\r\n')) resize();
        if (all.includes('31 101')) shown();
      },
    });
    expect(code).toBe(5);
    expect(text(Buffer.concat(parts))).toMatch(/^\/dev\/pts\/\d+\r\n30 100\r\n31 101\r\n/);
    expect(text(Buffer.concat(parts))).toContain('<go>\r\n');
  });

  it('is sent signals, with all that it started', async () => {
    const begun = (control: ExecControl) => (part: Uint8Array) => {
      if (text(part) === 'begun\n') control.signal(15);
    };
    let listen: (part: Uint8Array) => void = () => undefined;
    const { code } = await execInGuest(connect, ['sh', '-c', 'sleep 1000 & echo begun; wait; wait'], {
      onStart: (control) => {
        listen = begun(control);
      },
      onStdout: (part) => listen(part),
    });
    expect(code).toBe(143);
  });

  it("is the login's shell where nothing is named", async () => {
    const stdin = new TextEncoder().encode('echo "$0|$SHELL"; exit 7\n');
    const { code, stdout } = await execInGuest(connect, [], { stdin, environment: { SHELL: '/bin/sh' } });
    expect([code, text(stdout)]).toEqual([7, '-sh|/bin/sh\n']);
  });

  it('may end before it has read its input', async () => {
    const stdin = new Uint8Array(1_000_000);
    expect(await execInGuest(connect, ['true'], { stdin })).toMatchObject({ code: 0 });
  });

  it('is cut off when its input fails, with what was wrong', async () => {
    async function* stdin(): AsyncGenerator<Uint8Array> {
      yield Uint8Array.of(1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      throw new Error('the disk is broken');
    }
    await expect(execInGuest(connect, ['cat'], { stdin: stdin() })).rejects.toThrow('the disk is broken');
  });

  it('is refused where it cannot be told', async () => {
    await expect(execInGuest(connect, ['a\0b'])).rejects.toMatchObject({ code: 'invalid' });
  });
});
