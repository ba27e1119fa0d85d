import { describe, expect, it } from 'vitest';
import { InterruptRouter } from './interrupt-router.ts';
import { EXTINT, LocalApic } from './local-apic.ts';
import { ApicBase, MSR_APIC_BASE, Register } from './registers.ts';
import { LocalApicState } from './state.ts';

function machine(
  count: number,
  options: { directedEoi?: boolean; external?: { pending: boolean; vector: number } } = {},
) {
  const clock = { time: 0n, now: () => clock.time };
  const rung: number[] = [];
  const eois: number[] = [];
  const router = new InterruptRouter();
  const buffer = new SharedArrayBuffer(LocalApicState.size * count);
  const { external } = options;
  const apics = Array.from({ length: count }, (_, vp) => {
    const apic = new LocalApic({
      buffer,
      base: vp * LocalApicState.size,
      vp,
      apicId: vp,
      bootstrap: vp === 0,
      clock,
      doorbell: { ring: (n) => rung.push(n) },
      router,
      ioApic: { ioApicEoi: (vector) => eois.push(vector) },
      directedEoi: options.directedEoi ?? false,
      ...(external
        ? { external: { extIntPending: () => external.pending, extIntAcknowledge: () => external.vector } }
        : {}),
    });
    apic.reset();
    return apic;
  });
  const enable = () => {
    for (const apic of apics) apic.writeRegister(Register.SVR, 0x1ff);
  };
  return {
    clock,
    rung,
    eois,
    router,
    buffer,
    apics,
    apic: apics[0] as LocalApic,
    other: apics[1] as LocalApic,
    enable,
  };
}

function take(apic: LocalApic): number {
  return apic.hasInterrupt() < 0 ? -1 : apic.acknowledge();
}

describe('reset values', () => {
  it('are those of the SDM', () => {
    const { apic, other } = machine(2);
    expect(apic.readMsr(MSR_APIC_BASE)).toBe(0xfee00900n);
    expect(other.readMsr(MSR_APIC_BASE)).toBe(0xfee00800n);
    expect(other.readMmio(0x20, 4)).toBe(0x01000000);
    expect(apic.readMmio(0x30, 4)).toBe(0x00050014);
    expect(apic.readMmio(0xe0, 4)).toBe(0xffffffff);
    expect(apic.readMmio(0xf0, 4)).toBe(0xff);
    expect(apic.readMmio(0x320, 4)).toBe(0x10000);
    expect(apic.waitingForSipi).toBe(false);
    expect(other.waitingForSipi).toBe(true);
  });
});

describe('priorities', () => {
  it('delivers in order of vector and blocks the class in service', () => {
    const { apic, enable } = machine(1);
    enable();
    for (const vector of [0x31, 0x52, 0x55]) apic.accept(vector, false);
    expect(take(apic)).toBe(0x55);
    expect(apic.ppr).toBe(0x50);
    expect(apic.hasInterrupt()).toBe(-1);
    apic.accept(0x60, false);
    expect(take(apic)).toBe(0x60);
    apic.eoi();
    expect(apic.hasInterrupt()).toBe(-1);
    apic.eoi();
    expect(take(apic)).toBe(0x52);
    apic.eoi();
    expect(take(apic)).toBe(0x31);
  });

  it('holds back what CR8 forbids', () => {
    const { apic, enable } = machine(1);
    enable();
    apic.accept(0x45, false);
    apic.cr8 = 4;
    expect(apic.hasInterrupt()).toBe(-1);
    expect(apic.anyPending).toBe(true);
    expect(apic.readMmio(0x80, 4)).toBe(0x40);
    expect(apic.readMmio(0xa0, 4)).toBe(0x40);
    apic.cr8 = 3;
    expect(apic.hasInterrupt()).toBe(0x45);
  });

  it('answers a vanished interrupt with the spurious vector and leaves ISR alone', () => {
    const { apic, enable } = machine(1);
    enable();
    expect(apic.acknowledge()).toBe(0xff);
    expect(apic.readMmio(0x170, 4)).toBe(0);
  });

  it('accepts nothing while software-disabled, and NMI all the same', () => {
    const { apic, router } = machine(1);
    expect(apic.accept(0x40, false)).toBe(false);
    const nmi = { vector: 0, deliveryMode: 4, destination: 0, logical: false, trigger: 'edge' } as const;
    expect(router.requestInterrupt(nmi)).toBe(true);
    expect(apic.takeNmi()).toBe(true);
    expect(apic.takeNmi()).toBe(false);
  });

  it('rings the doorbell once per newly requested vector', () => {
    const { apic, enable, rung } = machine(1);
    enable();
    apic.accept(0x40, false);
    apic.accept(0x40, false);
    expect(rung).toEqual([0]);
  });
});

describe('end of interrupt', () => {
  it('reaches the IO-APIC for level-triggered vectors only', () => {
    const { apic, enable, eois } = machine(1);
    enable();
    apic.accept(0x40, true);
    apic.accept(0x50, false);
    take(apic);
    apic.writeMmio(0xb0, 4, 0);
    expect(eois).toEqual([]);
    take(apic);
    apic.writeMmio(0xb0, 4, 0);
    expect(eois).toEqual([0x40]);
    apic.eoi();
    expect(eois).toEqual([0x40]);
    apic.accept(0x40, false); // the vector's trigger mode is that of its latest interrupt
    take(apic);
    apic.eoi();
    expect(eois).toEqual([0x40]);
  });

  it('is suppressed by SVR bit 12 where that is announced', () => {
    const { apic, eois } = machine(1, { directedEoi: true });
    apic.writeRegister(Register.SVR, 0x11ff);
    apic.accept(0x40, true);
    take(apic);
    apic.eoi();
    expect(eois).toEqual([]);
    expect(apic.readMmio(0x30, 4)).toBe(0x01050014);
  });

  it('is not needed for auto-EOI vectors', () => {
    const { apic, enable } = machine(1);
    enable();
    apic.setAutoEoi([0xb0]);
    apic.accept(0xb0, false);
    expect(take(apic)).toBe(0xb0);
    expect(apic.ppr).toBe(0);
  });
});

describe('inter-processor interrupts', () => {
  const icr = (apic: LocalApic, destination: number, low: number) => {
    apic.writeMmio(0x310, 4, destination << 24);
    apic.writeMmio(0x300, 4, low);
  };

  it('go to a physical destination, to broadcast and by shorthand', () => {
    const { apics, apic, other, enable } = machine(3);
    enable();
    const third = apics[2] as LocalApic;
    icr(apic, 1, 0x40);
    expect(apics.map(take)).toEqual([-1, 0x40, -1]);
    for (const a of apics) a.eoi();
    icr(apic, 0xff, 0x41);
    expect(apics.map(take)).toEqual([0x41, 0x41, 0x41]);
    for (const a of apics) a.eoi();
    icr(other, 0, 0x42 | (1 << 18));
    expect(apics.map(take)).toEqual([-1, 0x42, -1]);
    for (const a of apics) a.eoi();
    icr(third, 0, 0x43 | (3 << 18));
    expect(apics.map(take)).toEqual([0x43, 0x43, -1]);
    for (const a of apics) a.eoi();
    icr(third, 0, 0x44 | (2 << 18));
    expect(apics.map(take)).toEqual([0x44, 0x44, 0x44]);
  });

  it('resolve logical destinations in the flat and the cluster model', () => {
    const { apics, apic, other, enable } = machine(3);
    enable();
    apics.forEach((a, i) => {
      a.writeMmio(0xd0, 4, (1 << i) << 24);
    });
    icr(apic, 0b110, 0x40 | (1 << 11));
    expect(apics.map(take)).toEqual([-1, 0x40, 0x40]);
    for (const a of apics) a.eoi();
    for (const a of apics) a.writeMmio(0xe0, 4, 0x0fffffff);
    other.writeMmio(0xd0, 4, 0x11 << 24);
    icr(apic, 0x01, 0x41 | (1 << 11));
    expect(apics.map(take)).toEqual([0x41, -1, -1]);
    for (const a of apics) a.eoi();
    icr(apic, 0xf1, 0x42 | (1 << 11));
    expect(apics.map(take)).toEqual([0x42, 0x42, -1]);
  });

  it('start a processor with INIT and SIPI, and lose a SIPI nobody waits for', () => {
    const { apic, other } = machine(2);
    other.takeInit();
    icr(apic, 1, 0x0000c500);
    icr(apic, 1, 0x00008500); // de-assert: no effect
    expect(other.takeInit()).toBe(true);
    expect(other.takeInit()).toBe(false);
    expect(other.takeSipi()).toBe(-1);
    icr(apic, 1, 0x4600 | 0x9a);
    icr(apic, 1, 0x4600 | 0x9a);
    expect(other.takeSipi()).toBe(0x9a);
    expect(other.waitingForSipi).toBe(false);
    icr(apic, 1, 0x4600 | 0x9b);
    expect(other.takeSipi()).toBe(-1);
    expect(other.eventPending).toBe(false);
  });

  it('restart the bootstrap processor on INIT without waiting, keeping its base', () => {
    const { apic, enable } = machine(1);
    enable();
    apic.accept(0x40, false);
    apic.requestInit();
    expect(apic.takeInit()).toBe(true);
    expect(apic.waitingForSipi).toBe(false);
    expect(apic.softwareEnabled).toBe(false);
    expect(apic.readMmio(0x220, 4)).toBe(0);
    expect(apic.readMsr(MSR_APIC_BASE)).toBe(0xfee00900n);
  });

  it('arbitrate the lowest priority by PPR', () => {
    const { apics, router, enable } = machine(3);
    enable();
    apics.forEach((a, i) => {
      a.writeMmio(0xd0, 4, (1 << i) << 24);
    });
    (apics[0] as LocalApic).cr8 = 2;
    (apics[2] as LocalApic).cr8 = 1;
    router.send(0xfee00000 | (0b101 << 12) | 0xc, 0x40);
    expect(apics.map(take)).toEqual([-1, -1, 0x40]);
  });

  it('report illegal vectors in ESR, with the error interrupt', () => {
    const { apic, other, enable } = machine(2);
    enable();
    apic.writeMmio(0x370, 4, 0x33);
    icr(apic, 1, 0x0f);
    expect(apic.readMmio(0x280, 4)).toBe(0);
    apic.writeMmio(0x280, 4, 0);
    expect(apic.readMmio(0x280, 4)).toBe(0x20);
    expect(take(apic)).toBe(0x33);
    other.accept(3, false);
    other.writeMmio(0x280, 4, 0);
    expect(other.readMmio(0x280, 4)).toBe(0x40);
    other.readMmio(0x3f0, 4);
    other.writeMmio(0x280, 4, 0);
    expect(other.readMmio(0x280, 4)).toBe(0x80);
  });

  it('do not send what the table of valid combinations leaves out', () => {
    const { apics, apic, enable } = machine(2);
    enable();
    icr(apic, 0, 0x400 | (2 << 18));
    icr(apic, 0, 0x400 | (1 << 18));
    expect(apics.map((a) => a.eventPending)).toEqual([false, false]);
    icr(apic, 0, 0x400 | (3 << 18));
    expect(apics.map((a) => a.takeNmi())).toEqual([false, true]);
  });
});

describe('IA32_APIC_BASE and x2APIC', () => {
  const base = 0xfee00000n | ApicBase.BSP;

  it('allows the legal transitions only', () => {
    const { apic } = machine(1);
    const write = (bits: bigint) => apic.writeMsr(MSR_APIC_BASE, base | bits);
    expect(write(ApicBase.EXTENDED)).toBe(false);
    expect(write(ApicBase.ENABLE | ApicBase.EXTENDED)).toBe(true);
    expect(apic.mmioBase).toBeUndefined();
    expect(write(ApicBase.ENABLE)).toBe(false);
    expect(write(0n)).toBe(true);
    expect(write(ApicBase.ENABLE | ApicBase.EXTENDED)).toBe(false);
    expect(write(ApicBase.ENABLE)).toBe(true);
    expect(apic.mmioBase).toBe(0xfee00000);
    expect(apic.writeMsr(MSR_APIC_BASE, base | 1n)).toBe(false);
    expect(apic.writeMsr(MSR_APIC_BASE, base | (1n << 40n))).toBe(false);
  });

  it('has the MSRs with their #GP rules', () => {
    const { apics, apic } = machine(2);
    expect(apic.readMsr(0x802)).toBeUndefined();
    apics.forEach((a, i) => {
      const bsp = i === 0 ? ApicBase.BSP : 0n;
      expect(a.writeMsr(MSR_APIC_BASE, 0xfee00000n | bsp | ApicBase.ENABLE | ApicBase.EXTENDED)).toBe(true);
      expect(a.writeMsr(0x80f, 0x1ffn)).toBe(true);
      expect(a.readMsr(0x802)).toBe(BigInt(i));
      expect(a.readMsr(0x80d)).toBe(BigInt(1 << i));
    });
    for (const readOnly of [0x802, 0x803, 0x80a, 0x80d, 0x810, 0x827, 0x839])
      expect(apic.writeMsr(readOnly, 0n)).toBe(false);
    for (const writeOnly of [0x80b, 0x83f]) expect(apic.readMsr(writeOnly)).toBeUndefined();
    for (const absent of [0x800, 0x80e, 0x831, 0x82f, 0x840, 0x8ff]) {
      expect(apic.readMsr(absent)).toBeUndefined();
      expect(apic.writeMsr(absent, 0n)).toBe(false);
    }
    expect(apic.writeMsr(0x80b, 1n)).toBe(false);
    expect(apic.writeMsr(0x80b, 0n)).toBe(true);
    expect(apic.writeMsr(0x828, 1n)).toBe(false);
    expect(apic.writeMsr(0x808, 0x100n)).toBe(false);
    expect(apic.writeMsr(0x832, 1n << 18n)).toBe(false);
    expect(apic.writeMsr(0x838, 1n << 32n)).toBe(false);
    expect(apic.writeMsr(0x83f, 0x77n)).toBe(true);
    expect(take(apic)).toBe(0x77);
  });

  it('routes 32-bit destinations', () => {
    const { apics, apic } = machine(3);
    for (const a of apics) {
      a.writeMsr(MSR_APIC_BASE, (a.readMsr(MSR_APIC_BASE) as bigint) | ApicBase.EXTENDED);
      a.writeMsr(0x80f, 0x1ffn);
    }
    apic.writeMsr(0x830, (2n << 32n) | 0x40n);
    expect(apics.map(take)).toEqual([-1, -1, 0x40]);
    expect(apic.readMsr(0x830)).toBe((2n << 32n) | 0x40n);
    apic.writeMsr(0x830, (0xffn << 32n) | 0x41n);
    expect(apics.map(take)).toEqual([-1, -1, -1]);
    apic.writeMsr(0x830, (0xffffffffn << 32n) | 0x50n);
    expect(apics.map(take)).toEqual([0x50, 0x50, 0x50]);
    apic.writeMsr(0x830, (0b011n << 32n) | (1n << 11n) | 0x60n);
    expect(apics.map(take)).toEqual([0x60, 0x60, -1]);
  });
});

describe('the timer', () => {
  it('counts down at 200 MHz through the divider and fires once', () => {
    const { apic, clock, enable } = machine(1);
    enable();
    apic.writeMmio(0x3e0, 4, 0xb);
    apic.writeMmio(0x320, 4, 0xec);
    apic.writeMmio(0x380, 4, 200_000);
    expect(apic.nextDeadline()).toBe(1_000_000n);
    clock.time = 400_000n;
    expect(apic.readMmio(0x390, 4)).toBe(120_000);
    apic.poll(999_999n);
    expect(apic.hasInterrupt()).toBe(-1);
    clock.time = 1_000_000n;
    apic.poll(clock.time);
    expect(take(apic)).toBe(0xec);
    expect(apic.readMmio(0x390, 4)).toBe(0);
    expect(apic.nextDeadline()).toBeUndefined();
  });

  it('repeats, in phase, and merges periods that went by', () => {
    const { apic, clock, enable } = machine(1);
    enable();
    apic.writeMmio(0x3e0, 4, 0);
    apic.writeMmio(0x320, 4, 0x200ec);
    apic.writeMmio(0x380, 4, 100);
    clock.time = 3_500n;
    apic.poll(clock.time);
    expect(take(apic)).toBe(0xec);
    expect(apic.nextDeadline()).toBe(4_000n);
    expect(apic.readMmio(0x390, 4)).toBe(50);
  });

  it('counts while masked, keeps its place when the divider changes, and stops at zero', () => {
    const { apic, clock, enable } = machine(1);
    enable();
    apic.writeMmio(0x3e0, 4, 0xb);
    apic.writeMmio(0x380, 4, 1000);
    expect(apic.nextDeadline()).toBeUndefined();
    clock.time = 2_500n;
    apic.writeMmio(0x3e0, 4, 0xa); // by 128: the start moves to before time zero
    expect(apic.readMmio(0x390, 4)).toBe(500);
    clock.time += 640n * 100n;
    expect(apic.readMmio(0x390, 4)).toBe(400);
    apic.writeMmio(0x320, 4, 0xec);
    expect(apic.nextDeadline()).toBe(clock.time + 640n * 400n);
    apic.writeMmio(0x380, 4, 0);
    expect(apic.nextDeadline()).toBeUndefined();
  });
});

describe('LINT0 and the 8259 pair', () => {
  it('takes ExtINT through the virtual wire', () => {
    const external = { pending: true, vector: 0x08 };
    const { apic } = machine(1, { external });
    expect(apic.hasInterrupt()).toBe(-1);
    apic.setVirtualWire();
    expect(apic.hasInterrupt()).toBe(EXTINT);
    expect(apic.acknowledge()).toBe(0x08);
    expect(apic.ppr).toBe(0);
    external.pending = false;
    expect(apic.hasInterrupt()).toBe(-1);
    apic.pulseLint(1);
    expect(apic.takeNmi()).toBe(true);
  });

  it('is wired straight through when the APIC is globally disabled', () => {
    const { apic } = machine(1, { external: { pending: true, vector: 0x20 } });
    apic.writeMsr(MSR_APIC_BASE, 0xfee00100n);
    expect(apic.hasInterrupt()).toBe(EXTINT);
  });
});

describe('state', () => {
  it('survives save and load through plain data', () => {
    const first = machine(1);
    first.enable();
    first.apic.accept(0x81, true);
    const saved = JSON.parse(JSON.stringify(LocalApicState.save(first.apic.state)));
    const second = machine(1);
    LocalApicState.load(second.apic.state, saved);
    expect(second.apic.hasInterrupt()).toBe(0x81);
    expect(second.apic.inspect()).toEqual(first.apic.inspect());
  });
});
