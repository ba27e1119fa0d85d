/** Writes docs/reference/vm.schema.json, for editors: what `hv vm new -f` takes. Run: `node tools/vm-schema.ts`. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { vmSchemaText } from '../src/contracts/api/vm-schema.ts';

writeFileSync(fileURLToPath(new URL('../docs/reference/vm.schema.json', import.meta.url)), vmSchemaText());
