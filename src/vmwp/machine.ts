/**
 * One thread's view of the whole machine: platform state in shared memory, with the devices over it. Every thread of a
 * partition (the parent's and each virtual processor's) assembles the same machine in the same order.
 */
import { GenerationId, generationIdState } from '../chipset/generation-id/device.ts';
import { IoApic, ioApicState } from '../chipset/ioapic/device.ts';
import { Pic, picState } from '../chipset/pic/device.ts';
import { Pit, pitState } from '../chipset/pit/device.ts';
import { PowerManagement, pmState } from '../chipset/pm/device.ts';
import { ResetPorts, resetState } from '../chipset/reset/device.ts';
import { Rtc, rtcState } from '../chipset/rtc/device.ts';
import { TestDevice, testDeviceState } from '../chipset/test-device/device.ts';
import { Uart, uartState } from '../chipset/uart/device.ts';
import { GENERATION_GPE } from '../firmware/acpi/dsdt.ts';
import { ADDED_MEMORY_ALIGNMENT, alignUp, GENERATION_ID, LOW_MMIO_WINDOW } from '../firmware/memory-map.ts';
import type { HostTime } from '../host/clock.ts';
import { InterruptRouter } from '../hypervisor/apic/interrupt-router.ts';
import { LocalApic } from '../hypervisor/apic/local-apic.ts';
import { LocalApicState } from '../hypervisor/apic/state.ts';
import { Arena } from '../hypervisor/memory/arena.ts';
import { GuestMemory } from '../hypervisor/memory/guest-memory.ts';
import { PAGE, PLATFORM_AREA, PLATFORM_AREA_SIZE, ramBase, VP_STATE, vpArea } from '../hypervisor/memory/layout.ts';
import { HypervPartition, hypervStateSize } from '../hypervisor/tlfs/partition.ts';
import type { GuestCrash } from '../hypervisor/tlfs/ports.ts';
import { HypervPartitionState, HypervVpState } from '../hypervisor/tlfs/state.ts';
import { HypervTest, HypervTestState } from '../hypervisor/tlfs/test-port.ts';
import {
  Doorbell,
  PartitionControl,
  type PartitionControlView,
  PowerEvent,
  postCodeWritten,
  VpControl,
  type VpControlView,
} from '../hypervisor/vp/control.ts';
import { VpState, type VpView } from '../hypervisor/vp/state.ts';
import { Lock } from '../support/lock.ts';
import { struct, type View } from '../support/struct.ts';
import { MmioBus, PortBus } from '../vid/bus.ts';
import { PartitionClock, TSC_FREQUENCY } from '../vid/clock.ts';
import type { InspectNode, InterruptLine, TimedDevice } from '../vid/ports.ts';
import { VmbusMailbox, vmbusMailbox } from '../vmbus/mailbox.ts';
import { ByteRing, consoleRing } from './console-ring.ts';

/** What is fixed when a partition is created; the same on every thread, and part of a saved state. */
export interface MachineConfig {
  /** Bytes of RAM. */
  readonly memory: number;
  readonly processors: number;
  readonly virtualTime: boolean;
  readonly testDevice: boolean;
  /** There is a VMBus, which the parent serves. */
  readonly vmbus: boolean;
  /** The guest is told when it is restored; not where a run is a function of its inputs. */
  readonly generationId?: boolean | undefined;
  /** Memory comes and goes between these bounds, bytes; undefined when it is as much as there is at the start. */
  readonly dynamicMemory?: { readonly minimum: number; readonly maximum: number } | undefined;
}

/** What this thread does when the machine asks for something outside it. */
export interface MachinePorts {
  readonly time: HostTime;
  /** Console bytes wait in `console`; called once until the parent has taken them. */
  consoleReady(): void;
  crashed(crash: GuestCrash): void;
}

/** RAM that bare-metal test kernels expect below 4 GiB. */
const TEST_RAM = { gpa: 0xff00_0000, size: 0x1_0000 } as const;
/** Memory of the synthetic frame buffer. It is the guest that says where it sees it. */
const VRAM_SIZE = 0x80_0000;
const vramState = struct('vram', 1, {
  /** Guest-physical address; 0 when the guest has not placed it. */
  gpa: 'u32',
});
/** Memory that was added to the running guest. */
const addedMemoryState = struct('added-memory', 1, { size: 'u32' });
const COM1 = { port: 0x3f8, irq: 4 } as const;
const COM2 = { port: 0x2f8, irq: 3 } as const;
const RTC_IRQ = 8;
const SCI = 9;

/** Bytes of shared memory that a partition of this configuration needs. */
export function machineMemorySize(config: MachineConfig): number {
  const { memory, processors, testDevice, vmbus, dynamicMemory } = config;
  const most = dynamicMemory?.maximum ?? memory;
  return ramBase(processors) + most + (testDevice ? TEST_RAM.size : 0) + (vmbus ? VRAM_SIZE : 0);
}

export class Machine {
  readonly config: MachineConfig;
  readonly arena: Arena;
  readonly memory: GuestMemory;
  readonly lock: Lock;
  readonly control: PartitionControlView;
  readonly processorControls: readonly VpControlView[];
  readonly vps: readonly VpView[];
  readonly doorbell: Doorbell;
  readonly clock: PartitionClock;
  readonly router = new InterruptRouter();
  readonly apics: readonly LocalApic[];
  readonly hyperv: HypervPartition;
  readonly ports = new PortBus();
  readonly mmio = new MmioBus();
  readonly console: ByteRing;
  readonly com1: Uart;
  readonly pm: PowerManagement;
  readonly generationId: GenerationId | undefined;
  readonly ioApic: IoApic;
  readonly pic: Pic | undefined;
  readonly vmbus: VmbusMailbox | undefined;
  readonly #vram: View<typeof vramState.fields> | undefined;
  readonly #added: View<typeof addedMemoryState.fields> | undefined;
  readonly #devices: { readonly name: string; readonly device: { reset(): void; inspect(): InspectNode } }[] = [];
  readonly #timed: TimedDevice[] = [];
  readonly #test: HypervTest | undefined;
  /** Flushes other processors' TLBs and waits for them; set by a processor's thread. */
  flushProcessors: (processors: readonly number[]) => void = () => undefined;

  constructor(config: MachineConfig, buffer: SharedArrayBuffer, ports: MachinePorts) {
    this.config = config;
    this.doorbell = new Doorbell(buffer);
    const arena = new Arena(buffer, PLATFORM_AREA, PLATFORM_AREA_SIZE);
    this.arena = arena;
    const indices = Array.from({ length: config.processors }, (_, i) => i);
    const controlBase = arena.reserve(PartitionControl.size);
    this.control = PartitionControl.view(buffer, controlBase);
    this.lock = new Lock(this.control.platformLock, 0);
    this.processorControls = indices.map(() => VpControl.view(buffer, arena.reserve(VpControl.size)));
    this.vps = indices.map((i) => arena.register(`vp${i}`, VpState, vpArea(i) + VP_STATE));
    this.clock = new PartitionClock(config.virtualTime, this.control, this.vps[0] as VpView, ports.time);
    this.memory = new GuestMemory(buffer, config.memory, (gpa, size) => {
      postCodeWritten(this.processorControls, this.doorbell, gpa, size);
    });
    // Empty whenever the partition stands still, so not part of its state.
    this.console = new ByteRing(consoleRing.view(buffer, arena.reserve(consoleRing.size)), ports.consoleReady);

    const { doorbell, clock, lock, router } = this;
    const external = config.testDevice
      ? {
          extIntPending: () => lock.with(() => this.pic?.output() ?? false),
          extIntAcknowledge: () => lock.with(() => this.pic?.acknowledge() ?? 0),
        }
      : undefined;
    this.apics = indices.map((vp) => {
      const base = arena.reserve(LocalApicState.size);
      arena.register(`apic${vp}`, LocalApicState, base);
      return new LocalApic({
        buffer,
        base,
        vp,
        apicId: vp,
        bootstrap: vp === 0,
        clock,
        doorbell,
        router,
        directedEoi: true,
        ioApic: {
          ioApicEoi: (vector) => {
            lock.with(() => {
              this.ioApic.endOfInterrupt(vector);
            });
          },
        },
        ...(external ? { external } : {}),
      });
    });

    const hypervBase = arena.reserve(hypervStateSize(config.processors));
    arena.register('hyperv', HypervPartitionState, hypervBase);
    for (const i of indices)
      arena.register(`hyperv-vp${i}`, HypervVpState, hypervBase + HypervPartitionState.size + i * HypervVpState.size);
    this.hyperv = new HypervPartition({
      buffer,
      base: hypervBase,
      apics: this.apics,
      memory: this.memory,
      lock,
      clock,
      tsc: { tsc: () => clock.now(), tscFrequency: TSC_FREQUENCY },
      tlb: {
        flush: (request) => {
          this.flushProcessors(request.processors);
        },
      },
      crash: {
        guestCrashed: (crash) => {
          ports.crashed(crash);
        },
      },
      reset: () => {
        this.powerEvent(PowerEvent.RESET);
      },
    });

    this.vmbus = config.vmbus ? new VmbusMailbox(arena.place('vmbus-mailbox', vmbusMailbox)) : undefined;
    if (this.vmbus) this.hyperv.addConnections(this.vmbus);
    this.#vram = config.vmbus ? arena.place('vram', vramState) : undefined;
    this.#added = config.dynamicMemory ? arena.place('added-memory', addedMemoryState) : undefined;

    // ---- the chipset
    const add = <T extends { reset(): void; inspect(): InspectNode }>(name: string, device: T): T => {
      this.#devices.push({ name, device });
      return device;
    };
    this.ioApic = add(
      'ioapic',
      new IoApic(arena.place('ioapic', ioApicState), {
        deliver: (destination, logical, deliveryMode, vector, level) => {
          router.requestInterrupt({ vector, deliveryMode, destination, logical, trigger: level ? 'level' : 'edge' });
        },
      }),
    );
    this.mmio.register('ioapic', this.ioApic);
    const bootApic = this.apics[0] as LocalApic;
    this.pic = config.testDevice
      ? add(
          'pic',
          new Pic(arena.place('pic', picState), {
            set: (level) => {
              if (level) bootApic.pulseLint(0);
              doorbell.ring(0);
            },
          }),
        )
      : undefined;
    if (this.pic) this.ports.register('pic', this.pic);
    const line = (irq: number): InterruptLine => {
      const toIoApic = this.ioApic.line(irq === 0 ? 2 : irq);
      const toPic = irq < 16 && irq !== 2 ? this.pic?.line(irq) : undefined;
      return {
        set: (level) => {
          toIoApic.set(level);
          toPic?.set(level);
        },
      };
    };
    const power = {
      powerOff: () => {
        this.powerEvent(PowerEvent.POWER_OFF);
      },
      reset: () => {
        this.powerEvent(PowerEvent.RESET);
      },
      exit: (code: number) => {
        this.control.exitCode[0] = code;
        this.powerEvent(PowerEvent.EXIT);
      },
    };
    // Kernels that drive the port by polling never raise RTS.
    const flowControl = config.testDevice ? 'none' : 'rts';
    this.com1 = add(
      'com1',
      new Uart(arena.place('com1', uartState), { firstPort: COM1.port, flowControl }, line(COM1.irq), {
        transmit: (byte) => {
          this.console.push(byte);
        },
        receiverReady: () => {
          ports.consoleReady();
        },
      }),
    );
    this.ports.register('com1', this.com1);
    this.ports.register(
      'com2',
      add(
        'com2',
        new Uart(arena.place('com2', uartState), { firstPort: COM2.port }, line(COM2.irq), {
          transmit: () => undefined,
        }),
      ),
    );
    const rtc = add('rtc', new Rtc(arena.place('rtc', rtcState), clock, line(RTC_IRQ)));
    this.ports.register('rtc', rtc);
    this.pm = add('pm', new PowerManagement(arena.place('pm', pmState), clock, line(SCI), power));
    this.ports.register('pm', this.pm);
    this.ports.register('reset', add('reset', new ResetPorts(arena.place('reset', resetState), power)));
    this.#timed.push(rtc, this.pm);
    this.generationId = config.generationId
      ? add(
          'generation-id',
          new GenerationId(arena.place('generation-id', generationIdState), {
            write: (id) => {
              this.memory.write(GENERATION_ID.first, id);
            },
            notify: () => {
              this.pm.raiseGeneralPurposeEvent(GENERATION_GPE);
            },
          }),
        )
      : undefined;
    if (config.testDevice) {
      const pit = add('pit', new Pit(arena.place('pit', pitState), clock, line(0)));
      this.ports.register('pit', pit);
      this.#timed.push(pit);
      const hypervTestBase = arena.reserve(HypervTestState.size);
      arena.register('hyperv-test', HypervTestState, hypervTestBase);
      const test = new HypervTest(this.hyperv, buffer, hypervTestBase);
      this.#test = test;
      const lines = Array.from({ length: 24 }, (_, i) => (i === 2 ? undefined : line(i)));
      this.ports.register(
        'test-device',
        add(
          'test-device',
          new TestDevice(
            arena.place('test-device', testDeviceState),
            { memoryBytes: config.memory, processors: config.processors },
            { power, lines, hyperv: { ...testPort(test) } },
          ),
        ),
      );
    }
  }

  /** Every region of RAM: guest-physical address, bytes, and where in the shared memory it is. */
  ram(): readonly { readonly gpa: number; readonly size: number; readonly host: number }[] {
    const host = ramBase(this.config.processors);
    const main = { gpa: 0, size: this.config.memory, host };
    const { gpa } = this.#vram ?? { gpa: 0 };
    const added = this.#addedRegion;
    return [
      main,
      ...(added.size === 0 ? [] : [added]),
      ...(gpa === 0 ? [] : [{ gpa, size: VRAM_SIZE, host: this.#vramHost }]),
      ...(this.config.testDevice ? [{ ...TEST_RAM, host: host + this.#mostMemory }] : []),
    ];
  }

  get #mostMemory(): number {
    return this.config.dynamicMemory?.maximum ?? this.config.memory;
  }

  get #addedRegion(): { readonly gpa: number; readonly size: number; readonly host: number } {
    const { memory, processors } = this.config;
    const size = this.#added?.size ?? 0;
    return { gpa: alignUp(memory, ADDED_MEMORY_ALIGNMENT), size, host: ramBase(processors) + memory };
  }

  /** Memory that can be added while the guest runs: where, the bytes that were, and how many may be. */
  get addedMemory(): { readonly first: number; readonly size: number; readonly most: number } {
    const { gpa, size } = this.#addedRegion;
    return { first: gpa, size, most: this.#mostMemory - this.config.memory };
  }

  /** There are `size` bytes of added memory from here on, if there were not more; it reads as zeroes. */
  addMemory(size: number): void {
    if (!this.#added || size % PAGE !== 0 || size > this.addedMemory.most)
      throw new RangeError(`${size} bytes cannot be added`);
    if (size <= this.#added.size) return;
    this.#added.size = size;
    const { gpa, host } = this.#addedRegion;
    this.memory.map(gpa, size, host, true);
  }

  get #vramHost(): number {
    return machineMemorySize(this.config) - VRAM_SIZE;
  }

  /** The bytes of the frame buffer, in a partition that has one. */
  get vram(): Uint8Array {
    return this.memory.bytes.subarray(this.#vramHost, this.#vramHost + VRAM_SIZE);
  }

  /**
   * Lets the guest see the frame buffer at this address of the window that it was given. Where it saw it before it still
   * does, until a reset: translations in use are not taken away. False when it may not be there.
   */
  placeVram(gpa: bigint): boolean {
    const { first, size } = LOW_MMIO_WINDOW;
    if (
      !this.#vram ||
      gpa % BigInt(PAGE) !== 0n ||
      gpa < BigInt(first) ||
      gpa + BigInt(VRAM_SIZE) > BigInt(first + size)
    )
      return false;
    this.#vram.gpa = Number(gpa);
    this.memory.map(Number(gpa), VRAM_SIZE, this.#vramHost, true);
    return true;
  }

  /** After a restored state was loaded. @throws RangeError when it has the frame buffer, or more memory, than there can be. */
  restoreMemory(): void {
    const added = this.#added?.size ?? 0;
    if (this.#added && added !== 0) {
      this.#added.size = 0;
      this.addMemory(added);
    }
    const { gpa } = this.#vram ?? { gpa: 0 };
    if (gpa !== 0 && !this.placeVram(BigInt(gpa))) throw new RangeError('the frame buffer is not where it can be');
  }

  /** Maps RAM; once, by the thread that creates the partition. */
  mapMemory(): void {
    for (const { gpa, size, host } of this.ram()) this.memory.map(gpa, size, host, true);
  }

  /** Power-up of everything but RAM and the processors. No processor may be running. */
  reset(): void {
    for (const apic of this.apics) apic.reset();
    this.hyperv.reset();
    this.vmbus?.reset();
    if (this.#vram && this.#vram.gpa !== 0) {
      this.#vram.gpa = 0;
      this.memory.unmap(LOW_MMIO_WINDOW.first, LOW_MMIO_WINDOW.size);
    }
    if (this.#added && this.#added.size !== 0) {
      this.memory.unmap(this.#addedRegion.gpa, this.#added.size);
      this.#added.size = 0;
    }
    this.#test?.reset();
    for (const { device } of this.#devices) device.reset();
    if (this.config.testDevice) this.apics[0]?.setVirtualWire();
  }

  /** Asks the parent for a power event; the first one since the last start counts. All processors stop. */
  powerEvent(event: number): void {
    Atomics.compareExchange(this.control.powerEvent, 0, PowerEvent.NONE, event);
    for (let vp = 0; vp < this.config.processors; vp++) this.doorbell.ring(vp);
  }

  /** The devices that keep time, for processor 0. Takes the platform lock. */
  readonly timers = {
    nextDeadline: (): bigint | undefined => {
      let soonest: bigint | undefined;
      this.lock.with(() => {
        for (const device of this.#timed) {
          const deadline = device.nextDeadline();
          if (deadline !== undefined && (soonest === undefined || deadline < soonest)) soonest = deadline;
        }
      });
      return soonest;
    },
    poll: (now: bigint): void => {
      this.lock.with(() => {
        for (const device of this.#timed) device.poll(now);
      });
    },
  };

  inspectDevices(): InspectNode {
    return this.lock.with(() => Object.fromEntries(this.#devices.map(({ name, device }) => [name, device.inspect()])));
  }
}

/** The test device speaks of (connection, processor, SINT), the SynIC of (processor, SINT, connection). */
function testPort(test: HypervTest): ConstructorParameters<typeof TestDevice>[2]['hyperv'] {
  return {
    makeRoute: (processor, sint) => {
      test.makeRoute(processor, sint);
    },
    removeRoute: (processor, sint) => {
      test.removeRoute(processor, sint);
    },
    raise: (processor, sint) => {
      test.raise(processor, sint);
    },
    makeMessageConnection: (connection, processor, sint) => {
      test.makeMessageConnection(processor, sint, connection);
    },
    removeMessageConnection: (connection) => {
      test.removeMessageConnection(0, 0, connection);
    },
    makeEventConnection: (connection, processor, sint) => {
      test.makeEventConnection(processor, sint, connection);
    },
    removeEventConnection: (connection) => {
      test.removeEventConnection(0, 0, connection);
    },
  };
}
