/** What tests without a real browser have in the place of Lab's `ui-components`, and of `@lumino/widgets` by `vi.mock`. */

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
