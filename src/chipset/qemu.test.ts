/**
 * Differential test of the legacy devices against QEMU's: random register accesses through its qtest protocol, on a machine
 * that never runs. Needs qemu-system-x86_64; without it the test is skipped.
 */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { PortBus } from '../vid/bus.ts';
import { Pic, picState } from './pic/device.ts';
import { fresh, RecordingLine } from './testing.ts';
import { Uart, uartState } from './uart/device.ts';

const QEMU = 'qemu-system-x86_64';
const SEED = 0x8259;
/** A write here ends QEMU, which does not end with its input. */
const EXIT_PORT = 0xf4;
/** Interrupt lines that no device of QEMU's machine drives. */
const FREE_LINES = [3, 5, 6, 7, 9, 10, 11, 13];
const missing = spawnSync(QEMU, ['--version']).error !== undefined;

type Step = {
  readonly port: number;
  readonly write?: number /** Which bits of a read to compare. */;
  readonly mask?: () => number;
};

function runInQemu(steps: readonly Step[]): (number | undefined)[] {
  const script = steps.map(({ port, write }) => (write === undefined ? `inb ${port}` : `outb ${port} ${write}`));
  const machine = ['-machine', 'pc', '-accel', 'tcg', '-S', '-nodefaults', '-display', 'none', '-device', 'pc-testdev'];
  const serial = [
    '-chardev',
    'null,id=com',
    '-device',
    'isa-serial,chardev=com',
    '-device',
    `isa-debug-exit,iobase=${EXIT_PORT}`,
  ];
  const { stdout, stderr } = spawnSync(QEMU, [...machine, ...serial, '-qtest', 'stdio', '-qtest-log', 'none'], {
    input: `${script.join('\n')}\noutb ${EXIT_PORT} 0\n`,
    encoding: 'utf8',
    timeout: 30_000,
    killSignal: 'SIGKILL',
  });
  const answers = stdout.split('\n').filter((line) => line.startsWith('OK'));
  if (answers.length < steps.length) throw new Error(`QEMU answered ${answers.length} of ${steps.length}: ${stderr}`);
  return steps.map(({ write }, i) => (write === undefined ? Number((answers[i] as string).slice(3)) : undefined));
}

/** xorshift32: the same steps on every run. */
function generator(seed: number): (below: number) => number {
  let x = seed;
  return (below) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % below;
  };
}

function compare(bus: PortBus, steps: readonly Step[]): void {
  const theirs = runInQemu(steps);
  const format = ({ port, write }: Step) =>
    `${port.toString(16)}${write === undefined ? '' : `<-${write.toString(16)}`}`;
  for (const [i, step] of steps.entries()) {
    if (step.write !== undefined) {
      bus.write(step.port, 1, step.write);
      continue;
    }
    const mask = step.mask?.() ?? 0xff;
    const context = `step ${i} after ${steps
      .slice(Math.max(0, i - 12), i)
      .map(format)
      .join(' ')}: read ${format(step)}`;
    expect((bus.read(step.port, 1) & mask).toString(16), context).toBe(((theirs[i] as number) & mask).toString(16));
  }
}

describe.skipIf(missing)('chipset against QEMU (skipped without qemu-system-x86_64)', () => {
  // One controller at a time: QEMU latches the cascade as an edge, where ours follows the other controller's output.
  it.each([0x20, 0xa0])('8259A at port %i: initialization, masks, EOIs, rotation, special modes, polls', (base) => {
    const random = generator(SEED + base);
    const elcr = base === 0x20 ? 0x4d0 : 0x4d1;
    const lines = FREE_LINES.filter((irq) => irq >= 8 === (base === 0xa0));
    const steps: Step[] = [];
    const write = (port: number, value: number) => steps.push({ port, write: value });
    let specialMask = false;
    for (let i = 0; i < 5000; i++) {
      const action = random(40);
      if (action === 0) {
        specialMask = false;
        // Nobody says what becomes of an asserted input here: QEMU takes it for a new edge.
        for (const irq of lines) write(0x2000 + irq, 0);
        write(base, 0x11);
        write(base + 1, random(0x100));
        write(base + 1, 4);
        write(base + 1, random(4) ? 0x01 : random(0x20) & 0x13);
        write(elcr, random(0x100));
      } else if (action < 4) write(base + 1, random(0x100) & random(0x100));
      else if (action < 18) write(0x2000 + (lines[random(lines.length)] as number), random(2));
      else if (action < 22) {
        // Under special mask mode QEMU's non-specific EOI ends masked inputs too, which the data sheet rules out.
        const command = random(8);
        write(base, ((specialMask && (command & 3) === 1 ? 3 : command) << 5) | random(8));
      } else if (action < 25) {
        const ocw3 = 0x08 | (random(4) << 5) | random(4);
        if (ocw3 & 0x40) specialMask = (ocw3 & 0x20) !== 0;
        write(base, ocw3);
      } else if (action < 32) {
        write(base, 0x0c);
        steps.push({ port: base });
      } else steps.push({ port: action < 37 ? base : action < 39 ? base + 1 : elcr });
    }
    // QEMU's controllers wake up unmasked.
    write(base + 1, 0);
    steps.unshift(steps.pop() as Step);
    const pic = new Pic(fresh(picState), new RecordingLine());
    pic.reset();
    const bus = new PortBus();
    bus.register('8259A', pic);
    bus.register('lines', {
      ports: [{ first: 0x2000, count: 16 }],
      readPort: () => 0xff,
      writePort: (port, _size, value) => pic.line(port - 0x2000).set(value !== 0),
    });
    compare(bus, steps);
  });

  it('16550A: register file, FIFOs and interrupt identification in loopback', () => {
    const random = generator(SEED + 1);
    const uart = new Uart(fresh(uartState), { firstPort: 0x3f8 }, new RecordingLine(), { transmit: () => {} });
    uart.reset();
    const comparable = (register: number) => {
      // QEMU has no delta bits in loopback, and what an empty receiver shows is anyone's.
      if (register === 6) return 0xf0;
      const { LCR, receiverFifo } = uart.inspect();
      return register === 0 && receiverFifo === 0 && !(Number(LCR) & 0x80) ? 0 : 0xff;
    };
    const steps: Step[] = [];
    const write = (register: number, value: number) => steps.push({ port: 0x3f8 + register, write: value });
    for (let i = 0; i < 6000; i++) {
      const action = random(24);
      if (action < 8) write(0, random(0x100));
      else if (action === 8) write(1, random(8));
      // Trigger level 1: QEMU's character timeout waits for a clock that stands still here.
      else if (action === 9) write(2, random(8));
      else if (action === 10) write(3, random(4) ? 0x03 : 0x83);
      else if (action === 11) write(4, 0x10 | random(16));
      else if (action === 12) write(7, random(0x100));
      else {
        const register = random(8);
        steps.push({ port: 0x3f8 + register, mask: () => comparable(register) });
      }
    }
    steps.unshift({ port: 0x3fc, write: 0x10 });
    const bus = new PortBus();
    bus.register('COM1', uart);
    compare(bus, steps);
  });
});
