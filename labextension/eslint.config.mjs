import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['lib/', 'node_modules/', '*.mjs', '*.cjs', 'style/', '*.config.ts', 'src/**/*.test.ts', 'src/**/*.test.tsx'] },
  ...tseslint.configs.recommendedTypeChecked,
  { languageOptions: { parserOptions: { project: './tsconfig.json' } } }
);
