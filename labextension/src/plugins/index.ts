/** The plugins, one for each place in Lab and Notebook; they share modules that other front ends do not have. */
import { badges } from './badges';
import { cloud } from './cloud';
import { drive } from './drive';
import { editor } from './editor';
import { headers } from './headers';
import { hints } from './hints';
import { kernels } from './kernels';
import { notebookToolbar } from './notebookToolbar';
import { panel } from './panel';
import { running } from './running';
import { runs } from './runs';
import { snapshots } from './snapshots';
import { status } from './status';

export const plugins = [
  badges,
  cloud,
  drive,
  editor,
  headers,
  hints,
  kernels,
  notebookToolbar,
  panel,
  running,
  runs,
  snapshots,
  status
];
