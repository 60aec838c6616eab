/** What tests without a real browser have in the place of Lab's widgets: `vi.mock('…', () => import('./labStandIn'))`. */

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
