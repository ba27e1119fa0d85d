import { describe, expect, it } from 'vitest';
import { checkFile } from './check-layers.ts';

const cases: [string, string, number][] = [
  ['src/vid/a.ts', `import { x } from '../hypervisor/x.ts';`, 0],
  ['src/hypervisor/a.ts', `import type { x } from '../vid/x.ts';`, 1],
  ['src/hypervisor/a/b.ts', `export { x } from '../../vmwp/x.ts';`, 1],
  ['src/cli/a.ts', `const m = await import('../vmwp/index.ts');`, 0],
  ['src/cli/a.ts', `const m = await import('../vmwp/machine.ts');`, 1],
  ['src/vmms/a.ts', `import { x } from '../vmwp/index.ts';`, 1],
  ['src/host/a.ts', `import { readFile } from 'node:fs';`, 1],
  ['src/host/node/a.ts', `import { readFile } from 'node:fs'; process.exit();`, 0],
  ['src/vid/a.ts', `import { x } from '../host/node/x.ts';`, 1],
  ['src/vid/a.ts', 'const x = Buffer.alloc(1);', 1],
  ['src/vid/a.ts', '// process.exit() is not for us\n/* nor Buffer.alloc() */ this.process.run();', 0],
  ['src/basement/a.ts', '', 1],
];

describe('check-layers', () => {
  it.each(cases)('%s with %s has %i complaints', (path, source, count) => {
    expect(checkFile(path, source)).toHaveLength(count);
  });
});
