/** What every section of the sidebar is given. */
import type { CommandRegistry } from '@lumino/commands';

import type { Cloud } from '../cloud';
import type { NoticeText } from '../components/Notice';
import type { Act } from '../components/Rows';
import type { RunRow } from '../cloudTypes';

/** What the parts of the panel work with. */
export interface Tools {
  cloud: Cloud;
  commands: CommandRegistry;
  say: (notice: NoticeText) => void;
  /** Whether the panel is seen; what is not asks for nothing. */
  isVisible: boolean;
  /** Show a menu of all that can be done with a run. */
  onMenu: (run: RunRow, x: number, y: number) => void;
  /** Show a menu of what can be done with a row of another list. */
  onActs: (acts: Act[], x: number, y: number) => void;
}
