/** Memory accesses of instructions: crossing pages, devices, read-only memory, code, and the TLB in front of all that. */
import { beforeEach, describe, expect, it } from 'vitest';
import { HOLDER, PageFlag } from '../memory/layout.ts';
import { resetPowerUp } from '../vp/reset.ts';
import { Flag, Vector } from '../vp/state.ts';
import { CR0, CR4, Machine } from './machine.fixture.ts';
import { P, PS, U, W } from './reference.fixture.ts';

const machine = new Machine();
const { vp, ram, engine } = machine;

/** Four tables stand in the first pages; devices far above RAM. */
const TABLES = 0x1000;
const FAR = 0x8000_0000n;
function clearTables(): void {
  machine.bytes.fill(0, TABLES, TABLES + 4 * 0x1000);
}

describe('accesses of instructions', () => {
  const CODE = 0x20_0000n;
  const [ONE, TWO, DEVICE] = [0x40_0000n, 0x80_0000n, FAR];
  /** Linear pages 0x1000 and 0x2000 and so on, through one page table; code at CODE, for users too. */
  const PT = TABLES + 0x3000;
  function map(linear: bigint, frame: bigint, flags = P | W | U): void {
    ram.setBigUint64(PT + 8 * Number(linear >> 12n), frame | flags, true);
  }
  /** `what` [rbx], rax and relatives. */
  const CODES: Record<string, number[]> = {
    load1: [0x8a, 0x03],
    load2: [0x66, 0x8b, 0x03],
    load4: [0x8b, 0x03],
    load8: [0x48, 0x8b, 0x03],
    store1: [0x88, 0x03],
    store2: [0x66, 0x89, 0x03],
    store4: [0x89, 0x03],
    store8: [0x48, 0x89, 0x03],
    add1: [0x00, 0x03],
    add2: [0x66, 0x01, 0x03],
    add4: [0x01, 0x03],
    add8: [0x48, 0x01, 0x03],
    loadX: [0x0f, 0x10, 0x03],
    storeX: [0x0f, 0x11, 0x03],
    push: [0x50],
    pop: [0x58],
    loadSs: [0x36, 0x48, 0x8b, 0x03],
    loadRbp: [0x48, 0x8b, 0x45, 0x00],
  };
  const starts: Record<string, bigint> = {};
  beforeEach(() => {
    machine.setPage(0x40_0000, PageFlag.PRESENT | PageFlag.WRITABLE);
    machine.configure('4-level', 0, { cr0: CR0.WP, cr3: BigInt(TABLES) });
    clearTables();
    for (let n = 0; n < 3; n++)
      ram.setBigUint64(TABLES + n * 0x1000, BigInt(TABLES + (n + 1) * 0x1000) | P | W | U, true);
    // CODE through a large page, so that the small ones are the tests'.
    ram.setBigUint64(TABLES + 0x2000 + 8, CODE | PS | P | U, true);
    let at = Number(CODE);
    for (const [name, bytes] of Object.entries(CODES)) {
      starts[name] = BigInt(at);
      machine.bytes.set(bytes, at);
      at += 16;
    }
    map(0x1000n, ONE);
    map(0x2000n, TWO);
    machine.mmio.length = 0;
    for (let i = 0; i < 0x1000; i++) {
      machine.bytes[Number(ONE) + i] = (i * 7 + 1) & 0xff;
      machine.bytes[Number(TWO) + i] = (i * 5 + 2) & 0xff;
    }
  });
  function execute(name: string, address: bigint, rax = 0n): ReturnType<Machine['run']> {
    vp.gpr[3] = address;
    vp.gpr[4] = address;
    vp.gpr[5] = address;
    vp.gpr[0] = rax;
    return machine.run(starts[name] as bigint, 1);
  }
  /** Bytes as the guest sees them across the two pages. */
  function seen(address: bigint, count: number): number[] {
    return Array.from({ length: count }, (_, i) => {
      const at = Number(address) + i;
      return machine.bytes[Number(at < 0x2000 ? ONE : TWO) + (at & 0xfff)] as number;
    });
  }
  const word = (bytes: readonly number[]): bigint => bytes.reduceRight((all, b) => (all << 8n) | BigInt(b), 0n);

  it.each([1, 2, 4, 8])('of %i bytes cross from one frame to another', (size) => {
    const mask = (1n << BigInt(8 * size)) - 1n;
    const value = 0x8877_6655_4433_2211n & mask;
    for (let before = 0; before <= size; before++) {
      const address = 0x2000n - BigInt(before);
      for (let twice = 0; twice < 2; twice++) {
        const old = word(seen(address, size));
        expect(execute(`load${size}`, address)).toBeUndefined();
        expect((vp.gpr[0] as bigint) & mask).toBe(old);
        expect(execute(`add${size}`, address, value)).toBeUndefined();
        expect(word(seen(address, size))).toBe((old + value) & mask);
        expect(execute(`store${size}`, address, value)).toBeUndefined();
        expect(word(seen(address, size))).toBe(value);
        // The neighbours are untouched.
        expect(seen(address - 1n, 1)).not.toEqual([0x11]);
      }
    }
  });

  it('of 16 bytes cross too', () => {
    for (let before = 0n; before <= 16n; before++) {
      const address = 0x2000n - before;
      const old = word(seen(address, 16));
      expect(execute('loadX', address)).toBeUndefined();
      expect((vp.xmm[0] as bigint) | ((vp.xmm[1] as bigint) << 64n)).toBe(old);
      vp.xmm[0] = 0x1122_3344_5566_7788n + before;
      vp.xmm[1] = 0x99aa_bbcc_ddee_ff00n;
      expect(execute('storeX', address)).toBeUndefined();
      expect(word(seen(address, 16))).toBe((0x99aa_bbcc_ddee_ff00n << 64n) | (0x1122_3344_5566_7788n + before));
    }
  });

  it('that cross into a page that is not there change neither', () => {
    const faults: [flags: bigint, error: number][] = [
      [0n, 2],
      [P | U, 3],
    ];
    for (const [flags, error] of faults) {
      map(0x2000n, TWO, flags);
      engine.flushTlb('all');
      const before = seen(0x1ff0n, 32);
      for (const name of ['store8', 'add8', 'storeX'])
        expect(execute(name, 0x1ffcn, -1n)).toEqual({ vector: Vector.PF, error, cr2: 0x2000n });
      expect(seen(0x1ff0n, 32)).toEqual(before);
      expect(vp.rip).toBe(starts.storeX);
    }
    map(0x2000n, TWO, 0n);
    engine.flushTlb('all');
    expect(execute('load8', 0x1ffcn)).toEqual({ vector: Vector.PF, error: 0, cr2: 0x2000n });
    map(0x1000n, ONE, 0n);
    map(0x2000n, TWO);
    engine.flushTlb('all');
    expect(execute('store8', 0x1ffcn)).toEqual({ vector: Vector.PF, error: 2, cr2: 0x1ffcn });
  });

  it('reach devices with their size, once for a modification', () => {
    map(0x1000n, DEVICE);
    engine.flushTlb('all');
    for (const size of [1, 2, 4, 8]) {
      machine.mmio.length = 0;
      execute(`load${size}`, 0x1010n);
      execute(`store${size}`, 0x1010n, 0x8877_6655_4433_2211n);
      execute(`add${size}`, 0x1010n, 1n);
      const gpa = DEVICE + 0x10n;
      const read = { gpa, size, written: undefined };
      const bytes = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88].slice(0, size);
      const contents = Array.from({ length: size }, (_, i) => 0x10 + i);
      contents[0] = (contents[0] as number) + 1;
      expect(machine.mmio).toEqual([read, { gpa, size, written: bytes }, read, { gpa, size, written: contents }]);
    }
  });

  it('that cross from memory to a device give each its part', () => {
    map(0x2000n, DEVICE);
    engine.flushTlb('all');
    execute('store8', 0x1ffdn, 0x8877_6655_4433_2211n);
    expect(seen(0x1ffdn, 3)).toEqual([0x11, 0x22, 0x33]);
    expect(machine.mmio).toEqual([{ gpa: DEVICE, size: 5, written: [0x44, 0x55, 0x66, 0x77, 0x88] }]);
    execute('load8', 0x1ffdn);
    // What a device would give to a part of a load is not defined; all ones.
    expect(vp.gpr[0]).toBe(0xffff_ffff_ff33_2211n);
  });

  it('to read-only memory read it and store nowhere', () => {
    machine.setPage(0x40_0000, PageFlag.PRESENT);
    const before = seen(0x1100n, 16);
    execute('load8', 0x1100n);
    expect(vp.gpr[0]).toBe(word(before.slice(0, 8)));
    for (const name of ['store8', 'add8', 'storeX']) expect(execute(name, 0x1100n, 5n)).toBeUndefined();
    execute('store8', 0x1ffcn, -1n);
    expect(seen(0x1100n, 16)).toEqual(before);
    expect(seen(0x2000n, 4)).toEqual([0xff, 0xff, 0xff, 0xff]);
    expect(machine.mmio).toEqual([]);
  });

  it('that store to code of another processor tell so each time, before the store', () => {
    machine.setPage(0x40_0000, PageFlag.PRESENT | PageFlag.WRITABLE | PageFlag.CODE | HOLDER);
    machine.codeWritten.length = 0;
    for (const n of [1, 2]) execute('store4', 0x1100n, BigInt(n));
    execute('store4', 0x1ffen, 3n);
    expect(machine.codeWritten).toEqual([
      [0x40_0100, 4],
      [0x40_0100, 4],
      [0x40_0ffe, 2],
    ]);
    expect(seen(0x1ffen, 4)).toEqual([3, 0, 0, 0]);
  });

  it('that store to a page tell no longer, where one processor is alone and has no code of it left', () => {
    machine.setPage(0x40_0000, PageFlag.PRESENT | PageFlag.WRITABLE | PageFlag.CODE);
    machine.codeWritten.length = 0;
    machine.alone = true;
    for (const n of [1, 2]) execute('store4', 0x1100n, BigInt(n));
    machine.alone = false;
    expect(machine.codeWritten).toEqual([[0x40_0100, 4]]);
    expect(machine.pageFlags(0x40_0000) & PageFlag.CODE).toBe(0);
  });

  it('mark the pages they store to', () => {
    const flags = (): number[] => [0x40_0000, 0x80_0000].map((gpa) => machine.pageFlags(gpa) & PageFlag.DIRTY);
    for (const gpa of [0x40_0000, 0x80_0000]) machine.setPage(gpa, PageFlag.PRESENT | PageFlag.WRITABLE);
    execute('load8', 0x1ffcn);
    expect(flags()).toEqual([0, 0]);
    execute('store8', 0x1000n);
    expect(flags()).toEqual([PageFlag.DIRTY, 0]);
    machine.setPage(0x40_0000, PageFlag.PRESENT | PageFlag.WRITABLE);
    engine.flushWrites();
    execute('store8', 0x1ffcn);
    expect(flags()).toEqual([PageFlag.DIRTY, PageFlag.DIRTY]);
  });

  it.each(
    [
      0x8000_0000_0000n,
      0xffff_7fff_ffff_ffffn,
      0x8000_0000_0000_0000n,
      0x8000_0000_0000_0100n,
      0x1_0000_0000_1000n,
      // Addresses of the shapes that empty TLB entries have.
      0x8080_8080_8080_8080n,
      0x8080_8080_8080_8088n,
      0x8080_8080_8080_9000n,
      0x7fff_ffff_ffff_f000n,
      0x7f7f_7f7f_7f7f_7f80n,
      // Canonical, and what follows is not.
      0x7fff_ffff_fffcn,
    ].map((a) => [a.toString(16), a] as const),
  )('to the non-canonical %s are #GP, through the stack segment #SS', (_hex, address) => {
    for (const again of ['emptied', 'one page dropped', 'stores dropped']) {
      if (again === 'emptied') engine.flushTlb('all');
      else if (again === 'one page dropped') {
        // What was at the page's place in the TLB before must not show.
        execute('store8', 0x1000n);
        for (let n = 0n; n < 1024n; n++) engine.flushTlb('page', n << 12n);
      } else engine.flushWrites();
      for (const name of ['load8', 'store8', 'add8', 'loadX', 'storeX'])
        expect(execute(name, address), `${name}, ${again}`).toEqual({ vector: Vector.GP, error: 0, cr2: vp.cr2 });
      for (const name of ['pop', 'loadRbp'])
        expect(execute(name, address), `${name}, ${again}`).toEqual({ vector: Vector.SS, error: 0, cr2: vp.cr2 });
    }
  });

  it('reach the last canonical byte below the hole and the first above it', () => {
    expect(execute('load1', 0x7fff_ffff_ffffn)?.vector).toBe(Vector.PF);
    expect(execute('load8', 0xffff_8000_0000_0000n)?.vector).toBe(Vector.PF);
    expect(execute('load1', 0xffff_ffff_ffff_ffffn)).toEqual({
      vector: Vector.PF,
      error: 0,
      cr2: 0xffff_ffff_ffff_ffffn,
    });
  });

  it('are checked for alignment where that is asked for', () => {
    machine.configure('4-level', 3, { cr0: CR0.WP | CR0.AM, cr3: BigInt(TABLES), flags: Flag.AC | 2 });
    expect(execute('load4', 0x1004n)).toBeUndefined();
    expect(execute('load8', 0x1004n)).toMatchObject({ vector: Vector.AC, error: 0 });
    expect(execute('store2', 0x1001n)).toMatchObject({ vector: Vector.AC });
    expect(execute('load1', 0x1001n)).toBeUndefined();
    machine.configure('4-level', 0, { cr0: CR0.WP | CR0.AM, cr3: BigInt(TABLES), flags: Flag.AC | 2 });
    expect(execute('load8', 0x1004n)).toBeUndefined();
  });

  describe('and the TLB', () => {
    const value = (address: bigint): bigint => {
      execute('load8', address);
      return vp.gpr[0] as bigint;
    };

    it('remembers a translation until it is dropped', () => {
      const [one, two] = [value(0x1000n), value(0x2000n)];
      expect(one).not.toBe(two);
      map(0x1000n, TWO);
      map(0x2000n, ONE);
      expect([value(0x1000n), value(0x2000n)]).toEqual([one, two]);
      engine.flushTlb('page', 0x1abcn);
      expect([value(0x1000n), value(0x2000n)]).toEqual([two, two]);
      engine.flushTlb('all');
      expect([value(0x1000n), value(0x2000n)]).toEqual([two, one]);
    });

    it('never gives a generation of its second level twice', () => {
      engine.flushTlb('all');
      vp.stlbGenerations.set([1, 2, 3, 4]);
      vp.stlbLast = 0xffff_fff0;
      // Of what is global the generations would stay.
      engine.flushTlb('nonGlobal');
      expect(new Set(vp.stlbGenerations).size).toBe(4);
      expect(Math.max(...vp.stlbGenerations)).toBe(vp.stlbLast);
      expect(vp.stlbLast).toBeLessThan(10);
    });

    it('holds nothing of before the processor was powered up', () => {
      const powerUp = (): void => {
        resetPowerUp(vp);
        engine.restart();
        machine.configure('4-level', 0, { cr0: CR0.WP, cr3: BigInt(TABLES) });
        for (let i = 0; i < 3; i++) engine.flushTlb('all');
      };
      powerUp();
      const generations = [...vp.stlbGenerations];
      const one = value(0x1000n);
      map(0x1000n, TWO);
      powerUp();
      expect([...vp.stlbGenerations]).toEqual(generations);
      expect(value(0x1000n)).not.toBe(one);
    });

    it('keeps global translations where CR3 is written, and no others', () => {
      const GLOBAL = 1n << 8n;
      machine.configure('4-level', 0, { cr0: CR0.WP, cr3: BigInt(TABLES), cr4: CR4.PGE });
      map(0x1000n, ONE, P | W | U | GLOBAL);
      const [one, two] = [value(0x1000n), value(0x2000n)];
      map(0x1000n, TWO, P | W | U | GLOBAL);
      map(0x2000n, ONE);
      engine.flushTlb('nonGlobal');
      expect([value(0x1000n), value(0x2000n)]).toEqual([one, one]);
      engine.flushTlb('page', 0x1000n);
      expect(value(0x1000n)).toBe(two);
      // Without CR4.PGE the bit means nothing.
      machine.configure('4-level', 0, { cr0: CR0.WP, cr3: BigInt(TABLES) });
      expect(value(0x1000n)).toBe(two);
      map(0x1000n, ONE, P | W | U | GLOBAL);
      engine.flushTlb('nonGlobal');
      expect(value(0x1000n)).toBe(one);
    });

    it('forgets what is not global also after more translations than it has places for', () => {
      const [one, two] = [value(0x1000n), value(0x2000n)];
      for (let n = 0; n < 3000; n++) {
        engine.flushTlb('page', 0x3000n);
        map(0x3000n, n % 2 === 0 ? ONE : TWO);
        expect(value(0x3000n)).toBe(n % 2 === 0 ? one : two);
      }
      map(0x1000n, TWO);
      engine.flushTlb('nonGlobal');
      expect(value(0x1000n)).toBe(two);
    });

    it('drops all of a large page by any of its addresses', () => {
      const LINEAR = 0x60_0000n;
      ram.setBigUint64(TABLES + 0x2000 + 24, ONE | PS | P | W | U, true);
      ram.setBigUint64(Number(ONE) + 0x1000, 1n, true);
      ram.setBigUint64(Number(TWO) + 0x1000, 2n, true);
      expect(value(LINEAR + 0x1000n)).toBe(1n);
      ram.setBigUint64(TABLES + 0x2000 + 24, TWO | PS | P | W | U, true);
      expect(value(LINEAR + 0x1000n)).toBe(1n);
      engine.flushTlb('page', LINEAR + 0x1f_0000n);
      expect(value(LINEAR + 0x1000n)).toBe(2n);
    });

    it('drops a page for stores as well as loads, and users as well as the supervisor', () => {
      execute('store8', 0x1000n, 1n);
      map(0x1000n, TWO);
      engine.flushTlb('page', 0x1000n);
      execute('store8', 0x1000n, 2n);
      expect([ram.getBigUint64(Number(ONE), true), ram.getBigUint64(Number(TWO), true)]).toEqual([1n, 2n]);
    });

    it('keeps users from what the supervisor has looked up, and stores from what was loaded', () => {
      map(0x1000n, ONE, P | W);
      map(0x2000n, TWO, P | U);
      value(0x1000n);
      value(0x2000n);
      expect(execute('store8', 0x2000n)).toEqual({ vector: Vector.PF, error: 3, cr2: 0x2000n });
      // The privilege level changes with SS; what is in the TLB stays.
      const keep = (cpl: 0 | 3): void => {
        const flush = engine.flushTlb;
        engine.flushTlb = () => {};
        machine.configure('4-level', cpl, { cr0: CR0.WP, cr3: BigInt(TABLES) });
        engine.flushTlb = flush;
      };
      keep(3);
      expect(execute('load8', 0x1000n)).toEqual({ vector: Vector.PF, error: 5, cr2: 0x1000n });
      expect(execute('load8', 0x2000n)).toBeUndefined();
      expect(execute('store8', 0x2000n)).toEqual({ vector: Vector.PF, error: 7, cr2: 0x2000n });
      keep(0);
      expect(execute('load8', 0x1000n)).toBeUndefined();
    });

    it('keeps the supervisor from user pages again when RFLAGS.AC is cleared', () => {
      const smap = (flags: number): void => {
        const flush = engine.flushTlb;
        engine.flushTlb = () => {};
        machine.configure('4-level', 0, { cr0: CR0.WP, cr3: BigInt(TABLES), cr4: CR4.SMAP, flags });
        engine.flushTlb = flush;
      };
      smap(Flag.AC | 2);
      expect(execute('load8', 0x1000n)).toBeUndefined();
      smap(2);
      expect(execute('load8', 0x1000n)).toEqual({ vector: Vector.PF, error: 1, cr2: 0x1000n });
      smap(Flag.AC | 2);
      expect(execute('load8', 0x1000n)).toBeUndefined();
    });

    it('sets the dirty flag at the first store after loads', () => {
      value(0x1000n);
      expect(ram.getUint8(PT + 8) & 0x60).toBe(0x20);
      execute('store1', 0x1000n);
      expect(ram.getUint8(PT + 8) & 0x60).toBe(0x60);
    });

    it('tells pages apart that share a place in it', () => {
      // 1024 places: linear addresses 4 MiB apart meet.
      ram.setBigUint64(TABLES + 0x2000 + 16, BigInt(TABLES + 0x3000) | P | W | U, true);
      map(0x1000n, ONE);
      const alias = 0x40_1000n;
      expect(value(0x1000n)).toBe(value(alias));
      ram.setBigUint64(TABLES + 0x2000 + 16, 0n, true);
      engine.flushTlb('page', alias);
      expect(value(0x1000n)).toBe(word(seen(0x1000n, 8)));
      expect(execute('load8', alias)).toEqual({ vector: Vector.PF, error: 0, cr2: alias });
    });
  });
});
