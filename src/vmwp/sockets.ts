/** The library's face of the sockets between host and guest: streams, and failures as errors for users. */
import { ViridianError } from '../contracts/errors.ts';
import type { ConnectOptions, GuestListener, GuestStream } from '../contracts/sockets.ts';
import type { Connection } from '../vsp/hvsocket/connection.ts';
import { ConnectFailure, checkPort, type HvSocket } from '../vsp/hvsocket/device.ts';

const CONNECT_TIMEOUT = 10_000;
const CODES = { timeout: 'timeout', full: 'wrongState' } as const;

function present(sockets: HvSocket | undefined): HvSocket {
  if (sockets) return sockets;
  throw new ViridianError('wrongState', 'the partition has no VMBus, so no sockets to its guest');
}

function checked(port: number): number {
  try {
    return checkPort(port);
  } catch (error) {
    throw new ViridianError('invalid', (error as Error).message, { cause: error });
  }
}

export async function connectToGuest(
  sockets: HvSocket | undefined,
  port: number,
  { timeout = CONNECT_TIMEOUT }: ConnectOptions = {},
): Promise<GuestStream> {
  try {
    return streamOf(await present(sockets).connect(checked(port), timeout));
  } catch (error) {
    if (error instanceof ConnectFailure) throw new ViridianError(CODES[error.reason], error.message, { cause: error });
    throw error;
  }
}

export function listenToGuest(
  sockets: HvSocket | undefined,
  port: number,
  accept: (stream: GuestStream) => void,
): GuestListener {
  try {
    return {
      close: present(sockets).listen(checked(port), (connection) => {
        accept(streamOf(connection));
      }),
    };
  } catch (error) {
    if (error instanceof RangeError) throw new ViridianError('wrongState', error.message, { cause: error });
    throw error;
  }
}

function streamOf(connection: Connection): GuestStream {
  return {
    port: connection.port,
    read: () => connection.read(),
    write: async (bytes) => {
      if (!(await connection.write(bytes)))
        throw new ViridianError('wrongState', 'the connection to the guest has ended');
    },
    end: () => {
      connection.end();
    },
    destroy: () => {
      connection.destroy();
    },
    closed: connection.whenEnded.then((reason) => (reason === 'ended' ? 'ended' : 'cut')),
    async *[Symbol.asyncIterator]() {
      for (let bytes = await connection.read(); bytes; bytes = await connection.read()) yield bytes;
    },
  };
}
