/** Checkpoints of VMs. */
import type { Checkpoint, Job } from '../contracts/api/resources.ts';
import { ViridianError } from '../contracts/errors.ts';
import type { Management } from './management.ts';

export class Checkpoints {
  readonly #management: Management;
  constructor(management: Management) {
    this.#management = management;
  }
  list(vm: string): Checkpoint[] {
    this.#management.machine(vm);
    return [];
  }
  #no(): never {
    throw new ViridianError('failure', 'checkpoints are not there yet');
  }
  create(_vm: string, _options: object): Job {
    return this.#no();
  }
  rename(_vm: string, _checkpoint: string, _name: string): Checkpoint {
    return this.#no();
  }
  apply(_vm: string, _checkpoint: string, _options: object): Job {
    return this.#no();
  }
  remove(_vm: string, _checkpoint: string, _subtree: boolean): Job {
    return this.#no();
  }
  export(_vm: string, _checkpoint: string, _folder: string): Job {
    return this.#no();
  }
}
