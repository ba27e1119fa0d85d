/** A wire (remote/wire.ts) over a Unix socket. */
import { connect, type Socket } from 'node:net';
import type { Wire, WireEvents } from '../remote/wire.ts';

export function socketWire(socket: Socket, events: WireEvents): Wire {
  let over = false;
  socket.on('data', (chunk: Buffer) => {
    if (!over) events.received(chunk);
  });
  socket.on('drain', () => {
    if (!over) events.drained();
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    if (over) return;
    over = true;
    events.closed();
  });
  return {
    write: (pieces) => {
      if (over) return;
      if (pieces.length === 1) {
        socket.write(pieces[0]!);
        return;
      }
      socket.cork();
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
    },
    get unsent() {
      return socket.writableLength;
    },
    pause: () => {
      socket.pause();
    },
    resume: () => {
      socket.resume();
    },
    end: () => {
      over = true;
      socket.end();
      // What still comes is nobody's.
      socket.resume();
    },
    destroy: () => {
      over = true;
      socket.destroy();
    },
  };
}

/** @param path of the socket. */
export function openWire(path: string, events: WireEvents): Wire {
  return socketWire(connect(path), events);
}
