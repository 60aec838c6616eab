/** Replacements for Lab's `ui-components`, and for `@lumino/widgets` by `vi.mock`, in tests without a browser. */

export class ReactWidget {
  isVisible = true;
  title = {};
  addClass() {}
}

export const Widget = {};

export class Observer {
  observe() {}
  disconnect() {}
}

export * from './widgets/labIcons';
