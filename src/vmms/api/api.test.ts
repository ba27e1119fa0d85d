import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { connect as connectTo } from '../../client/index.ts';
import { OPERATIONS } from '../../contracts/api/operations.ts';
import { API_BASE, PATHS } from '../../contracts/api/paths.ts';
import type { Event } from '../../contracts/api/resources.ts';
import { findCommand, runCommand } from '../../host/node/command.ts';
import { Service } from '../service.ts';
import { type TestHost, testHost, until } from '../testing.fixture.ts';

const openssl = findCommand('openssl');
const validator = findCommand('openapi-spec-validator');
let test: TestHost;
beforeAll(async () => {
  // The worker that only pretends runs programs, which a worker may not.
  vi.stubEnv('VIRIDIAN_ISOLATION', 'off');
  test = await testHost({ tcp: { host: '127.0.0.1', port: 0, allowHosts: ['vm.example:443'] } });
});

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  readonly json: unknown;
}

/** A request as anybody could make it. */
async function ask(
  method: string,
  path: string,
  options: { headers?: Record<string, string>; body?: string; tcp?: boolean } = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const where = options.tcp ? { host: '127.0.0.1', port: test.port } : { socketPath: test.options.socket };
  const headers = { 'content-type': 'application/json', ...options.headers };
  const sent = request({ ...where, method, path, headers, agent: false }, (answer) => {
    let body = '';
    answer.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    answer.on('end', () => {
      const json: unknown = /json/.test(answer.headers['content-type'] ?? '') ? JSON.parse(body) : undefined;
      resolve({ status: answer.statusCode!, headers: answer.headers, body, json });
    });
  });
  sent.on('error', reject);
  sent.end(options.body);
  return await promise;
}

describe('requests', () => {
  it.each<[string, string, string | undefined, number, string]>([
    ['POST', '/vms', '{', 400, 'the body is no JSON'],
    ['POST', '/vms', '[]', 400, 'body: invalid input: expected object, received array'],
    ['POST', '/vms', '{}', 400, 'name: invalid input: expected string, received undefined'],
    ['POST', '/vms', '{"name":"../x"}', 400, 'name: must start with a letter or digit and have letters'],
    ['POST', '/vms', '{"name":"a","memory":"1G"}', 400, 'memory: invalid input: expected number'],
    ['POST', '/vms', '{"name":"a","memory":4097}', 400, 'memory'],
    ['POST', '/vms', '{"name":"a","frobnicate":1}', 400, 'unrecognized key: "frobnicate"'],
    ['POST', '/vms', '{"name":"a","boot":{"kernel":"../etc/passwd"}}', 400, 'boot.kernel: must be an absolute path'],
    ['POST', '/vms', '{"name":"a","boot":{"kernel":"/nowhere"}}', 404, '/nowhere: no such file'],
    ['POST', '/vms', '{"name":"a","disks":[{"slot":99,"file":"/x"}]}', 400, 'disks[0].slot: too big'],
    ['POST', '/vms', '{"name":"a","nics":[{"id":"n","switch":"lan"}]}', 404, "there is no switch 'lan'"],
    ['GET', '/vms/nobody', undefined, 404, "there is no virtual machine 'nobody'"],
    ['GET', '/vms/..%2f..%2fetc%2fpasswd', undefined, 404, "there is no virtual machine '../../etc/passwd'"],
    ['GET', `/vms/${'x'.repeat(500)}`, undefined, 400, 'vm: too big'],
    ['GET', '/jobs/1', undefined, 400, 'job: must be an id'],
    ['GET', '/events?after=x', undefined, 400, 'query: after'],
    ['GET', '/events?frobnicate=1', undefined, 400, 'query: unrecognized key'],
    ['PATCH', '/host', '{"edition":"Home"}', 400, 'edition: invalid option'],
    ['GET', '/nothing', undefined, 404, 'there is no GET /api/v1/nothing'],
    ['TRACE', '/vms', undefined, 404, 'there is no TRACE'],
  ])('%s %s %s: %i', async (method, path, body, status, message) => {
    const answer = await ask(method, API_BASE + path, body === undefined ? {} : { body });
    expect(answer.json).toMatchObject({ error: { message: expect.stringContaining(message) as string } });
    expect(answer.status).toBe(status);
  });

  it('of every operation are refused when they make no sense, and none is a defect', async () => {
    const BODIES = [
      '[]',
      'null',
      '7',
      '"x"',
      '{"__proto__":{"x":1}}',
      '{"frobnicate":{}}',
      '['.repeat(50_000),
      '\0',
      '{',
    ];
    const VALUES = ['..%2f..%2fetc%2fpasswd', '%00', '%ff', 'x'.repeat(300), '-1', '*', '%7B%7D'];
    for (const [name, [method, path]] of Object.entries(PATHS)) {
      for (const [i, value] of VALUES.entries()) {
        const filled = path.replaceAll(/\{\w+\}/g, value);
        const body = method === 'get' || method === 'delete' ? undefined : BODIES[i % BODIES.length];
        // Those that end a session or a service need nothing to be asked for.
        if (filled === path && (body === undefined || name === 'closeSession')) continue;
        const { status, json } = await ask(method.toUpperCase(), API_BASE + filled, body === undefined ? {} : { body });
        expect([400, 404], `${method} ${filled} ${body?.slice(0, 40)}`).toContain(status);
        expect(json).toMatchObject({ error: { message: expect.any(String) as string } });
      }
      const { body } = OPERATIONS[name as keyof typeof OPERATIONS] as { body?: unknown };
      if (body === undefined) continue;
      for (const each of BODIES) {
        const { status } = await ask(method.toUpperCase(), API_BASE + path.replaceAll(/\{\w+\}/g, '1'), { body: each });
        expect([400, 404], `${name} ${each.slice(0, 40)}`).toContain(status);
      }
    }
    expect((await ask('GET', `${API_BASE}/version`)).status).toBe(200);
  });

  it('must say that they are JSON, and not be too long', async () => {
    const plain = await ask('POST', `${API_BASE}/vms`, { body: '{}', headers: { 'content-type': 'text/plain' } });
    expect(plain).toMatchObject({ status: 400, json: { error: { message: 'the body must be application/json' } } });
    const long = await ask('POST', `${API_BASE}/vms`, { body: `{"name":"${'x'.repeat(2 ** 20)}"}` }).catch(
      () => undefined,
    );
    // The server may close before it has taken all of it.
    if (long) expect(long.status).toBe(400);
    expect((await ask('GET', `${API_BASE}/version`)).status).toBe(200);
  });

  it('change a configuration only as it was seen', async () => {
    const vm = await test.vm('tagged');
    const path = `${API_BASE}/vms/tagged`;
    const got = await ask('GET', path);
    expect(got.headers.etag).toBe('"1"');
    expect((await ask('GET', path, { headers: { 'if-none-match': '"1"' } })).status).toBe(304);
    const change = (etag: string, notes: string) =>
      ask('PATCH', path, { headers: { 'if-match': etag }, body: JSON.stringify({ notes }) });
    expect(await change('"1"', 'one')).toMatchObject({ status: 200, headers: { etag: '"2"' } });
    expect(await change('"1"', 'two')).toMatchObject({
      status: 412,
      json: { error: { message: 'tagged has been changed meanwhile (revision 2, not 1): look at it again' } },
    });
    await expect(vm.set({ notes: 'three' })).rejects.toThrow('changed meanwhile');
    expect((await vm.refresh()).configuration.notes).toBe('one');
  });
});

describe('the OpenAPI document', () => {
  it('has every operation, and every schema that it names', async () => {
    const { json } = await ask('GET', `${API_BASE}/openapi.json`);
    const document = json as {
      openapi: string;
      paths: Record<string, Record<string, { operationId: string; responses: object }>>;
      components: { schemas: Record<string, unknown> };
    };
    expect(document.openapi).toBe('3.1.0');
    for (const [name, [method, path]] of Object.entries(PATHS))
      expect(document.paths[API_BASE + path]?.[method]?.operationId).toBe(name);
    expect(Object.values(document.paths).flatMap((path) => Object.keys(path))).toHaveLength(
      Object.keys(OPERATIONS).length,
    );
    const named = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name!);
    expect(named.filter((name) => !(name in document.components.schemas))).toEqual([]);
    expect(Object.keys(document.components.schemas)).toEqual(
      expect.arrayContaining(['Vm', 'VmConfiguration', 'Job', 'Event', 'Checkpoint', 'Error']),
    );
  });

  it.skipIf(validator === undefined)(
    `is valid to somebody else's validator${validator ? '' : ': skipped, openapi-spec-validator (PyPI) not found'}`,
    async () => {
      const file = join(test.folder, 'openapi.json');
      const check = async (document: object) => {
        writeFileSync(file, JSON.stringify(document));
        return (await runCommand(validator!, ['--schema', '3.1', file])).code;
      };
      const { json } = await ask('GET', `${API_BASE}/openapi.json`);
      expect(await check(json as object)).toBe(0);
      // It does look.
      const { paths } = json as { paths: object };
      expect(await check({ ...(json as object), paths: { ...paths, '/x': { get: { responses: 1 } } } })).not.toBe(0);
    },
  );
});

describe('over TCP', () => {
  const host = (): string => `127.0.0.1:${test.port}`;
  const as = (secret: string, more: Record<string, string> = {}) => ({
    tcp: true,
    headers: { host: host(), authorization: `Bearer ${secret}`, ...more },
  });

  it('nobody is served without a token, or with a wrong one', async () => {
    const none = await ask('GET', `${API_BASE}/vms`, { tcp: true, headers: { host: host() } });
    expect(none).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Bearer realm="viridian"' } });
    expect((await ask('GET', `${API_BASE}/vms`, as('vir_wrong'))).status).toBe(401);
    expect((await ask('GET', '/metrics', { tcp: true, headers: { host: host() } })).status).toBe(401);
    expect((await ask('GET', `${API_BASE}/version`, { tcp: true, headers: { host: host() } })).status).toBe(200);
  });

  it('roles are kept, and VMs of others are not there', async () => {
    const mine = await test.vm('mine');
    await test.vm('theirs');
    const make = async (name: string, role: 'viewer' | 'operator', vms: string[] | null = null) =>
      (await test.host.transport.call('createToken', { body: { name, role, vms } })).secret;
    const viewer = await make('viewer', 'viewer');
    const limited = await make('limited', 'operator', [mine.id]);
    expect((await ask('GET', `${API_BASE}/vms`, as(viewer))).status).toBe(200);
    expect(await ask('POST', `${API_BASE}/vms/mine/start`, as(viewer))).toMatchObject({
      status: 403,
      json: { error: { code: 'denied', message: 'viewer is a viewer, and this needs the role operator' } },
    });
    expect((await ask('GET', `${API_BASE}/tokens`, as(limited))).status).toBe(403);
    const list = (await ask('GET', `${API_BASE}/vms`, as(limited))).json as { name: string }[];
    expect(list.map(({ name }) => name)).toEqual(['mine']);
    expect((await ask('GET', `${API_BASE}/vms/theirs`, as(limited))).status).toBe(404);
    const events = (await ask('GET', `${API_BASE}/events`, as(limited))).json as Event[];
    expect(new Set(events.map(({ vm }) => vm))).toEqual(new Set([mine.id]));
    expect((await ask('GET', '/metrics', as(limited))).body).not.toContain('theirs');
    const stream = new WebSocket(`ws://${host()}${API_BASE}/vms/theirs/console`, { headers: as(limited).headers });
    const [{ statusCode }] = await new Promise<[{ statusCode: number }]>((resolve) => {
      stream.on('unexpected-response', (_request, answer) => resolve([answer as { statusCode: number }]));
      stream.on('error', () => {});
    });
    expect(statusCode).toBe(404);
  });

  it('other names of this host and pages of others are refused', async () => {
    const { secret } = await test.host.transport.call('createToken', { body: { name: 'origins', role: 'viewer' } });
    expect((await ask('GET', `${API_BASE}/vms`, as(secret, { host: 'evil.example' }))).status).toBe(403);
    expect((await ask('GET', `${API_BASE}/vms`, as(secret, { host: 'vm.example:443' }))).status).toBe(200);
    expect((await ask('GET', `${API_BASE}/vms`, as(secret, { origin: 'https://evil.example' }))).status).toBe(403);
    expect((await ask('GET', `${API_BASE}/vms`, as(secret, { origin: `http://${host()}` }))).status).toBe(200);
  });

  it('a web page signs in with a cookie', async () => {
    const { secret, id } = await test.host.transport.call('createToken', { body: { name: 'page', role: 'viewer' } });
    const open = { tcp: true, headers: { host: host() }, body: JSON.stringify({ token: secret }) };
    const { status, headers } = await ask('POST', `${API_BASE}/session`, open);
    expect(status).toBe(204);
    const cookie = String(headers['set-cookie']);
    expect(cookie).toMatch(/HttpOnly; SameSite=Strict$/);
    const with_ = { tcp: true, headers: { host: host(), cookie: cookie.split(';')[0]! } };
    expect((await ask('GET', `${API_BASE}/session`, with_)).json).toMatchObject({ name: 'page', role: 'viewer' });
    await test.host.transport.call('removeToken', { params: { token: id } });
    expect((await ask('GET', `${API_BASE}/session`, with_)).status).toBe(401);
  });

  it('who has a revoked token looks and types no longer', async () => {
    const vm = await test.vm('left');
    await vm.start();
    const { secret, id } = await test.host.transport.call('createToken', { body: { name: 'left', role: 'operator' } });
    const paths = ['events/stream', 'vms/left/console', 'vms/left/screen'];
    const streams = paths.map(
      (path) => new WebSocket(`ws://${host()}${API_BASE}/${path}`, { headers: as(secret).headers }),
    );
    const closed = streams.map((stream) => new Promise<number>((resolve) => stream.once('close', resolve)));
    for (const stream of streams) await new Promise((resolve) => stream.once('open', resolve));
    await using other = await vm.console();
    await test.host.transport.call('removeToken', { params: { token: id } });
    streams[1]!.send(Buffer.from('late'));
    expect(await Promise.all(closed)).toEqual([1008, 1008, 1008]);
    // The others go on.
    other.write('mine');
    expect(await until(other, 'mine')).not.toContain('late');
    await vm.stop({ turnOff: true });
  });

  it.skipIf(openssl === undefined)(
    `with TLS, and a client that knows the certificate${openssl ? '' : ': skipped, openssl not found'}`,
    async () => {
      const file = (name: string): string => join(test.folder, name);
      const key = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
      const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '2'];
      await runCommand(openssl!, [...key, ...subject, '-keyout', file('key.pem'), '-out', file('cert.pem')]);
      const tcp = { host: '127.0.0.1', port: 0, certificate: file('cert.pem'), key: file('key.pem') };
      const own = await testHost({ tcp });
      const { secret } = await own.host.transport.call('createToken', { body: { name: 'far', role: 'operator' } });
      const url = `https://localhost:${own.port}`;
      const certificate = readFileSync(file('cert.pem'));
      await using far = await connectTo({ address: { url, token: secret, certificate } });
      const vm = await own.vm('far');
      expect((await far.list()).map(({ name }) => name)).toEqual(['far']);
      await vm.start();
      await using console = await (await far.get('far')).console();
      expect(await until(console, 'ready')).toBe('ready\n');
      await vm.stop({ turnOff: true });
      await expect(connectTo({ address: { url, token: secret } })).rejects.toThrow(/self-signed|certificate/);
      await expect(far.create({ name: 'no' })).rejects.toMatchObject({ code: 'denied' });
    },
  );

  it('beyond loopback there is no service without TLS', async () => {
    const more = { tcp: { host: '0.0.0.0', port: 0 } };
    await expect(testHost(more)).rejects.toThrow('0.0.0.0 can be reached from other machines: give --tls-cert');
  });
});

describe('streams', () => {
  it('events are replayed from an id on, and then followed', async () => {
    const before = (await test.host.transport.call('listEvents')).at(-1)?.id ?? 0;
    const vm = await test.vm('followed');
    const seen: string[] = [];
    for await (const event of test.host.events({ after: before })) {
      seen.push(event.kind);
      if (event.kind === 'vm.created') await vm.set({ notes: 'more' });
      if (event.kind === 'vm.changed') break;
    }
    expect(seen).toEqual(['vm.created', 'vm.changed']);
  });

  it('a port of a guest is a stream, and the way to run programs in it', async () => {
    const vm = await test.vm('inside');
    await expect(vm.exec(['true'])).rejects.toMatchObject({ code: 'wrongState' });
    await vm.start();
    await expect(vm.connect(9)).rejects.toMatchObject({ code: 'timeout', message: 'nothing accepts port 9' });
    const stdin = Uint8Array.from({ length: 1_000_000 }, (_, i) => (i * 2654435761) >>> 24);
    const { code, stdout, stderr } = await vm.exec(['sh', '-c', 'cat; echo done >&2; exit 3'], { stdin });
    expect([code, Buffer.compare(stdout, stdin), Buffer.from(stderr).toString()]).toEqual([3, 0, 'done\n']);
    // Who does not read holds up the program, and nothing else.
    let told = 0;
    const flood = vm.exec(['sh', '-c', 'head -c 8000000 /dev/zero'], {
      onStdout: (part) => void (told += part.length),
    });
    expect(Buffer.from((await vm.exec(['echo', 'hi'])).stdout).toString()).toBe('hi\n');
    await flood;
    expect(told).toBe(8_000_000);
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const cut = vm.exec(['sh', '-c', 'echo begun; exec sleep 1000'], { onStdout: () => begin() });
    const refused = expect(cut).rejects.toMatchObject({ code: 'failure' });
    await begun;
    await vm.stop({ turnOff: true });
    await refused;
  });

  it('a console has several clients, and history', async () => {
    const vm = await test.vm('consoles');
    await vm.start();
    await using one = await vm.console();
    await using two = await vm.console({ history: false });
    one.write('hello ');
    await until(one, 'hello ');
    two.write('world');
    expect(await until(two, 'world')).toContain('world');
    await using three = await vm.console();
    expect(await until(three, 'world')).toBe('ready\nhello world');
    expect(await vm.screenshot()).toEqual(Buffer.from([0x89, 0x50]));
    await vm.stop({ turnOff: true });
    await expect(vm.console()).rejects.toMatchObject({ code: 'wrongState' });
  });

  it('a client that takes nothing is cut off, and the others go on', async () => {
    const vm = await test.vm('flood');
    await vm.start();
    const slow = await test.host.transport.stream(`/vms/${vm.id}/console`);
    await using quick = await vm.console({ history: false });
    quick.write('!flood');
    let bytes = 0;
    for await (const piece of quick) if ((bytes += piece.length) >= 64 * 2 ** 20) break;
    expect((await vm.metrics()).memoryAssigned).toBe(64 * 2 ** 20);
    const closed = new Promise<number>((resolve) => slow.once('close', resolve));
    slow.resume();
    expect(await closed).not.toBe(1000);
    await vm.stop({ turnOff: true });
  });

  it('what is no request, or one for files, is refused, and the others are served', {
    timeout: 60_000,
  }, async () => {
    const line = 'GET /api/v1/vms HTTP/1.1\r\nHost: localhost\r\n';
    const post = 'POST /api/v1/vms HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n';
    const pieces: readonly string[] = [
      'GARBAGE\r\n\r\n',
      '\0\0\0\0\r\n\r\n',
      `${line}X: ${'x'.repeat(100_000)}\r\n\r\n`,
      `${post}Content-Length: -1\r\n\r\n`,
      `${post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
      `${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
      'GET /../../../../etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
      'GET //etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
      'GET http://[::1 HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n',
    ];
    const answers = pieces.map(
      (text) =>
        new Promise<string>((resolve) => {
          const socket = connect(test.options.socket, () => socket.write(text));
          let got = '';
          socket.on('data', (bytes: Buffer) => (got += bytes.toString('latin1')));
          socket.on('error', () => {});
          socket.on('close', () => resolve(got));
        }),
    );
    for (const got of await Promise.all(answers)) {
      expect(got).toMatch(/^HTTP\/1\.1 4\d\d /);
      expect(got).not.toContain('root:');
    }
    expect((await ask('GET', `${API_BASE}/vms`)).status).toBe(200);
  });

  it('a thousand requests that never end leave the service serving', async () => {
    const sockets = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => {
        const { promise, resolve } = Promise.withResolvers<Socket>();
        const half =
          i % 2 === 0 ? 'GET /api/v1/vms HT' : 'POST /api/v1/vms HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{';
        const socket = connect(test.options.socket, () => socket.write(half, () => resolve(socket)));
        socket.on('error', () => resolve(socket));
        return promise;
      }),
    );
    const started = performance.now();
    for (let i = 0; i < 20; i++) expect((await ask('GET', `${API_BASE}/vms`)).status).toBe(200);
    expect(performance.now() - started).toBeLessThan(10_000);
    for (const socket of sockets) socket.destroy();
  });

  it('a thousand connections that say nothing leave the service serving', async () => {
    const sockets: Socket[] = [];
    for (let i = 0; i < 1000; i++) {
      const socket = connect(test.options.socket);
      socket.on('error', () => {});
      sockets.push(socket);
    }
    const started = performance.now();
    expect((await ask('GET', `${API_BASE}/vms`)).status).toBe(200);
    expect(performance.now() - started).toBeLessThan(5000);
    for (const socket of sockets) socket.destroy();
  });
});

it('the database is as new as the build, or newer ones are refused', async () => {
  const other = await testHost();
  await other.service.stop();
  const { DatabaseSync } = await import('node:sqlite');
  const db = new DatabaseSync(join(other.folder, 'data/viridian.db'));
  db.exec('pragma user_version = 99');
  db.close();
  await expect(Service.start(other.options)).rejects.toThrow('written by a newer version of Viridian');
});
