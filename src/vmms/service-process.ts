/** The entry of a service that the command or the library starts when there is none. */
import manifest from '../../package.json' with { type: 'json' };
import { isViridianError } from '../contracts/errors.ts';
import { runService } from './index.ts';

runService({ version: manifest.version }).then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(isViridianError(error) ? error.message : error);
    process.exit(1);
  },
);
