/** The web console's files, as its build has made them. */
import { extname } from 'node:path';
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { ProgramFiles } from '../../host/node/program.ts';
import { demandOwnOrigin, type Gate } from './access.ts';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

const HEADERS = {
  'Content-Security-Policy':
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
} as const;

/** Names of files are letters and digits, "-", "_" and ".", in folders: nothing that leads elsewhere. */
const SAFE = /^(?:\/[\w-]+(?:\.[\w-]+)*)+$/;

export function serveManager(app: OpenAPIHono, files: ProgramFiles, gate: Gate | undefined): void {
  app.get('/*', (c) => {
    if (gate !== undefined) demandOwnOrigin(gate, c.req.header('host'), c.req.header('origin'));
    const { path } = c.req;
    const known = SAFE.test(path) && extname(path) in TYPES && !path.startsWith('/api/');
    // Pages of the console are its own business: all of them are one file.
    const name = known ? path : '/index.html';
    if (!known && path.startsWith('/api/')) return c.notFound();
    const bytes = files.read(name.slice(1));
    if (bytes === undefined) return c.notFound();
    return c.body(new Uint8Array(bytes), 200, { ...HEADERS, 'Content-Type': TYPES[extname(name)]! });
  });
}
