/** What serving the web console promises: its headers, its links, who is refused. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { VmGauges } from '../../contracts/api/resources.ts';
import { filesIn } from '../../host/node/program.ts';
import { type TestHost, testHost } from '../testing.fixture.ts';
import { LINK_LIFE, Links } from './links.ts';

const pages = mkdtempSync(join(tmpdir(), 'vir-pages-'));
let test: TestHost;
beforeAll(async () => {
  mkdirSync(join(pages, 'assets'));
  writeFileSync(join(pages, 'index.html'), '<!doctype html><title>page</title>');
  writeFileSync(join(pages, 'assets/main.js'), '0');
  test = await testHost({ tcp: { host: '127.0.0.1', port: 0 }, pages: filesIn(pages) });
});
afterAll(() => rmSync(pages, { recursive: true, force: true }));

const url = (path: string): string => `http://127.0.0.1:${test.port}${path}`;
const API = '/api/v1';

function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url(API + path), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

async function link(role = 'administrator'): Promise<string> {
  const made = await test.host.transport.call('createSignInLink', { body: { role: role as 'viewer' } });
  expect(made.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/#code=vil_[\w-]{43}$/);
  return made.url.split('=')[1]!;
}

async function signIn(role: string): Promise<string> {
  const answer = await post('/session', { token: await link(role) });
  expect(answer.status).toBe(204);
  const cookie = answer.headers.get('set-cookie')!;
  expect(cookie).toMatch(/^viridian-session=vis_[^;]+; Path=\/; HttpOnly; SameSite=Strict$/);
  return cookie.split(';')[0]!;
}

describe('pages', () => {
  it.each(['/', '/vms/one/console', '/assets/main.js'])('%s forbids inline script and other origins', async (path) => {
    const answer = await fetch(url(path));
    expect(answer.status).toBe(200);
    const policy = answer.headers.get('content-security-policy')!;
    expect(policy).toContain("default-src 'self'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/script-src|unsafe-eval/);
    expect(policy.replace("style-src 'self' 'unsafe-inline'", '')).not.toContain('unsafe-inline');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  });
  it('go over the wire packed, and those that never change are asked for once', async () => {
    const script = `// ${'x'.repeat(5000)}`;
    writeFileSync(join(pages, 'assets/large-1234.js'), script);
    const ask = async (encoding: string) =>
      await fetch(url('/assets/large-1234.js'), { headers: { 'accept-encoding': encoding } });
    const packed = await ask('gzip, br');
    expect(packed.headers.get('content-encoding')).toBe('gzip');
    expect(Number(packed.headers.get('content-length'))).toBeLessThan(500);
    expect(packed.headers.get('cache-control')).toContain('immutable');
    expect(await packed.text()).toBe(script);
    for (const none of ['identity', 'gzip;q=0']) {
      const plain = await ask(none);
      expect(plain.headers.get('content-encoding')).toBeNull();
      expect(await plain.text()).toBe(script);
    }
    expect((await fetch(url('/'))).headers.get('cache-control')).toBe('no-cache');
  });
  it.each(['/assets/none.js', '/..%2fviridian.db', '/api/v1/nothing'])('%s is not there', async (path) => {
    const answer = await fetch(url(path));
    expect(await answer.text()).not.toContain('SQLite');
    if (path !== '/..%2fviridian.db') expect(answer.status).toBe(404);
  });
});

describe('links', () => {
  it('sign in once, with the role they were made for', async () => {
    const code = await link('viewer');
    const first = await post('/session', { token: code });
    expect(first.status).toBe(204);
    expect((await post('/session', { token: code })).status).toBe(403);
    const cookie = first.headers.get('set-cookie')!.split(';')[0]!;
    const session = (await (await fetch(url(`${API}/session`), { headers: { cookie } })).json()) as object;
    expect(session).toMatchObject({ role: 'viewer' });
    expect((await post('/vms', { name: 'x' }, { cookie })).status).toBe(403);
  });
  it('are made by administrators only', async () => {
    const cookie = await signIn('operator');
    expect((await post('/session/link', {}, { cookie })).status).toBe(403);
    expect((await post('/session/link', {})).status).toBe(401);
  });
  it('forged or changed ones do not count', async () => {
    const cookie = await signIn('viewer');
    const known = async (value: string) => (await fetch(url(`${API}/session`), { headers: { cookie: value } })).status;
    expect(await known(cookie)).toBe(200);
    const [body, signature] = cookie.replace('viridian-session=vis_', '').split('.') as [string, string];
    const forged = Buffer.from(Buffer.from(body, 'base64url').toString().replace('viewer', 'administrator'));
    expect(await known(`viridian-session=vis_${forged.toString('base64url')}.${signature}`)).toBe(401);
    expect(await known(`viridian-session=vis_${body}`)).toBe(401);
    expect(await known('viridian-session=vis_.')).toBe(401);
  });
  it('have their times, and outlive the service', () => {
    let now = 0;
    const kept = new Map<string, string>();
    const settings = {
      get: (name: string) => kept.get(name),
      set: (name: string, value: string) => void kept.set(name, value),
    };
    const links = new Links(settings, () => now);
    const caller = { name: 'local', role: 'viewer', vms: ['a'] } as const;
    const late = links.make(caller).code;
    const session = links.exchange(links.make(caller).code)!;
    now = LINK_LIFE;
    expect(links.exchange(late)).toBeUndefined();
    expect(new Links(settings, () => now).find(session)).toEqual(caller);
    now = 12 * 3_600_000;
    expect(links.find(session)).toBeUndefined();
  });
});

describe('other sites', () => {
  it('a page of theirs, or a name of theirs, is refused', async () => {
    const cookie = await signIn('administrator');
    expect((await post('/vms', { name: 'x' }, { cookie, origin: 'http://evil.example' })).status).toBe(403);
    expect((await post('/vms', { name: 'x' }, { cookie, origin: 'null' })).status).toBe(403);
    // No JSON: what a form can send.
    const form = await fetch(url(`${API}/vms`), {
      method: 'POST',
      headers: { cookie, 'content-type': 'text/plain' },
      body: '{"name":"x"}',
    });
    expect(form.status).toBe(400);
  });
  it('a name that is not the service’s is refused, whoever asks', async () => {
    const cookie = await signIn('administrator');
    const status = async (host: string, path: string): Promise<number | undefined> => {
      const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
      const asked = get(url(path), { headers: { host, cookie } }, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      });
      asked.on('error', reject);
      return await promise;
    };
    for (const path of [`${API}/vms`, '/', '/assets/main.js']) {
      expect(await status(`127.0.0.1:${test.port}`, path)).toBe(200);
      // What a name of theirs that leads here (DNS rebinding) looks like.
      expect(await status(`evil.example:${test.port}`, path)).toBe(403);
      expect(await status('127.0.0.1:1', path)).toBe(403);
    }
  });
  it.each([
    ['origin', 'http://evil.example'],
    ['host', 'evil.example'],
  ])('a WebSocket with a foreign %s is refused', async (header, value) => {
    const cookie = await signIn('administrator');
    const socket = new WebSocket(url(`${API}/events/stream`).replace('http', 'ws'), {
      headers: { cookie, [header]: value },
    });
    const { promise, resolve } = Promise.withResolvers<string>();
    socket.on('error', (error) => resolve(error.message));
    socket.on('open', () => resolve('open'));
    expect(await promise).toContain('403');
  });
});

it('followers of events are told the figures of running VMs when they ask for it', async () => {
  const vm = await test.vm('gauged');
  await vm.start();
  const socket = new WebSocket(url(`${API}/events/stream?gauges=true`).replace('http', 'ws'), {
    headers: { cookie: await signIn('viewer') },
  });
  const { promise, resolve } = Promise.withResolvers<VmGauges>();
  socket.on('message', (data) => {
    const message = JSON.parse((data as Buffer).toString('utf8')) as { gauges?: VmGauges };
    if (message.gauges) resolve(message.gauges);
  });
  const told = await promise;
  expect(told).toMatchObject({ vm: vm.id, heartbeat: 'OK' });
  expect(told.metrics.instructions).toBe(5);
  socket.close();
});
