import { defineConfig } from 'vitest/config';

// The components are written for React and Lab's icons; the widgets run them on Preact and on copies of these icons, and
// so do the tests.
export default defineConfig({
  plugins: [{ name: 'svg', enforce: 'pre', load: id => (id.endsWith('.svg') ? `export default '<svg></svg>'` : null) }],
  esbuild: { jsx: 'transform' },
  resolve: {
    alias: {
      react: 'preact/compat',
      'react-dom': 'preact/compat',
      '@jupyterlab/ui-components': new URL('src/labMock.ts', import.meta.url).pathname
    }
  },
  test: { environment: 'jsdom', testTimeout: 60_000, include: ['src/**/*.test.{ts,tsx}'] }
});
