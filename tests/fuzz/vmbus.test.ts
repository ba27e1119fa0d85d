import { describe, it } from 'vitest';
import { target as hvsocket } from './hvsocket.ts';
import { target as hypercalls } from './hypercalls.ts';
import { target as ic } from './ic.ts';
import { target as netvsp } from './netvsp.ts';
import { target as ring } from './ring.ts';
import { runCases } from './stateful.ts';
import { target as storvsp } from './storvsp.ts';
import { target as vmbus } from './vmbus.ts';

/** A portion of what `npm run fuzz -- --target vmbus|ring|storvsp|netvsp|hvsocket|ic|hypercalls` does at length. */
describe('a guest that means harm', () => {
  it('has of its hypercalls what they promise, and nothing of those that fail', () => runCases(hypercalls, 0, 3000));
  it('does not reach beyond its rings', () => runCases(ring, 0, 1500));
  it('has an answer from the bus, and takes nothing down', () => runCases(vmbus, 0, 2000));
  it('has an answer to every request to its disks', () => runCases(storvsp, 0, 1000));
  it('has an answer from its network adapter', () => runCases(netvsp, 0, 800));
  it('connects to the host, and leaves nothing behind', () => runCases(hvsocket, 0, 800));
  it('answers integration components as it likes', () => runCases(ic, 0, 1000));
});
