/** What a guest or a stranger can say is text in the page, and nothing else. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createElement } from 'react';
import { renderToStaticMarkup } from 'react-dom/server';
import { expect, it, vi } from 'vitest';
import type { Event } from '../contracts/api/resources.ts';
import { lastLines } from './vms/last-lines.ts';

const HOSTILE = '<img src=x onerror=alert(1)>\u001b]0;<script>alert(2)</script>\u0007\u202e"\'&';

it('no part of the page makes elements or code of a text', () => {
  const folder = fileURLToPath(new URL('./', import.meta.url));
  const sources = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.(tsx?|html)$/.test(name),
  );
  expect(sources.length).toBeGreaterThan(50);
  const dangerous =
    /dangerouslySetInnerHTML|\b(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|\beval\(|new Function|srcDoc|javascript:/;
  const found = sources.filter(
    (name) => !name.endsWith('.test.ts') && dangerous.test(readFileSync(folder + name, 'utf8')),
  );
  expect(found).toEqual([]);
  // Where the policy would stop it anyway.
  expect(readFileSync(`${folder}index.html`, 'utf8')).not.toMatch(/<script(?![^>]*\ssrc=)|\son\w+=|<style/);
});

it('an event that tells of it shows it as it is', async () => {
  vi.stubGlobal('addEventListener', () => {});
  vi.stubGlobal('location', { pathname: '/' });
  const { EventTable } = await import('./host/event-table.tsx');
  const event: Event = {
    id: 1,
    time: '2026-01-01T00:00:00Z',
    kind: 'vm.stopped',
    severity: 'error',
    vm: 'a',
    vmName: '<b>web</b>',
    text: HOSTILE,
    data: {},
  };
  const markup = renderToStaticMarkup(createElement(EventTable, { events: [event], named: true }));
  expect(markup).toContain('&lt;img src=x onerror=alert(1)&gt;');
  expect(markup).toContain('&lt;b&gt;web');
  expect(markup).not.toMatch(/<img|<script|<b>/);
  for (const control of ['\u001b', '\u0007', '\u202e']) expect(markup).not.toContain(control);
  vi.unstubAllGlobals();
});

it('the last lines of a console have nothing that a terminal acts upon', () => {
  expect(lastLines(`\u001b[31m${HOSTILE}\u001b[0m\r\n\r\n`)).toBe('<img src=x onerror=alert(1)>"\'&'.slice(0, 36));
});
