/** A socket of this host and a stream to a program in the guest, made one. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { GuestStream } from '../../contracts/sockets.ts';

/** Resolves when both directions have ended. Either side's buffers fill before the other's do. */
export async function joinStream(socket: Socket, stream: GuestStream): Promise<void> {
  socket.on('error', () => stream.destroy());
  socket.on('close', () => stream.destroy());
  const toGuest = async (): Promise<void> => {
    for await (const bytes of socket.iterator({ destroyOnReturn: false })) await stream.write(bytes as Uint8Array);
    stream.end();
  };
  const fromGuest = async (): Promise<void> => {
    for await (const bytes of stream) if (!socket.write(bytes)) await once(socket, 'drain');
    socket.end();
  };
  // Cut off by either side: so is the other.
  await Promise.all([toGuest(), fromGuest()]).catch(() => undefined);
  if ((await stream.closed) === 'cut') socket.destroy();
}
