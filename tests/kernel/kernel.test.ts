/** The bare-metal test kernel on two processors of ours, and the same image under QEMU's TCG. */

import { beforeAll, describe, expect, it } from 'vitest';
import { buildKernel, isInstalled, qemuVersion } from './build.ts';
import { QEMU_DISAGREEMENTS, QEMU_VERSION } from './disagreements.ts';
import { EXPECTATIONS, type Expectation } from './expectations.ts';
import { type KernelRun, runHere, runUnderQemu, seenIn } from './run.ts';

const PROCESSORS = 2;
const TIMEOUT_SECONDS = 30;
/** EXIT_END in guest/kernel/layout.inc, as the exit port makes it. */
const END = `exit ${(0x21 << 1) | 1}`;

const haveNasm = isInstalled('nasm');
const haveQemu = isInstalled('qemu-system-x86_64');
const qemuIsListed = haveQemu && qemuVersion() === QEMU_VERSION;

/** What is right for a line: a feature that may be missing may say so. */
function isExpected({ values, optional }: Expectation, seen: string | undefined): boolean {
  return seen === values || (optional === true && (seen ?? 'absent') === 'absent');
}

function namesIn(seen: ReadonlyMap<string, string>): string[] {
  const known = new Set(EXPECTATIONS.map(({ name }) => name));
  return [...seen.keys()].filter((name) => !known.has(name));
}

describe.skipIf(!haveNasm)('the test kernel on our processors (skipped where nasm is missing)', () => {
  let run: KernelRun;
  let seen: ReadonlyMap<string, string>;
  beforeAll(async () => {
    run = await runHere(buildKernel('kernel/kernel.asm'), { processors: PROCESSORS, timeoutSeconds: TIMEOUT_SECONDS });
    seen = seenIn(run.output);
  }, TIMEOUT_SECONDS * 2000);

  it('runs to its end', () => {
    expect(run.end, `the last lines:\n${run.output.slice(-500)}`).toBe(END);
  });

  it.each(EXPECTATIONS)('$name', (expectation) => {
    const { name, values, section } = expectation;
    if (!isExpected(expectation, seen.get(name))) expect(seen.get(name), section).toBe(values);
  });

  it('prints no line that nobody expects', () => {
    expect(namesIn(seen)).toEqual([]);
  });
});

describe.skipIf(!haveNasm || !haveQemu)('the test kernel under QEMU (skipped where nasm or QEMU is missing)', () => {
  let run: KernelRun;
  let seen: ReadonlyMap<string, string>;
  beforeAll(async () => {
    run = await runUnderQemu(buildKernel('kernel/kernel.asm'), {
      processors: PROCESSORS,
      timeoutSeconds: TIMEOUT_SECONDS,
    });
    seen = seenIn(run.output);
  }, TIMEOUT_SECONDS * 2000);

  it('runs to its end', () => {
    expect(run.end, `the last lines:\n${run.output.slice(-500)}`).toBe(END);
  });

  it.skipIf(!qemuIsListed)(`disagrees where it is listed, and nowhere else (QEMU ${QEMU_VERSION} only)`, () => {
    const found = EXPECTATIONS.filter((expectation) => !isExpected(expectation, seen.get(expectation.name)));
    const listed = Object.entries(QEMU_DISAGREEMENTS).map(([name, { qemu }]) => [name, qemu]);
    expect(Object.fromEntries(found.map(({ name }) => [name, seen.get(name)]))).toEqual(Object.fromEntries(listed));
  });

  it('has a section for each disagreement, and none that our expectations would share', () => {
    for (const [name, { qemu, decidedBy }] of Object.entries(QEMU_DISAGREEMENTS)) {
      expect(decidedBy, name).toMatch(/^(SDM|APM) vol\. \d/);
      expect(EXPECTATIONS.find((expectation) => expectation.name === name)?.values, name).not.toBe(qemu);
    }
  });
});
