/** For tests: a guest's driver of one integration component, which negotiates as Linux does and answers as it is told. */
import { type GuestChannel, TestBus, TestGuest } from '../vmbus/guest.fixture.ts';
import { PacketType } from '../vmbus/protocol.ts';
import { viewOf } from '../vmbus/ring.ts';
import type { IntegrationComponent } from './component.ts';
import { decodeFrame, encodeFrame, IcFlag, type IcFrame, IcType, type IcVersion } from './frame.ts';

export interface GuestAnswer {
  readonly status?: number;
  readonly body?: Uint8Array;
}

export class IcGuest {
  readonly host: TestBus;
  readonly channel: GuestChannel;
  /** Requests that have come, newest last. */
  readonly requests: IcFrame[] = [];
  /** Undefined: no answer. */
  answer: (request: IcFrame) => GuestAnswer | undefined = () => ({});

  constructor(component: (host: TestBus) => IntegrationComponent) {
    this.host = new TestBus();
    this.host.bus.offer(component(this.host));
    const guest = new TestGuest(this.host);
    guest.contact();
    this.channel = guest.open(guest.offers()[0]!);
  }

  /** Answers the negotiation with these versions, or with none. */
  negotiate(framework: IcVersion | undefined, message: IcVersion): IcFrame {
    const frame = this.take()!;
    const body = new Uint8Array(Math.max(16, frame.body.length));
    if (framework) {
      const view = viewOf(body);
      [1, 1, 0, 0, ...framework, ...message].forEach((word, i) => {
        view.setUint16(i * 2, word, true);
      });
    }
    this.respond(frame, { body: body.subarray(0, 16) });
    return frame;
  }

  take(): IcFrame | undefined {
    const packet = this.channel.receive();
    return packet && decodeFrame(packet.payload);
  }

  respond(request: IcFrame, { status = 0, body }: GuestAnswer): void {
    const payload = encodeFrame({
      ...request,
      status,
      flags: IcFlag.TRANSACTION | IcFlag.RESPONSE,
      body: body ?? request.body,
    });
    this.channel.send({ type: PacketType.DATA_IN_BAND, transactionId: 0n, payload });
  }

  /** Answers whatever has come, until nothing comes any more. */
  async serve(): Promise<void> {
    for (let idle = 0; idle < 3; ) {
      // What waits for an answer goes on when the microtasks have their turn.
      await new Promise((resolve) => setTimeout(resolve, 0));
      const request = this.take();
      if (!request) {
        idle++;
        continue;
      }
      idle = 0;
      if (request.type === IcType.NEGOTIATE) throw new Error('a negotiation, where a request was expected');
      this.requests.push(request);
      const answer = this.answer(request);
      if (answer) this.respond(request, answer);
    }
  }
}
