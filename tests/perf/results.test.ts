/** The benchmark's own parts: markers, medians, the table, and our programs' checksums on the host's processor. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findCommand, runCommand } from '../../src/host/node/command.ts';
import { assemblePrograms, workloadImage } from './image.ts';
import { type Mark, MarkerReader } from './markers.ts';
import { checksumTrouble, geometricMean, median, type Sample, summarize, table } from './results.ts';
import { PREPARATIONS, PROGRAMS, WORKLOADS } from './workloads.ts';

const mark = (seconds: number, instructions?: number): Mark => ({ seconds, instructions });
const sample = (ours: number, theirs: number, checksum = 'a', other = checksum): Sample => ({
  ours: { seconds: ours, instructions: 1e6, checksum },
  theirs: { seconds: theirs, instructions: undefined, checksum: other },
});

describe('markers', () => {
  it('times a workload from its begin to its end, in whatever pieces the console comes', () => {
    const reader = new MarkerReader();
    reader.feed('[    0.5] noise\r\nBENCH-BE', mark(1, 100));
    reader.feed('GIN sort\r\n', mark(2, 1000));
    expect(reader.begun).toBe('sort');
    reader.feed('[    1.0] printk BENCH-END sort 0123abcd\r\nBENCH-BEGIN', mark(2.5, 5000));
    expect(reader.measurements.get('sort')).toEqual({ seconds: 0.5, instructions: 4000, checksum: '0123abcd' });
  });

  it('has no measurement of what failed or ended out of turn', () => {
    const reader = new MarkerReader();
    reader.feed('BENCH-BEGIN tar\ntar: no such file\nBENCH-FAILED tar status 2\nBENCH-END gzip 12\n', mark(1));
    expect(reader.measurements.size).toBe(0);
    expect(reader.failures).toEqual([expect.stringMatching(/^tar: status 2: .*no such file/)]);
  });

  it('knows when the shell is there', () => {
    const reader = new MarkerReader();
    reader.feed('BENCH-SHELL\r\n', mark(3, 7));
    expect(reader.shell).toEqual({ seconds: 3, instructions: 7 });
  });
});

describe('results', () => {
  it('takes medians of times, and of the ratios within rounds', () => {
    expect(median([5, 1, 3])).toBe(3);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    // The second round was disturbed for both machines.
    const result = summarize('sort', 'memory', [sample(4, 1), sample(40, 9), sample(5, 1)]);
    expect(result).toMatchObject({ ours: 5, theirs: 1, rounds: 3, instructions: 1e6 });
    expect(result.ratio).toBeCloseTo(40 / 9);
    expect(result.mips).toBeCloseTo(0.2);
    expect(geometricMean([2, 8])).toBeCloseTo(4);
  });

  it('says when the outputs differ between machines or rounds', () => {
    expect(checksumTrouble('sort', [sample(1, 1, 'a'), sample(1, 1, 'a')])).toBeUndefined();
    expect(checksumTrouble('sort', [sample(1, 1, 'a', 'b')])).toMatch(/^sort: .*a \/ b/);
    expect(checksumTrouble('sort', [sample(1, 1, 'a'), sample(1, 1, 'b')])).toBeDefined();
  });

  it('prints a table, with a dash where QEMU is missing', () => {
    const alone: Sample = { ours: sample(2, 1).ours, theirs: undefined };
    const lines = table([summarize('a', 'x', [sample(2, 1)]), summarize('b', 'y', [alone])]).split('\n');
    expect(lines[2]).toMatch(/^a +x +2\.00 +1\.00 +2\.00 +1\.0 +1$/);
    expect(lines[3]).toMatch(/^b +y +2\.00 +- +- +1\.0 +1$/);
  });
});

describe('workloads', () => {
  it('have names of their own, half of them unmodified Debian programs', () => {
    expect(new Set(WORKLOADS.map((w) => w.name)).size).toBe(WORKLOADS.length);
    expect(WORKLOADS.filter((w) => w.package).length * 2).toBeGreaterThanOrEqual(WORKLOADS.length);
    for (const { needs } of WORKLOADS) if (needs) expect(PREPARATIONS[needs]).toBeDefined();
  });

  it('fit an image without Debian: busybox is the shell of process 1', () => {
    const [workload] = WORKLOADS;
    const image = workloadImage({
      busybox: new Uint8Array(16),
      workloads: [workload!],
      programs: new Map([['integer', new Uint8Array(4)]]),
      root: undefined,
    });
    const text = Buffer.from(image).toString('latin1');
    expect(text).toContain('#!/bench/busybox sh');
    expect(text).toContain('run integer');
    expect(text).toContain('bench/bin/integer');
  });

  const runnable = process.platform === 'linux' && process.arch === 'x64' && findCommand('nasm') !== undefined;
  it.skipIf(!runnable)(
    'of our own end on the host too (needs nasm and an x86-64 Linux), with checksums that stay',
    async () => {
      const programs = await assemblePrograms(PROGRAMS);
      const folder = mkdtempSync(join(tmpdir(), 'viridian-perf-'));
      try {
        const sums: Record<string, string> = {};
        for (const [name, bytes] of programs) {
          const path = join(folder, name);
          writeFileSync(path, bytes);
          chmodSync(path, 0o755);
          const { code, stdout } = await runCommand(path, []);
          expect(code, name).toBe(0);
          sums[name] = stdout.trim();
        }
        expect(sums).toMatchInlineSnapshot(`
          {
            "branches": "c56a13ef98594039",
            "chase": "7ae16d02852f22da",
            "copy": "eb10cdf49e4eb79a",
            "faults": "000000000280a000",
            "float": "01fe9a4a53be0633",
            "fresh": "70910dc2c9c0f8bb",
            "integer": "e64871df4e0423ac",
            "simd": "1b75cd0be998bd1f",
            "switches": "0000004c00000090",
            "syscalls": "0000000000a4cb80",
          }
        `);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
  );
});
