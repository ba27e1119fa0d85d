/** The web console's files, as its build has made them. */
import { extname } from 'node:path';
import { gzipSync } from 'node:zlib';
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

/** The build puts a hash of what is in it into the name of each: it never changes. */
const ASSETS = '/assets/';
/** Bytes; below it a packet is a packet. */
const WORTH_PACKING = 1024;

export function serveManager(app: OpenAPIHono, files: ProgramFiles, gate: Gate | undefined): void {
  const packed = new Map<string, Uint8Array<ArrayBuffer>>();
  const pack = (name: string, bytes: Uint8Array): Uint8Array<ArrayBuffer> => {
    const known = packed.get(name) ?? new Uint8Array(gzipSync(bytes, { level: 9 }));
    packed.set(name, known);
    return known;
  };
  app.get('/*', (c) => {
    if (gate !== undefined) demandOwnOrigin(gate, c.req.header('host'), c.req.header('origin'));
    const { path } = c.req;
    const known = SAFE.test(path) && extname(path) in TYPES && !path.startsWith('/api/');
    // Pages of the console are its own business: all of them are one file.
    const name = known ? path : '/index.html';
    if (!known && path.startsWith('/api/')) return c.notFound();
    const bytes = files.read(name.slice(1));
    if (bytes === undefined) return c.notFound();
    const asset = name.startsWith(ASSETS);
    const headers = {
      ...HEADERS,
      'Content-Type': TYPES[extname(name)]!,
      'Cache-Control': asset ? 'public, max-age=31536000, immutable' : 'no-cache',
      Vary: 'Accept-Encoding',
    };
    const packs =
      asset && bytes.length >= WORTH_PACKING && /\bgzip\b(?!;q=0)/.test(c.req.header('accept-encoding') ?? '');
    return packs
      ? c.body(pack(name, bytes), 200, { ...headers, 'Content-Encoding': 'gzip' })
      : c.body(new Uint8Array(bytes), 200, headers);
  });
}
