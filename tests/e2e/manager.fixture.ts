/** A management service of its own, with a browser at its web console. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { Host } from '../../src/client/index.ts';
import { Transport } from '../../src/client/transport.ts';
import { findCommand } from '../../src/host/node/command.ts';

const HV = fileURLToPath(new URL('../../bin/hv', import.meta.url));
export const PAGES = fileURLToPath(new URL('../../dist/manager/index.html', import.meta.url));

/** Why there is no browser or no page here; undefined when there are. */
export function whyNoManager(): string | undefined {
  if (findCommand('chromium') === undefined) return 'chromium not found';
  return existsSync(PAGES) ? undefined : "the web console is not built: 'npm run build'";
}

export class ManagerHost {
  readonly home = mkdtempSync(join(tmpdir(), 'vir-'));
  readonly port: number;
  readonly client: Host;
  readonly #env: NodeJS.ProcessEnv;
  #service: ChildProcess | undefined;
  #said = '';
  #browser: Browser | undefined;

  private constructor(port: number) {
    this.port = port;
    this.#env = { ...process.env, VIRIDIAN_HOME: this.home };
    this.client = new Host(new Transport({ socket: join(this.home, 'run/vmms.sock') }));
  }

  static async start(): Promise<ManagerHost> {
    const host = new ManagerHost(await freePort());
    await host.startService();
    return host;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Runs the command against this service; its standard output. */
  async hv(...args: string[]): Promise<string> {
    return (await promisify(execFile)(HV, args, { env: this.#env })).stdout.trim();
  }

  async startService(): Promise<void> {
    const service = spawn(HV, ['service', 'run', '--listen', `127.0.0.1:${this.port}`], { env: this.#env });
    this.#service = service;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    service.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said += text;
      if (text.includes('and on http')) resolve();
    });
    service.once('exit', (code) => reject(new Error(`the service has ended (${code}): ${this.#said}`)));
    await promise;
  }

  async stopService(): Promise<void> {
    const service = this.#service!;
    if (service.exitCode !== null) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    service.once('exit', () => resolve());
    service.kill('SIGTERM');
    await promise;
  }

  async browser(): Promise<Browser> {
    this.#browser ??= await chromium.launch({
      executablePath: findCommand('chromium')!,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
    return this.#browser;
  }

  /** A page of its own profile, signed in by a one-time link. */
  async page(role: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
    const context: BrowserContext = await (await this.browser()).newContext(options);
    const page = await context.newPage();
    await page.goto(await this.hv('manager', '--print', '--role', role));
    await page.locator('.connection[data-state="live"]').waitFor({ timeout: 60_000 });
    return page;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser?.close();
    for (const vm of await this.client.list().catch(() => [])) await vm.stop({ turnOff: true }).catch(() => {});
    await this.stopService();
    rmSync(this.home, { recursive: true, force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
