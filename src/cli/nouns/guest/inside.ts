/** The way into a guest: its agent, waited for while the guest boots, and programs run by it. */
import type { Vm } from '../../../client/index.ts';
import { isViridianError, ViridianError } from '../../../contracts/errors.ts';
import { EXEC_PORT, execInGuest } from '../../../contracts/exec.ts';
import type { ExecOptions, ExecResult, GuestStream } from '../../../contracts/sockets.ts';

/** Seconds until the guest must have taken a connection. */
export const PATIENCE = 15;
/** Milliseconds of the first attempt. Linux answers none that was made before somebody listened: they are made anew. */
const FIRST_ATTEMPT = 2000;

/** @throws ViridianError `timeout` where nothing in the guest listens */
export async function connectPatiently(vm: Vm, port: number, seconds: number): Promise<GuestStream> {
  const deadline = Date.now() + seconds * 1000;
  for (let attempt = FIRST_ATTEMPT; ; attempt *= 2) {
    const left = Math.max(1, deadline - Date.now());
    try {
      return await vm.connect(port, { timeout: Math.min(attempt, left) });
    } catch (error) {
      if (!isViridianError(error) || error.code !== 'timeout' || Date.now() < deadline) {
        if (isViridianError(error) && error.code === 'timeout') continue;
        throw error;
      }
      throw new ViridianError('timeout', `nothing in ${vm.name} accepts connections to port ${port} of its sockets`, {
        cause: error,
      });
    }
  }
}

/** @throws ViridianError `timeout` with what to do where there is no agent */
export async function runInside(
  vm: Vm,
  argv: readonly string[],
  options: ExecOptions & { readonly seconds?: number | undefined },
): Promise<ExecResult> {
  const { seconds = PATIENCE } = options;
  return await execInGuest((port) => agentOf(vm, port, seconds), argv, options);
}

async function agentOf(vm: Vm, port: number, seconds: number): Promise<GuestStream> {
  try {
    return await connectPatiently(vm, port, seconds);
  } catch (error) {
    if (!isViridianError(error) || error.code !== 'timeout' || port !== EXEC_PORT) throw error;
    throw new ViridianError(
      'timeout',
      `${vm.name}: no agent answers in the guest. It is still booting (--timeout SECONDS waits longer), or it has none: images of 'hv image create debian' have one, guest/agent/README.md says how to give it to another`,
      { cause: error },
    );
  }
}
