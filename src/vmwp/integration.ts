/** The library's face of integration components as errors for users. */
import { ViridianError } from '../contracts/errors.ts';
import type { IntegrationServices, ShutdownOptions } from '../contracts/partition.ts';
import { IcFailure } from '../ic/component.ts';
import type { IntegrationComponents } from '../ic/components.ts';
import { FileCopyRefused } from '../ic/file-copy/device.ts';

/** Each value is a list with semicolons. */
const ADDRESS_KEYS = ['NetworkAddressIPv4', 'NetworkAddressIPv6'] as const;
const CODES = { absent: 'wrongState', busy: 'wrongState', closed: 'wrongState', timeout: 'timeout' } as const;

async function told<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof IcFailure) throw new ViridianError(CODES[error.reason], error.message, { cause: error });
    if (error instanceof FileCopyRefused) throw new ViridianError('failure', error.message, { cause: error });
    if (error instanceof RangeError) throw new ViridianError('invalid', error.message, { cause: error });
    throw error;
  }
}

function demand(done: boolean, what: string): void {
  if (!done) throw new ViridianError('failure', `the guest refuses to ${what}`);
}

function present(components: IntegrationComponents | undefined): IntegrationComponents {
  if (components) return components;
  throw new ViridianError('wrongState', 'the partition has no VMBus, so no integration components');
}

export async function shutdown(
  components: IntegrationComponents | undefined,
  options: ShutdownOptions | undefined,
): Promise<void> {
  demand(await told(present(components).shutdown.request(options)), options?.restart ? 'restart' : 'shut down');
}

export function integrationServices(components: IntegrationComponents | undefined): IntegrationServices {
  return {
    heartbeat: () => components?.heartbeat.status ?? 'No Contact',
    getValue: async (pool, key) => await told(present(components).kvp.get(pool, key)),
    setValue: async (pool, key, value) => {
      demand(await told(present(components).kvp.set(pool, key, value)), `keep the value of ${key}`);
    },
    deleteValue: async (pool, key) => await told(present(components).kvp.delete(pool, key)),
    values: async (pool) => await told(present(components).kvp.enumerate(pool)),
    addresses: async () => {
      const values = await told(present(components).kvp.enumerate('auto'));
      return ADDRESS_KEYS.flatMap((key) => (values.get(key) ?? '').split(';')).filter((text) => text !== '');
    },
    copyFile: async (path, bytes, options) => {
      if (!path.startsWith('/') || path.endsWith('/'))
        throw new ViridianError('invalid', `${path} is no absolute path of a file`);
      await told(present(components).fileCopy.copy(path, bytes, options));
    },
    freeze: async () => {
      demand(await told(present(components).vss.freeze()), 'freeze its file systems');
    },
    thaw: async () => {
      demand(await told(present(components).vss.thaw()), 'thaw its file systems');
    },
    synchronizeTime: () => {
      components?.timesync.synchronize();
    },
  };
}
