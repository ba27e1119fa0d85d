/** The entry of a service that the command or the library starts when there is none. */
import manifest from '../../package.json' with { type: 'json' };
import { isViridianError } from '../contracts/errors.ts';
import { runService } from './index.ts';

try {
  await runService({ version: manifest.version });
  process.exit(0);
} catch (error) {
  console.error(isViridianError(error) ? error.message : error);
  process.exit(1);
}
