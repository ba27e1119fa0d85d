/**
 * Debian's kernel, from power-up to power-off. One boot serves all: what a fresh shell is needed for continues the state
 * saved at the end of the first test's boot.
 */
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debianGuest, Guest } from './guest.fixture.ts';

const debian = await debianGuest();
const reason = typeof debian === 'string' ? `: skipped, ${debian}` : '';
/**
 * What a machine without PCI says (Hyper-V's generation 2 guests show the same two lines), and what is due to a host that
 * was busy with something else.
 */
const EXPECTED =
  /PCI: Fatal: No config space access function found|PCI: System does not support PCI|hrtimer: interrupt took/;

describe.skipIf(typeof debian === 'string')(`Debian's kernel${reason}`, () => {
  if (typeof debian === 'string') return;
  const state = join(debian.folder, 'state');
  const running = new Set<Guest>();
  const guest = (...args: string[]): Guest => {
    const started = new Guest(...args);
    running.add(started);
    return started;
  };
  let first: Guest;
  beforeAll(async () => {
    first = guest(...debian.arguments, '--save', state);
    await first.shell();
  });
  afterAll(() => {
    for (const one of running) one.kill();
  });

  it('finds Hyper-V and keeps time by its reference page', async () => {
    const log = await first.command('dmesg');
    expect(log).toContain('Hypervisor detected: Microsoft Hyper-V');
    const clock = await first.command('cat /sys/devices/system/clocksource/clocksource0/current_clocksource');
    expect(clock).toBe('hyperv_clocksource_tsc_page\n');
    expect(log).not.toMatch(/unchecked MSR access|WARNING|Call Trace|BUG:|Oops/i);
  });

  it('has nothing to warn of', async () => {
    const lines = (await first.command("dmesg -r | grep -E '^<[0-4]>'")).trim().split('\n');
    expect(lines.filter((line) => !EXPECTED.test(line))).toEqual([]);
  });

  it('passes Ctrl-C to the guest', async () => {
    // Says so once it is the terminal's foreground process: a shell that is still starting it may not see the signal.
    first.type(
      `sh -c 'trap "echo caught; exit 42" INT; echo wai""ting; while :; do sleep 0.1; done'; echo co""de $?\n`,
    );
    await first.until('waiting');
    first.type('\x03');
    expect(await first.until('code 42')).toContain('^Ccaught\r\n');
  });

  it('takes and gives 100 kB of any bytes', async () => {
    const bytes = randomBytes(100_000);
    first.type(
      `stty raw -echo; echo RE""ADY; head -c ${bytes.length} > /tmp/p; md5sum /tmp/p; cat /tmp/p; stty sane\n`,
    );
    await first.until('READY\n');
    first.type(bytes.toString('latin1'));
    const sum = await first.until('  /tmp/p\n');
    expect(sum).toBe(`${createHash('md5').update(bytes).digest('hex')}  /tmp/p\n`);
    expect(await first.take(bytes.length)).toBe(bytes.toString('latin1'));
    expect(await first.command('echo still here')).toBe('still here\n');
  });

  it('is saved by SIGTERM', async () => {
    first.signal('SIGTERM');
    const { code, stderr } = await first.exit;
    expect(stderr).toBe(`hv: saved to ${state}; go on with: hv run --restore ${state}\n`);
    expect(code).toBe(0);
  });

  it('goes on from there: its clock too; comes back after a reboot, and powers itself off', async () => {
    const second = guest('--restore', state);
    const [year, uptime] = (await second.command("date +%Y; cut -d ' ' -f 1 /proc/uptime")).trim().split('\n');
    expect(Number(year)).toBe(new Date().getFullYear());
    expect(Number(uptime)).toBeGreaterThan(1);
    expect(await second.command('sleep 0.1; cat /tmp/p | wc -c')).toBe('100000\n');
    second.type('reboot -f\n');
    await second.until("A busybox shell on Debian's kernel");
    await second.shell();
    expect(await second.command('ls /tmp')).toBe('');
    second.type('poweroff\n');
    expect(await second.exit).toMatchObject({ code: 0, stderr: '' });
  });

  it('ends where the guest asks for a restart, with --no-reboot', async () => {
    const second = guest('--restore', state, '--no-reboot');
    second.type('reboot -f\n');
    expect(await second.exit).toMatchObject({ code: 10, stderr: 'hv: the guest asked for a restart\n' });
  });

  it('reports a panic with its log', async () => {
    const second = guest('--restore', state);
    second.type('echo c > /proc/sysrq-trigger\n');
    const { code, stderr } = await second.exit;
    expect(code).toBe(9);
    expect(stderr).toMatch(/^hv: the guest crashed: 0x/);
    expect(stderr).toContain('Kernel panic - not syncing: sysrq triggered crash');
    expect(stderr).toContain('sysrq_handle_crash');
  });

  it('runs on after the end of its input, until SIGTERM', async () => {
    const second = guest('--restore', state);
    second.type('sleep 1; echo la""ter\n');
    second.endInput();
    await second.until('later\r\n');
    second.signal('SIGTERM');
    expect(await second.exit).toMatchObject({ code: 143, stderr: 'hv: terminated\n' });
  });

  it('ends by --timeout', async () => {
    const { code, stderr } = await guest('--restore', state, '--timeout', '0.2').exit;
    expect(stderr).toBe('hv: stopped after the 0.2 seconds of --timeout\n');
    expect(code).toBe(6);
  });
});
