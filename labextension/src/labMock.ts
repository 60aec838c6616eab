/** What tests without a real browser have in the place of Lab's widgets: `vi.mock('…', () => import('./labMock'))`. */

export class ReactWidget {
  isVisible = true;
  title = {};
  addClass() {}
}

export const Widget = {};

export const folderIcon = {};

export class Observer {
  observe() {}
  disconnect() {}
}

const icon = { react: () => null };

export {
  icon as checkIcon,
  icon as circleEmptyIcon,
  icon as closeIcon,
  icon as ellipsesIcon,
  icon as launchIcon,
  icon as offlineBoltIcon,
  icon as refreshIcon,
  icon as runIcon,
  icon as stopIcon
};
