// Bundles each file of src/widgets that a widget of Python names into one ES module, with Preact in React's place.
import { build } from 'esbuild';
import { readdirSync, writeFileSync } from 'node:fs';

const SHARED = new Set(['view.tsx', 'onEnter.ts', 'labIcons.tsx', 'svg.d.ts']);
const sources = readdirSync('src/widgets').filter(
  name => /\.tsx?$/.test(name) && !name.includes('.test.') && !SHARED.has(name)
);

const { metafile } = await build({
  entryPoints: [...sources.map(name => `src/widgets/${name}`), 'style/widgets.css'],
  outdir: '../lk_jupyter/widgets/static',
  entryNames: '[name]',
  bundle: true,
  format: 'esm',
  target: 'es2022',
  minify: true,
  legalComments: 'inline',
  metafile: true,
  alias: {
    react: 'preact/compat',
    'react-dom': 'preact/compat',
    '@jupyterlab/ui-components': './src/widgets/labIcons.tsx'
  },
  loader: { '.svg': 'text' },
  logLevel: 'warning'
});

// What they were made of, for bill-of-materials.mjs.
writeFileSync('lib/widgets.json', JSON.stringify(Object.keys(metafile.inputs)));

// The page of the tests that look at every component in every state; it is not shipped.
await build({
  entryPoints: ['src/gallery.tsx', 'style/index.css', 'style/panel.css'],
  outdir: 'lib/gallery',
  entryNames: '[name]',
  bundle: true,
  format: 'iife',
  target: 'es2022',
  loader: { '.svg': 'text', '.woff': 'empty', '.woff2': 'empty' },
  define: { 'process.env.NODE_ENV': '"production"' },
  logLevel: 'warning'
});
