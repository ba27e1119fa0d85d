/** Builds the web console, src/manager, into dist/manager, or another folder. Run alone: `node tools/build-manager.ts`. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const root = fileURLToPath(new URL('../', import.meta.url));

export async function buildManager(folder = join(root, 'dist/manager')): Promise<void> {
  await build({
    configFile: false,
    root: join(root, 'src/manager'),
    logLevel: 'warn',
    build: {
      outDir: folder,
      emptyOutDir: true,
      target: 'es2022',
      // Nothing inline: the content security policy allows files of the service only.
      assetsInlineLimit: 0,
      // Small, and a part that comes later does not have to wait for a style of its own.
      cssCodeSplit: false,
      modulePreload: { polyfill: false },
      rolldownOptions: {
        onwarn: (warning, warn) => {
          // 'use client' is for servers that render; this page has none.
          if (warning.code !== 'MODULE_LEVEL_DIRECTIVE') warn(warning);
        },
      },
    },
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildManager();
