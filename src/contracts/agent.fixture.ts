/** For tests: the agent of guests, run on this machine. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { EXEC_PORT } from './exec.ts';
import type { GuestStream } from './sockets.ts';

const AGENT = fileURLToPath(new URL('../../guest/agent/viridian-exec', import.meta.url));

/** Its pipes take the place of a connection. */
export function agentHere(): Promise<GuestStream> {
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
