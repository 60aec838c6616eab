/** The arguments of all sections of the sidebar. */
import type { CommandRegistry } from '@lumino/commands';

import type { Cloud } from '../cloud';
import type { NoticeText } from '../components/Notice';
import type { Act } from '../components/Rows';
import type { RunRow } from '../cloudTypes';

/** Services for the parts of the panel. */
export interface Tools {
  cloud: Cloud;
  commands: CommandRegistry;
  say: (notice: NoticeText) => void;
  /** Whether the panel is visible; an invisible panel sends no requests. */
  isVisible: boolean;
  /** Return the number of a run's cell in its open notebook; null if the notebook isn't open. */
  getCount: (run: RunRow) => number | null;
  /** Show the menu of a run. */
  onMenu: (run: RunRow, x: number, y: number) => void;
  /** Show the menu of a row in another list. */
  onActs: (acts: Act[], x: number, y: number) => void;
}
