import { describe, expect, it } from 'vitest';
import { TestBus, TestGuest } from '../../vmbus/guest.fixture.ts';
import { PAGE_SIZE, PacketType } from '../../vmbus/protocol.ts';
import { viewOf } from '../../vmbus/ring.ts';
import { Storvsp } from './device.ts';
import { ScsiDisk } from './disk.ts';
import { ScsiDvd } from './dvd.ts';
import { MemoryDisk } from './memory-disk.fixture.ts';
import { DataIn, Field, Operation, Sense } from './protocol.ts';
import type { LogicalUnit } from './unit.ts';

const DATA_PAGE = 512;

function attached(disk = new MemoryDisk(0x10_0000), unit: LogicalUnit = new ScsiDisk(disk), subChannels = 0) {
  const host = new TestBus();
  const storvsp = new Storvsp('scsi', 'f8b3781a-1e82-4818-a1c3-63d806ec15bb', { memory: host.memory, subChannels });
  storvsp.attach(0, unit);
  host.bus.offer(storvsp);
  const guest = new TestGuest(host);
  guest.contact();
  const channel = guest.open(guest.offers()[0]!, 8);
  let id = 0xffff_ffff_ffff_0000n;
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve, 0));
    host.run();
  };
  /** A packet without data pages: the 64 bytes of its answer. */
  const ask = async (operation: number, ...body: number[]): Promise<DataView> => {
    const payload = new Uint8Array(64);
    viewOf(payload).setUint32(0, operation, true);
    payload.set(body, Field.BODY);
    channel.send({ type: PacketType.DATA_IN_BAND, transactionId: ++id, payload, flags: 1 });
    await settle();
    const packet = channel.receive()!;
    expect(packet).toMatchObject({ type: PacketType.COMPLETION, transactionId: id });
    return viewOf(packet.payload);
  };
  const send = (cdb: number[], length: number, dataIn: number = DataIn.READ, lun = 0, offset = 100): bigint => {
    const payload = new Uint8Array(64);
    const view = viewOf(payload);
    view.setUint32(0, Operation.EXECUTE_SRB, true);
    payload[Field.LUN] = lun;
    payload[Field.CDB_LENGTH] = cdb.length;
    payload[Field.DATA_IN] = dataIn;
    view.setUint32(Field.TRANSFER_LENGTH, length, true);
    payload.set(cdb, Field.CDB);
    const pages = Math.ceil((offset + length) / PAGE_SIZE);
    const descriptor = new Uint8Array(16 + pages * 8);
    const ranges = viewOf(descriptor);
    [0, 1, length, offset].forEach((word, i) => {
      ranges.setUint32(i * 4, word, true);
    });
    for (let i = 0; i < pages; i++) ranges.setUint32(16 + i * 8, DATA_PAGE - i, true);
    const type = length > 0 ? PacketType.DATA_GPA_DIRECT : PacketType.DATA_IN_BAND;
    channel.send({ type, transactionId: ++id, payload, flags: 1, ...(length > 0 ? { descriptor } : {}) });
    return id;
  };
  /** Guest memory behind the buffer, page by page backwards. */
  const buffer = (length: number, offset = 100): Uint8Array => {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) {
      const at = offset + i;
      bytes[i] = host.memory.bytes[(DATA_PAGE - Math.floor(at / PAGE_SIZE)) * PAGE_SIZE + (at % PAGE_SIZE)]!;
    }
    return bytes;
  };
  const scsi = async (
    ...args: Parameters<typeof send>
  ): Promise<{ status: number; scsi: number; length: number; sense: number[] }> => {
    send(...args);
    await settle();
    const view = viewOf(channel.receive()!.payload);
    return {
      status: view.getUint8(Field.SRB_STATUS),
      scsi: view.getUint8(Field.SCSI_STATUS),
      length: view.getUint32(Field.TRANSFER_LENGTH, true),
      sense: [view.getUint8(Field.CDB + 2), view.getUint8(Field.CDB + 12), view.getUint8(Field.CDB + 13)],
    };
  };
  return { host, guest, storvsp, disk, channel, ask, send, scsi, buffer, settle };
}

describe('the synthetic SCSI controller', () => {
  it('is initialized as Linux does it', async () => {
    const { ask, storvsp } = attached();
    expect((await ask(Operation.BEGIN_INITIALIZATION)).getUint32(Field.STATUS, true)).toBe(0);
    expect((await ask(Operation.QUERY_PROTOCOL_VERSION, 3, 6)).getUint32(Field.STATUS, true)).not.toBe(0);
    expect((await ask(Operation.QUERY_PROTOCOL_VERSION, 2, 6)).getUint32(Field.STATUS, true)).toBe(0);
    const properties = await ask(Operation.QUERY_PROPERTIES);
    expect([properties.getUint32(0, true), properties.getUint32(Field.MAXIMUM_TRANSFER, true)]).toEqual([1, 0x40000]);
    expect((await ask(Operation.END_INITIALIZATION)).getUint32(Field.STATUS, true)).toBe(0);
    expect(storvsp.inspect()).toMatchObject({ ready: true });
    expect((await ask(99)).getUint32(Field.STATUS, true)).not.toBe(0);
  });

  it('says what its disks are', async () => {
    const { scsi, buffer } = attached();
    expect(await scsi([0x12, 0, 0, 0, 36], 36)).toMatchObject({ status: 1, length: 36 });
    expect(new TextDecoder().decode(buffer(36).subarray(8))).toBe('Msft    Virtual Disk    1.0 ');
    await scsi([0x25], 8);
    expect([...buffer(8)]).toEqual([0, 0, 7, 255, 0, 0, 2, 0]);
    await scsi([0x9e, 0x10], 32);
    // 512 bytes of 4096, provisioned thinly, zeroes after UNMAP.
    expect([...buffer(16)]).toEqual([0, 0, 0, 0, 0, 0, 7, 255, 0, 0, 2, 0, 0, 3, 0xc0, 0]);
    for (const page of [0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]) {
      expect(await scsi([0x12, 1, page, 0, 255], 255)).toMatchObject({ status: 1 });
      expect(buffer(2)[1]).toBe(page);
    }
    expect(await scsi([0xa0], 16)).toMatchObject({ length: 16 });
    expect([...buffer(16)]).toEqual([0, 0, 0, 8, ...new Array(12).fill(0)]);
    expect(await scsi([0x1a, 0, 0x3f], 64)).toMatchObject({ status: 1, length: 24 });
  });

  it('has nothing where no disk is', async () => {
    const { scsi, buffer } = attached();
    expect(await scsi([0x12, 0, 0, 0, 36], 36, DataIn.READ, 5)).toMatchObject({ status: 1 });
    expect(buffer(1)[0]).toBe(0x7f);
    expect(await scsi([0], 0, DataIn.NONE, 5)).toMatchObject({ status: 0x20 });
  });

  it('writes and reads across pages that are not behind each other', async () => {
    const { scsi, buffer, disk, host } = attached();
    for (let i = 0; i < 3; i++)
      host.memory.bytes.fill(i + 1, (DATA_PAGE - i) * PAGE_SIZE, (DATA_PAGE - i + 1) * PAGE_SIZE);
    const wanted = buffer(8192);
    expect(await scsi([0x2a, 8, 0, 0, 0, 8, 0, 0, 16, 0], 8192, DataIn.WRITE)).toMatchObject({
      status: 1,
      length: 8192,
    });
    expect(disk.bytes.subarray(4096, 12288)).toEqual(wanted);
    expect(disk.log).toEqual(['write 4096 8192', 'flush']);
    disk.bytes.fill(9, 4096, 5120);
    expect(await scsi([0x88, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 16], 8192)).toMatchObject({ status: 1, length: 8192 });
    expect(buffer(8192)).toEqual(disk.bytes.subarray(4096, 12288));
  });

  it('discards, zeroes and flushes', async () => {
    const { scsi, disk, host } = attached();
    host.memory.bytes.fill(0, (DATA_PAGE - 1) * PAGE_SIZE, (DATA_PAGE + 1) * PAGE_SIZE);
    const list = DATA_PAGE * PAGE_SIZE + 100;
    host.memory.bytes.set([0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 16], list);
    expect(await scsi([0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], 24, DataIn.WRITE)).toMatchObject({ status: 1 });
    host.memory.bytes.fill(0, list, list + 512);
    await scsi([0x93, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0], 512, DataIn.WRITE);
    await scsi([0x93, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0], 512, DataIn.WRITE);
    await scsi([0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, DataIn.NONE);
    expect(disk.log).toEqual(['discard 4096 8192', 'zero 2048 1024', 'discard 2048 1024', 'flush']);
  });

  it.each<[string, number[], number, number, readonly number[]]>([
    ['an unknown command', [0xff], 0, DataIn.NONE, Sense.INVALID_COMMAND],
    ['a sector behind the end', [0x28, 0, 0, 0, 7, 255, 0, 0, 2, 0], 1024, DataIn.READ, Sense.OUT_OF_RANGE],
    [
      'an enormous sector',
      [0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 1],
      512,
      DataIn.READ,
      Sense.OUT_OF_RANGE,
    ],
    ['an unknown page', [0x12, 1, 0x99, 0, 255], 255, DataIn.READ, Sense.INVALID_FIELD],
    ['less data than it says', [0x2a, 0, 0, 0, 0, 0, 0, 0, 4, 0], 512, DataIn.WRITE, Sense.INVALID_FIELD],
  ])('tells the guest of %s', async (_what, cdb, length, dataIn, sense) => {
    const { scsi } = attached();
    expect(await scsi(cdb, length, dataIn)).toEqual({ status: 0x84, scsi: 2, length: 0, sense: [...sense] });
  });

  it('tells the guest of a disk that fails, and of one that may not be written', async () => {
    const { scsi, disk } = attached();
    disk.failure = new Error('host');
    expect(await scsi([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512)).toMatchObject({
      scsi: 2,
      sense: [...Sense.NOT_READABLE],
    });
    const readOnly = attached(new MemoryDisk(0x10_0000, false));
    expect(await readOnly.scsi([0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512, DataIn.WRITE)).toMatchObject({
      sense: [...Sense.WRITE_PROTECTED],
    });
  });

  it('has many requests in flight, and none of them after a close', async () => {
    const { send, disk, channel, settle, storvsp, host } = attached();
    const gate = Promise.withResolvers<void>();
    disk.gate = gate.promise;
    disk.bytes.fill(0x55);
    for (let n = 0; n < 10; n++) send([0x28, 0, 0, 0, 0, n, 0, 0, 1, 0], 512);
    await settle();
    expect(storvsp.inspect()).toMatchObject({ inFlight: 10 });
    channel.close();
    channel.teardown();
    // Another driver, in the same place: it is not its memory that the old requests were for.
    const again = channel.guest.open(channel.offer, 8);
    const opened = host.memory.bytes.slice();
    let idle = false;
    void storvsp.quiesce().then(() => {
      idle = true;
    });
    gate.resolve();
    await settle();
    expect(idle).toBe(true);
    expect(again.receive()).toBeUndefined();
    expect(Buffer.compare(host.memory.bytes, opened)).toBe(0);
    expect(host.defects).toEqual([]);
  });

  it('refuses pages that are not RAM, and packets that are too short', async () => {
    const { channel, settle, storvsp } = attached();
    const payload = new Uint8Array(64);
    viewOf(payload).setUint32(0, Operation.EXECUTE_SRB, true);
    const descriptor = new Uint8Array(Uint32Array.from([0, 1, 512, 0, 0xffff, 0]).buffer);
    channel.send({ type: PacketType.DATA_GPA_DIRECT, transactionId: 1n, payload, descriptor });
    channel.send({
      type: PacketType.DATA_GPA_DIRECT,
      transactionId: 2n,
      payload,
      descriptor: new Uint8Array(Uint32Array.from([0, 0xffff_ffff]).buffer),
    });
    channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 3n, payload: new Uint8Array(8) });
    await settle();
    expect(channel.receive()!.payload[Field.SRB_STATUS]).toBe(6);
    expect(channel.receive()!.payload[Field.SRB_STATUS]).toBe(6);
    expect(viewOf(channel.receive()!.payload).getUint32(Field.STATUS, true)).not.toBe(0);
    expect(storvsp.inspect()).toMatchObject({ malformed: 3 });
  });

  it('moves data straight between disk and guest where nothing has to be waited for', async () => {
    const { scsi, buffer, disk, host } = attached();
    disk.now = true;
    for (let i = 0; i < 3; i++)
      host.memory.bytes.fill(i + 1, (DATA_PAGE - i) * PAGE_SIZE, (DATA_PAGE - i + 1) * PAGE_SIZE);
    const wanted = buffer(8192);
    expect(await scsi([0x2a, 8, 0, 0, 0, 8, 0, 0, 16, 0], 8192, DataIn.WRITE)).toMatchObject({
      status: 1,
      length: 8192,
    });
    expect(disk.bytes.subarray(4096, 12288)).toEqual(wanted);
    disk.bytes.fill(9, 4096, 5120);
    expect(await scsi([0x28, 0, 0, 0, 0, 8, 0, 0, 16, 0], 8192)).toMatchObject({ status: 1, length: 8192 });
    expect(buffer(8192)).toEqual(disk.bytes.subarray(4096, 12288));
    expect(disk.log).toEqual(['write at once 4096 8192', 'flush', 'read at once 4096 8192']);
  });

  it('has the guest look again when a disk comes, goes or grows', async () => {
    const { scsi, ask, storvsp, channel, disk, buffer } = attached();
    const rescans = (): number => {
      let count = 0;
      for (let packet = channel.receive(); packet; packet = channel.receive()) {
        expect(packet).toMatchObject({ type: PacketType.DATA_IN_BAND, transactionId: 0n });
        expect(viewOf(packet.payload).getUint32(0, true)).toBe(Operation.ENUMERATE_BUS);
        count++;
      }
      return count;
    };
    // Before the guest is ready, it looks anyway.
    storvsp.attach(3, new ScsiDisk(new MemoryDisk(4096)));
    expect(rescans()).toBe(0);
    await ask(Operation.END_INITIALIZATION);
    storvsp.detach(3);
    expect(rescans()).toBe(1);
    expect(await scsi([0], 0, DataIn.NONE, 3)).toMatchObject({ status: 0x20 });
    disk.bytes = new Uint8Array(0x20_0000);
    (storvsp.unit(0) as ScsiDisk).resized();
    storvsp.rescan();
    expect(rescans()).toBe(1);
    // Told once; not by commands that have nothing to do with it.
    expect(await scsi([0x12, 0, 0, 0, 36], 36)).toMatchObject({ status: 1 });
    expect(await scsi([0], 0, DataIn.NONE)).toMatchObject({ status: 0x84, scsi: 2, sense: [6, 0x2a, 9] });
    expect(await scsi([0], 0, DataIn.NONE)).toMatchObject({ status: 1 });
    await scsi([0x25], 8);
    expect([...buffer(4)]).toEqual([0, 0, 15, 255]);
  });

  it('keeps what the guest has not heard yet in a saved state', () => {
    const { storvsp } = attached();
    (storvsp.unit(0) as ScsiDisk).resized();
    const saved: unknown = JSON.parse(JSON.stringify(storvsp.save()));
    const { storvsp: other } = attached();
    other.restore(saved, []);
    expect(other.unit(0)!.takeAttention()).toEqual([6, 0x2a, 9]);
    expect(() => other.restore({ ...(saved as object), version: 3 }, [])).toThrow(RangeError);
    // Of before there were units to tell of.
    other.restore({ version: 1, ready: true }, []);
  });

  it('has as many further channels as the guest asks for and it allows', async () => {
    const { ask, guest, host, storvsp, channel } = attached(undefined, undefined, 3);
    const properties = await ask(Operation.QUERY_PROPERTIES);
    expect(properties.getUint16(Field.SUB_CHANNELS, true)).toBe(3);
    expect(properties.getUint32(Field.CHANNEL_FLAGS, true)).toBe(1);
    expect((await ask(Operation.CREATE_SUB_CHANNELS, 4, 0)).getUint32(Field.STATUS, true)).not.toBe(0);
    expect((await ask(Operation.CREATE_SUB_CHANNELS, 2, 0)).getUint32(Field.STATUS, true)).toBe(0);
    const offers = [guest.offer(), guest.offer()];
    expect(offers.map(({ subIndex }) => subIndex)).toEqual([1, 2]);
    expect((await ask(Operation.CREATE_SUB_CHANNELS, 2, 0)).getUint32(Field.STATUS, true)).not.toBe(0);
    const further = guest.open(offers[1]!, 4, 1);
    const payload = new Uint8Array(64);
    viewOf(payload).setUint32(0, Operation.EXECUTE_SRB, true);
    further.send({ type: PacketType.DATA_IN_BAND, transactionId: 7n, payload, flags: 1 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    host.run();
    expect(further.receive()).toMatchObject({ type: PacketType.COMPLETION, transactionId: 7n });
    expect(channel.receive()).toBeUndefined();
    expect(storvsp.inspect()).toMatchObject({ channels: 2 });
  });

  it('answers through a channel though another one was closed', async () => {
    const { ask, send, guest, disk, channel, settle } = attached(undefined, undefined, 1);
    await ask(Operation.CREATE_SUB_CHANNELS, 1, 0);
    const further = guest.open(guest.offer(), 4, 1);
    const gate = Promise.withResolvers<void>();
    disk.gate = gate.promise;
    const id = send([0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512);
    await settle();
    further.close();
    gate.resolve();
    await settle();
    expect(channel.receive()).toMatchObject({ transactionId: id });
  });
});

describe('a DVD drive', () => {
  const READY = [0];
  const medium = (sectors: number): MemoryDisk => new MemoryDisk(sectors * 2048, false, 2048);

  it('says what it is and what is in it', async () => {
    const disk = medium(300);
    const { scsi, buffer } = attached(disk, new ScsiDvd(disk, () => undefined));
    await scsi([0x12, 0, 0, 0, 36], 36);
    expect([...buffer(2)]).toEqual([5, 0x80]);
    expect(new TextDecoder().decode(buffer(36).subarray(8, 32))).toBe('Msft    Virtual DVD-ROM ');
    expect(await scsi(READY, 0, DataIn.NONE)).toMatchObject({ status: 1 });
    await scsi([0x25], 8);
    expect([...buffer(8)]).toEqual([0, 0, 1, 43, 0, 0, 8, 0]);
    // One data track from sector 0, the lead-out behind the last; in time as well.
    await scsi([0x43, 0, 0, 0, 0, 0, 0, 0, 20, 0], 20);
    expect([...buffer(20)]).toEqual([0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 1, 44]);
    await scsi([0x43, 2, 0, 0, 0, 0, 0xaa, 0, 12, 0], 12);
    expect([...buffer(12)]).toEqual([0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 6, 0]);
    await scsi([0x46, 2, 0, 3, 0, 0, 0, 0, 64, 0], 64);
    expect([...buffer(16)]).toEqual([0, 0, 0, 12, 0, 0, 0, 8, 0, 3, 3, 4, 0x29, 0, 0, 0]);
    expect(await scsi([0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 128, 0], 128)).toMatchObject({ status: 1, length: 30 });
    expect(await scsi([0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0], 34)).toMatchObject({ status: 1, length: 34 });
    expect(await scsi([0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], 2048, DataIn.WRITE)).toMatchObject({
      sense: [...Sense.INVALID_COMMAND],
    });
  });

  it('reads', async () => {
    const disk = medium(300);
    disk.bytes.fill(7, 2048, 6144);
    const { scsi, buffer } = attached(disk, new ScsiDvd(disk, () => undefined));
    expect(await scsi([0x28, 0, 0, 0, 0, 1, 0, 0, 2, 0], 4096)).toMatchObject({ status: 1, length: 4096 });
    expect(buffer(4096).every((byte) => byte === 7)).toBe(true);
    expect(await scsi([0xa8, 0, 0, 0, 1, 43, 0, 0, 0, 2], 4096)).toMatchObject({ sense: [...Sense.OUT_OF_RANGE] });
  });

  it('tells of a medium that has come or gone, and lets the guest eject it when it has not locked the drive', async () => {
    let ejected = 0;
    const dvd = new ScsiDvd(undefined, () => ejected++);
    const { scsi, buffer } = attached(undefined, dvd);
    const event = async (): Promise<number[]> => {
      await scsi([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0], 8);
      return [...buffer(8)];
    };
    expect(await scsi(READY, 0, DataIn.NONE)).toMatchObject({ sense: [...Sense.NO_MEDIUM] });
    dvd.change(medium(20));
    expect(await scsi(READY, 0, DataIn.NONE)).toMatchObject({ sense: [...Sense.MEDIUM_CHANGED] });
    expect(await event()).toEqual([0, 6, 4, 16, 2, 2, 0, 0]);
    expect(await event()).toEqual([0, 6, 4, 16, 0, 2, 0, 0]);
    expect(await scsi(READY, 0, DataIn.NONE)).toMatchObject({ status: 1 });
    await scsi([0x1e, 0, 0, 0, 1], 0, DataIn.NONE);
    expect(await scsi([0x1b, 0, 0, 0, 2], 0, DataIn.NONE)).toMatchObject({ sense: [...Sense.REMOVAL_PREVENTED] });
    const saved: unknown = JSON.parse(JSON.stringify(dvd.save()));
    const again = new ScsiDvd(medium(20), () => undefined);
    again.restore(saved);
    expect(again.locked).toBe(true);
    await scsi([0x1e], 0, DataIn.NONE);
    expect(await scsi([0x1b, 0, 0, 0, 2], 0, DataIn.NONE)).toMatchObject({ status: 1 });
    expect(ejected).toBe(1);
    expect(await event()).toEqual([0, 6, 4, 16, 3, 0, 0, 0]);
    expect(await scsi(READY, 0, DataIn.NONE)).toMatchObject({ sense: [...Sense.NO_MEDIUM] });
    expect(await scsi([0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0], 2048)).toMatchObject({ sense: [...Sense.NO_MEDIUM] });
  });
});
