import { defineConfig } from 'vitest/config';

// The components are written for React, which Lab brings; the widgets run them on Preact, and so do the tests.
export default defineConfig({
  esbuild: { jsx: 'transform' },
  resolve: {
    alias: { react: 'preact/compat', 'react-dom': 'preact/compat' }
  },
  test: { environment: 'jsdom', include: ['src/**/*.test.{ts,tsx}'] }
});
