import { defineConfig } from 'vitest/config';

const DRAWN_WITH = [
  ...['@testing-library/dom', '@testing-library/preact'],
  ...['preact', 'preact/compat', 'preact/hooks', 'preact/test-utils']
];

// The components are written for React and Lab's icons; the widgets run them on Preact and on copies of these icons, and
// so do the tests.
export default defineConfig({
  plugins: [{ name: 'svg', enforce: 'pre', load: id => (id.endsWith('.svg') ? `export default '<svg></svg>'` : null) }],
  esbuild: { jsx: 'transform' },
  resolve: {
    mainFields: ['module', 'main'],
    alias: {
      react: 'preact/compat',
      'react-dom': 'preact/compat',
      '@jupyterlab/ui-components': new URL('src/labMock.ts', import.meta.url).pathname
    }
  },
  // Each file has a context of its own in a thread that has loaded jsdom once, which takes a second. What the components
  // are drawn with is bundled once: Node would load a second copy of it, of which a part is a module in a script.
  test: {
    environment: 'jsdom',
    pool: 'vmThreads',
    deps: { optimizer: { web: { enabled: true, include: DRAWN_WITH } } },
    testTimeout: 60_000,
    include: ['src/**/*.test.{ts,tsx}']
  }
});
