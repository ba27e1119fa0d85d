import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { GuestStream } from '../contracts/sockets.ts';
import { findCommand } from '../host/node/command.ts';
import { EXEC_PORT, execInGuest } from './exec.ts';

const AGENT = fileURLToPath(new URL('../../guest/agent/viridian-exec', import.meta.url));
const perl = findCommand('perl');
const reason = perl === undefined ? ': skipped, there is no perl' : '';

/** The agent on this machine, on pipes in place of a connection. */
function connect(): Promise<GuestStream> {
  const agent = spawn('perl', [AGENT], { stdio: ['pipe', 'pipe', 'inherit'] });
  agent.stdin.on('error', () => undefined);
  const output = agent.stdout[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const read = async (): Promise<Uint8Array | undefined> => {
    const { value, done } = await output.next();
    return done === true ? undefined : value;
  };
  return Promise.resolve({
    port: EXEC_PORT,
    read,
    write: (bytes) =>
      new Promise((resolve, reject) => agent.stdin.write(bytes, (error) => (error ? reject(error) : resolve()))),
    end: () => agent.stdin.end(),
    destroy: () => agent.stdin.end(),
    closed: new Promise((resolve) => agent.on('close', () => resolve('ended'))),
    async *[Symbol.asyncIterator]() {
      for (let bytes = await read(); bytes; bytes = await read()) yield bytes;
    },
  });
}

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

  it('may end before it has read its input', async () => {
    const stdin = new Uint8Array(1_000_000);
    expect(await execInGuest(connect, ['true'], { stdin })).toMatchObject({ code: 0 });
  });

  it('is refused where it is none', async () => {
    await expect(execInGuest(connect, [])).rejects.toMatchObject({ code: 'invalid' });
    await expect(execInGuest(connect, ['a\0b'])).rejects.toMatchObject({ code: 'invalid' });
  });
});
