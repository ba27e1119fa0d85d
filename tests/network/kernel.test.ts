import { spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cachedFiles, DebianPackages } from '../../src/cli/quickstart/debian.ts';
import { cacheFolder } from '../../src/host/node/folders.ts';

const SCENARIOS = fileURLToPath(new URL('./scenarios.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'viridian-network-'));
const results = new Map<string, unknown>();
let reason: string | undefined;
let complaints = '';

/** Why this host cannot have a guest of its own kernel's; undefined: it can. */
async function obstacle(): Promise<string | undefined> {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'no /dev/net/tun here';
  }
  const status = await new Promise((resolve) => {
    spawn('unshare', ['-rn', 'ip', 'link', 'set', 'lo', 'up']).on('close', resolve).on('error', resolve);
  });
  return status === 0 ? undefined : 'no user namespaces here';
}

async function busybox(): Promise<string> {
  const file = cachedFiles(cacheFolder())?.busybox ?? (await new DebianPackages(cacheFolder()).fetch('busybox'));
  return file.path;
}

beforeAll(async () => {
  reason = await obstacle();
  if (reason !== undefined) return;
  let program: string;
  try {
    program = await busybox();
  } catch (error) {
    reason = `no busybox here: ${error instanceof Error ? error.message : String(error)}`;
    return;
  }
  await new Promise<void>((resolve) => {
    const child = spawn('unshare', ['-rn', process.execPath, '--no-warnings', SCENARIOS, program, folder]);
    let text = '';
    child.stdout.on('data', (data: Buffer) => (text += data.toString()));
    child.stderr.on('data', (data: Buffer) => (complaints += data.toString()));
    child.on('close', () => {
      for (const line of text.split('\n').filter(Boolean)) {
        const { name, result } = JSON.parse(line) as { name: string; result: unknown };
        results.set(name, result);
      }
      resolve();
    });
  });
}, 240_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('Linux as a guest of the NAT network, on a TAP device', () => {
  it.for<[string, unknown]>([
    ['dhcp', '172.30.0.10/24 172.30.0.1 172.30.0.1 viridian.internal web 1500 [0]'],
    ['ping gateway', '3 packets transmitted, 3 packets received, 0% packet loss [0]'],
    ['ping gateway, large', '2 packets transmitted, 2 packets received, 0% packet loss [0]'],
    ['dns', 'Address: 172.30.0.1 [0]'],
    ['dns, forwarded', 'Address: 192.0.2.80 [0]'],
    ['refused', expect.stringContaining('Connection refused')],
    ['prohibited', expect.stringMatching(/No route to host|unreachable/)],
    ['host service', 'of the host [0]'],
    ['udp 100', '100 [0]'],
    ['udp 9000', '9000 [0]'],
    ['download', true],
    ['upload', true],
    ['large frames', true],
    ['forward', true],
    ['troubled upload', true],
    ['troubled download', true],
    ['checksum errors', 0],
    ['left', { connections: 0, heldBytes: 0, retransmitted: expect.any(Number) }],
    ['repairs', true],
  ])('%s', ([name, expected], { skip }) => {
    if (reason !== undefined) skip(reason);
    expect(results.get(name), complaints).toEqual(expected);
  });

  it('ping outside', ({ skip }) => {
    const result = results.get('ping outside');
    if (reason !== undefined || result === 'not allowed here')
      skip(reason ?? 'the host lets nobody send echo requests');
    expect(result, complaints).toBe('2 packets transmitted, 2 packets received, 0% packet loss [0]');
  });
});
