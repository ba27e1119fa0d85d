import { expect, it } from 'vitest';
import { Interrupted, ProgressBar } from './progress.ts';

function bar(isTTY: boolean) {
  let time = 0;
  const written: string[] = [];
  const output = { isTTY, columns: 80, write: (text: string) => written.push(text) };
  return { bar: new ProgressBar('converting a', output, () => (time += 1000)), written };
}

it('draws on a terminal, and takes the bar away', () => {
  const { bar: progress, written } = bar(true);
  progress.update(1, 4);
  progress.update(4, 4);
  progress.stop();
  expect(written[0]?.startsWith(`\r\x1b[Kconverting a [${'#'.repeat(10)}${'.'.repeat(30)}] 25 %`)).toBe(true);
  expect(written[1]).toContain('100 %');
  expect(written.at(-1)).toBe('\r\x1b[K');
});

it('says a line now and then elsewhere', () => {
  const { bar: progress, written } = bar(false);
  for (let i = 0; i <= 100; i++) progress.update(i, 100);
  progress.stop();
  expect(written).toEqual(['converting a: 25 %\n', 'converting a: 50 %\n', 'converting a: 75 %\n']);
});

it('stops the work after Ctrl-C', () => {
  const { bar: progress } = bar(false);
  process.emit('SIGINT');
  expect(() => progress.update(1, 2)).toThrow(Interrupted);
  progress.stop();
});
