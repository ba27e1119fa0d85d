import { describe, expect, it } from 'vitest';
import { fresh, RecordingLine } from '../testing.ts';
import { Uart, uartState } from './device.ts';

const BASE = 0x3f8;

function setUp(flowControl: 'rts' | 'none' = 'none') {
  const line = new RecordingLine();
  const sent: number[] = [];
  const ready = { count: 0 };
  const state = fresh(uartState);
  const far = {
    transmit: (byte: number) => {
      sent.push(byte);
    },
    receiverReady: () => {
      ready.count++;
    },
  };
  const uart = new Uart(state, { firstPort: BASE, flowControl }, line, far);
  uart.reset();
  const read = (register: number) => uart.readPort(BASE + register, 1);
  const write = (register: number, value: number) => uart.writePort(BASE + register, 1, value);
  return { uart, line, sent, ready, state, read, write, far };
}

const bytes = (count: number) => Uint8Array.from({ length: count }, (_, i) => i);

describe('UART as drivers probe it', () => {
  it('passes the 8250 driver: IER bits, loopback modem lines, 16550A FIFOs of 16', () => {
    const { read, write } = setUp();
    write(1, 0xff);
    expect(read(1)).toBe(0x0f);
    write(1, 0);
    expect(read(1)).toBe(0);
    write(4, 0x1a); // LOOP, OUT2, RTS
    expect(read(6) & 0xf0).toBe(0x90);
    write(2, 0x01);
    expect(read(2)).toBe(0xc1);
    write(2, 0x07);
    for (let i = 0; i < 256; i++) write(0, i);
    expect(read(5) & 0x02).toBe(0x02);
    const got: number[] = [];
    while (read(5) & 1) got.push(read(0));
    expect(got).toEqual([...bytes(16)]);
    write(2, 0);
    expect(read(2)).toBe(0x01);
    write(7, 0x5a);
    expect(read(7)).toBe(0x5a);
  });

  it('keeps the divisor behind DLAB', () => {
    const { read, write, sent } = setUp();
    write(3, 0x80);
    expect([read(0), read(1)]).toEqual([12, 0]);
    write(0, 1);
    write(1, 2);
    expect([read(0), read(1)]).toEqual([1, 2]);
    write(3, 0x03);
    expect(read(1)).toBe(0);
    expect(sent).toEqual([]);
  });

  it('reasserts the THRE interrupt each time it is enabled', () => {
    const { read, write, line } = setUp();
    write(4, 0x08);
    for (let i = 0; i < 2; i++) {
      write(1, 0x02);
      expect(line.level).toBe(true);
      expect(read(2)).toBe(0x02);
      expect(line.level).toBe(false);
      expect(read(2)).toBe(0x01);
      write(1, 0);
    }
    write(1, 0x02);
    expect(read(5)).toBe(0x60); // reading LSR leaves it
    expect(read(2)).toBe(0x02);
  });
});

describe('UART transmitter', () => {
  it('passes bytes on and pulses the line for each', () => {
    const { write, sent, line, read } = setUp();
    write(4, 0x08);
    write(1, 0x02);
    for (const byte of [0x00, 0xff, 0x0a]) write(0, byte);
    expect(sent).toEqual([0x00, 0xff, 0x0a]);
    expect(line.rises).toBe(4);
    expect(read(5)).toBe(0x60);
  });

  it('sends nothing in loopback', () => {
    const { write, sent, read, uart } = setUp();
    write(4, 0x10);
    write(0, 0x41);
    expect(sent).toEqual([]);
    expect(uart.rxSpace()).toBe(0);
    expect(read(0)).toBe(0x41);
  });
});

describe('UART receiver', () => {
  it('takes what fits and loses nothing of a long input', () => {
    const { uart, write, read } = setUp();
    write(2, 0x01);
    const input = bytes(200);
    const got: number[] = [];
    let at = 0;
    while (got.length < input.length) {
      at += uart.receive(input.subarray(at));
      while (read(5) & 1) got.push(read(0));
    }
    expect(got).toEqual([...input]);
  });

  it('reports data at the trigger level and the timeout below it', () => {
    const { uart, write, read, line } = setUp();
    write(2, 0x81); // trigger 8
    write(4, 0x08);
    write(1, 0x01);
    expect(line.level).toBe(false);
    uart.receive(bytes(7));
    expect(read(2)).toBe(0xcc);
    uart.receive(bytes(1));
    expect(read(2)).toBe(0xc4);
    for (let i = 0; i < 8; i++) {
      expect(line.level).toBe(true);
      read(0);
    }
    expect(line.level).toBe(false);
    expect(read(2)).toBe(0xc1);
  });

  it('holds one byte without FIFOs', () => {
    const { uart, write, read } = setUp();
    write(1, 0x01);
    expect(uart.receive(bytes(3))).toBe(1);
    expect(read(2)).toBe(0x04);
    expect(uart.rxSpace()).toBe(0);
  });

  it('honours RTS and says when there is room again', () => {
    const { uart, write, read, ready } = setUp('rts');
    expect(uart.receive(bytes(1))).toBe(0);
    write(2, 0x07);
    write(4, 0x0b);
    expect(ready.count).toBe(1);
    expect(uart.receive(bytes(20))).toBe(16);
    read(0);
    read(0);
    expect(ready.count).toBe(2);
    expect(uart.rxSpace()).toBe(2);
  });

  it('puts a break in line, seen when it is on top', () => {
    const { uart, write, read } = setUp();
    write(2, 0x01);
    write(1, 0x05);
    uart.receive(Uint8Array.of(0x41));
    uart.receiveBreak();
    expect(read(5)).toBe(0xe1);
    expect(read(0)).toBe(0x41);
    expect(read(2)).toBe(0xc6);
    expect(read(5)).toBe(0xf1);
    expect(read(2)).toBe(0xc4);
    expect(read(0)).toBe(0);
    expect(read(5)).toBe(0x60);
  });
});

describe('UART interrupts', () => {
  it('reports causes in priority order and gates them with OUT2', () => {
    const { uart, write, read, line } = setUp();
    write(2, 0x01);
    write(4, 0x12); // loopback with RTS, then without: delta CTS
    read(6);
    write(1, 0x0f);
    for (let i = 0; i < 17; i++) write(0, i); // fills the FIFO and overruns it
    write(4, 0x00);
    expect(line.level).toBe(false);
    write(4, 0x08);
    expect(line.level).toBe(true);
    expect(read(2)).toBe(0xc6);
    expect(read(5) & 0x02).toBe(0x02);
    expect(read(2)).toBe(0xc4);
    for (let i = 0; i < 16; i++) read(0);
    expect(read(2)).toBe(0xc2);
    expect(read(2)).toBe(0xc0);
    expect(read(6) & 0x0f).not.toBe(0);
    expect(read(2)).toBe(0xc1);
    expect(line.level).toBe(false);
    expect(uart.inspect().overruns).toBe(1n);
  });

  it('runs on from the same bytes in another object', () => {
    const { state, uart, line, far } = setUp();
    uart.receive(Uint8Array.of(7));
    const other = new Uart(state, { firstPort: BASE }, line, far);
    expect(other.readPort(BASE, 1)).toBe(7);
    expect(uart.readPort(BASE + 5, 1)).toBe(0x60);
  });
});
