/** Parts of the page that are loaded when they are wanted. A load that fails, as on a network that changes, is tried again. */
import { type ComponentType, lazy } from 'react';

const TRIES = 4;
const PAUSE = 400;

export function later<P>(load: () => Promise<ComponentType<P>>): ComponentType<P> {
  return lazy(async () => ({ default: await again(load) })) as ComponentType<P>;
}

async function again<T>(load: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await load();
    } catch (error) {
      if (tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE * tries));
    }
  }
}
