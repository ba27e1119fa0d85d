/** For tests: a switch room over a host that is the test's, and wires that are held up and cut where the test wants it. */
import type { PortSpec, SwitchEvent, SwitchSpec } from '../../contracts/switches.ts';
import { ManualTime, TestHost } from '../nat/host.fixture.ts';
import type { LeaseState } from '../nat/leases.ts';
import { PortSession } from './port-session.ts';
import { RemotePort } from './remote-port.ts';
import { SwitchRoom } from './switch-room.ts';
import type { Wire, WireEvents } from './wire.ts';

/** What one side has written waits until the other takes it. */
export class TestWire implements Wire {
  readonly #events: WireEvents;
  /** What was written here is the other's to receive. */
  other: TestWire | undefined;
  readonly sent: Uint8Array[] = [];
  unsent = 0;
  paused = false;
  over = false;
  /** The host takes nothing. */
  held = false;

  constructor(events: WireEvents) {
    this.#events = events;
  }

  write(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      this.sent.push(piece);
      this.unsent += piece.length;
    }
  }

  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }

  end(): void {
    this.flush();
    this.destroy();
  }

  destroy(): void {
    if (this.over) return;
    this.over = true;
    this.other?.cut();
  }

  /** The other side is gone. */
  cut(): void {
    if (this.over) return;
    this.over = true;
    this.#events.closed();
  }

  receive(bytes: Uint8Array): void {
    if (!this.over) this.#events.received(bytes);
  }

  /** Hands over what waits, in pieces of at most so many bytes. False: there was nothing, or it may not. */
  flush(size = 0x1_0000): boolean {
    if (this.held || this.sent.length === 0 || this.other === undefined || this.other.paused) return false;
    const all = Buffer.concat(this.sent.splice(0));
    this.unsent = 0;
    for (let at = 0; at < all.length; at += size)
      this.other.receive(Uint8Array.prototype.slice.call(all, at, at + size));
    if (!this.over) this.#events.drained();
    return true;
  }
}

export class TestRoom {
  readonly time = new ManualTime();
  readonly host = new TestHost();
  readonly events: SwitchEvent[] = [];
  readonly leases = new Map<string, LeaseState>();
  room = this.#make();
  /** The switch's ends of connections. */
  wires: TestWire[] = [];
  pieceSize = 0x1_0000;
  down = false;

  #make(): SwitchRoom {
    return new SwitchRoom({
      host: this.host,
      time: this.time,
      openTap: () => {
        throw new Error('no TAP devices here');
      },
      readLeases: (file) => this.leases.get(file),
      writeLeases: (file, state) => this.leases.set(file, state),
      calendar: () => this.time.now(),
      tell: (event) => this.events.push(event),
    });
  }

  /** The switch process is killed, and another one started. */
  restart(): void {
    for (const wire of this.wires.splice(0)) wire.destroy();
    this.room = this.#make();
  }

  switch(more: Partial<SwitchSpec> = {}): void {
    this.room.setSwitch({
      name: 'lan',
      kind: 'Private',
      device: null,
      subnet: null,
      hostAccess: [],
      leases: more.kind === 'NAT' ? 'lan.json' : null,
      ...more,
    });
  }

  /** A connection of a worker's: its end of the wire. */
  connect(events: WireEvents): TestWire {
    const mine = new TestWire(events);
    if (this.down) {
      this.time.after(0, () => mine.cut());
      return mine;
    }
    const session: PortSession = new PortSession(
      (mine.other = new TestWire({
        received: (chunk) => session.received(chunk),
        drained: () => session.drained(),
        closed: () => session.closed(),
      })),
      this.room,
    );
    mine.other.other = mine;
    this.wires.push(mine.other);
    return mine;
  }

  adapter(id: string): RemotePort {
    return new RemotePort({ id, time: this.time, open: (events) => this.connect(events) });
  }

  /** Until nothing is under way. */
  async settle(): Promise<void> {
    for (let moved = true; moved; ) {
      // The end of the turn, when messages go out.
      await Promise.resolve();
      moved = false;
      for (const wire of [...this.wires]) {
        if (wire.flush(this.pieceSize)) moved = true;
        if (wire.other?.flush(this.pieceSize)) moved = true;
      }
    }
  }
}

export function portSpec(id: string, mac: string, more: Partial<PortSpec> = {}): PortSpec {
  return {
    id,
    switch: 'lan',
    vm: id,
    nic: 'nic0',
    owner: id,
    hostName: id,
    mac,
    vlan: 0,
    macSpoofing: false,
    sendLimit: null,
    receiveLimit: null,
    address: null,
    egress: null,
    forwards: [],
    ...more,
  };
}
