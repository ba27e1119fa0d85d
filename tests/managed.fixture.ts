/** For tests: a management service in a folder of its own, used through the command, and consoles of its guests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Host } from '../src/client/index.ts';
import { Transport } from '../src/client/transport.ts';
import { type CommandResult, runCommand } from '../src/host/node/command.ts';
import { Console as GuestConsole } from './management.fixture.ts';

export const HV = fileURLToPath(new URL('../bin/hv', import.meta.url));

export interface Managed {
  readonly home: string;
  readonly service: Host;
  /** Runs the command; what it says is part of the failure. */
  hv(...args: string[]): Promise<string>;
  /** The service ends, and its folder goes. VMs are turned off before. */
  end(): Promise<void>;
}

/** Sets VIRIDIAN_HOME of this process. */
export function managed(): Managed {
  // Short: a socket's path has 107 bytes.
  const home = mkdtempSync(join(tmpdir(), 'vir-'));
  process.env.VIRIDIAN_HOME = home;
  const hv = async (...args: string[]): Promise<string> => {
    const result: CommandResult = await runCommand(HV, args);
    if (result.code !== 0) throw new Error(`hv ${args.join(' ')}: ${result.code} ${result.stderr}`);
    return result.stdout;
  };
  return {
    home,
    hv,
    service: new Host(new Transport({ socket: join(home, 'run/vmms.sock') })),
    end: async () => {
      const running = await hv('ls', '-q').catch(() => '');
      for (const name of running.split('\n').filter(Boolean)) await hv('stop', name, '--turn-off').catch(() => '');
      await runCommand(HV, ['service', 'stop']);
      rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}

/** A guest's console, by the VM's name. */
export class Console extends GuestConsole {
  static async of(service: Host, name: string, history = true): Promise<Console> {
    return new Console(await (await service.get(name)).console({ history }));
  }
}
